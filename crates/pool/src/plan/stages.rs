//! Decisions about each stage: give it an instance, say why it waits, or end it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cause::{Cause, Code};
use crate::id::InstanceId;
use crate::instance::{Instance, State};
use crate::plan::census::{Census, Count, Kind, kind};
use crate::plan::{Action, Input, MISSING_AFTER_MS, Planned, WaitReason, queue_lease};
use crate::stage::{Candidate, Stage, StageState};

/// Decisions about stages.
pub(super) struct Served {
    /// The actions.
    pub(super) planned: Vec<Planned>,
    /// Actions that only tell people something.
    pub(super) explained: Vec<Planned>,
    /// The number of stages that need an instance of each kind and get none now.
    pub(super) demand: BTreeMap<Kind, u32>,
    /// The warm instances that stages get now.
    pub(super) promised: BTreeSet<InstanceId>,
}

/// Decides about all stages, oldest first.
pub(super) fn serve(input: &Input<'_>, census: &Census<'_>) -> Served {
    let mut stages: Vec<&Stage> = input.stages.iter().collect();
    stages.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
    let by_id: BTreeMap<&InstanceId, &Instance> = input.instances.iter().map(|i| (&i.id, i)).collect();
    let mut served =
        Served { planned: Vec::new(), explained: Vec::new(), demand: BTreeMap::new(), promised: BTreeSet::new() };
    for stage in stages {
        let ours = input.leases.contains(&queue_lease(&stage.pool));
        match stage.state {
            StageState::Assigned if ours => served.planned.extend(assigned(input, stage, &by_id)),
            StageState::Waiting => waiting(input, census, stage, ours, &mut served),
            StageState::Assigned | StageState::Ended => {}
        }
    }
    served
}

fn assigned(input: &Input<'_>, stage: &Stage, by_id: &BTreeMap<&InstanceId, &Instance>) -> Option<Planned> {
    let end = |code, evidence: String| {
        let reason = evidence.clone();
        let action =
            Action::EndStage { id: stage.id.clone(), generation: stage.generation, cause: Cause::new(code, evidence) };
        Some(action.because(reason))
    };
    let instance = stage.instance.as_ref()?;
    if by_id.get(instance).is_none_or(|i| i.state != State::Claimed) {
        let lose = Action::LoseStage { id: stage.id.clone(), generation: stage.generation, instance: instance.clone() };
        return Some(lose.because("its instance no longer serves it"));
    }
    let since = input.now_ms - stage.assigned_ms.unwrap_or(stage.created_ms);
    if since > stage.run_ms {
        return end(Code::StageDeadline, format!("its time of {} s ran out", stage.run_ms / 1000));
    }
    if !stage.set_up && since.min(input.watched_ms) > input.config.timing.unattended_after_ms {
        return end(
            Code::Unattended,
            format!("no caller came for it in the {} s since it got an instance", since / 1000),
        );
    }
    None
}

fn waiting(input: &Input<'_>, census: &Census<'_>, stage: &Stage, ours: bool, served: &mut Served) {
    if input.now_ms > stage.wait_until_ms {
        if ours {
            let waited = (input.now_ms - stage.created_ms) / 1000;
            let why =
                stage.why.as_ref().map_or_else(|| "no pass has looked at it yet".to_owned(), WaitReason::to_string);
            let cause = Cause::new(Code::NoCapacity, format!("no instance within {waited} s: {why}"));
            let action = Action::EndStage { id: stage.id.clone(), generation: stage.generation, cause };
            served.planned.push(action.because("its waiting time ran out"));
        }
        return;
    }
    if let Some(instance) = warm(census, stage, &served.promised) {
        served.promised.insert(instance.id.clone());
        if ours {
            let action = Action::Assign { id: stage.id.clone(), generation: stage.generation };
            served.planned.push(action.because(format!("{} is ready", instance.id)));
        }
        return;
    }
    let why = match present(input, census, stage, &served.demand) {
        Some(candidate) => {
            *served.demand.entry(kind(candidate)).or_default() += 1;
            explain(input, census, candidate)
        }
        None => {
            let asked = stage.candidates.first().map_or(&stage.pool, |candidate| &candidate.flavor);
            let why = WaitReason::NotInPoolFile { flavor: asked.clone() };
            let missing_ms = |candidate: &Candidate| input.missing_ms.get(&candidate.flavor).copied().unwrap_or(0);
            if ours && stage.candidates.iter().map(missing_ms).min().unwrap_or(0) > MISSING_AFTER_MS {
                let cause = Cause::new(Code::Drained, why.to_string());
                let action = Action::EndStage { id: stage.id.clone(), generation: stage.generation, cause };
                return served.planned.push(action.because(why.to_string()));
            }
            why
        }
    };
    if ours && stage.why.as_ref() != Some(&why) {
        let reason = why.to_string();
        let action = Action::Explain { id: stage.id.clone(), generation: stage.generation, why };
        served.explained.push(action.because(reason));
    }
}

/// Returns the oldest warm instance that fits and is not promised to an earlier stage.
fn warm<'a>(census: &Census<'a>, stage: &Stage, promised: &BTreeSet<InstanceId>) -> Option<&'a Instance> {
    let free = |i: &&&Instance| i.state == State::Ready && !promised.contains(&i.id);
    stage.candidates.iter().find_map(|candidate| census.of_kind(&kind(candidate)).iter().find(free).copied())
}

/// Returns the candidate whose kind of instance is created for the stage now: the first whose pool can create one, else
/// the first that exists.
fn present<'s>(
    input: &Input<'_>,
    census: &Census<'_>,
    stage: &'s Stage,
    demand: &BTreeMap<Kind, u32>,
) -> Option<&'s Candidate> {
    let there = |c: &&Candidate| input.config.flavor(&c.flavor).is_some();
    let viable = |c: &&Candidate| {
        let Some(pool) = input.config.pools.get(&c.pool).filter(|pool| !input.drained.contains(&pool.name)) else {
            return false;
        };
        let taken = demand.get(&kind(c)).copied().unwrap_or(0);
        let coming = census.of_kind(&kind(c)).iter().filter(|i| i.state != State::Ready).count();
        // An idle instance of another kind can give up its place.
        let fits = |count: Count, limit: u32| count.live.saturating_add(taken) < limit || count.idle > 0;
        let of_flavor = input.config.flavor(&c.flavor).and_then(|(_, flavor)| flavor.limit).unwrap_or(u32::MAX);
        let room = fits(census.pool(&pool.name), pool.limit) && fits(census.flavor(&c.flavor), of_flavor);
        let tried = census.breaker(&kind(c)).allows(input.now_ms) > 0
            && input.sites.contains_key(&pool.site)
            && pool.flavor(&c.flavor).is_some_and(|flavor| census.open_place(pool, flavor, input.now_ms).is_some());
        coming > taken as usize || (tried && room)
    };
    stage.candidates.iter().filter(there).find(viable).or_else(|| stage.candidates.iter().find(there))
}

/// Returns why a stage waits.
fn explain(input: &Input<'_>, census: &Census<'_>, candidate: &Candidate) -> WaitReason {
    let flavor = candidate.flavor.clone();
    let Some((pool, of_flavor)) = input.config.flavor(&flavor) else { return WaitReason::NotInPoolFile { flavor } };
    let breaker = census.breaker(&kind(candidate));
    let full = of_flavor.limit.filter(|limit| census.flavor(&flavor).live >= *limit);
    if input.drained.contains(&pool.name) {
        WaitReason::Drained { flavor }
    } else if !input.sites.contains_key(&pool.site) {
        let evidence = input.closed.get(&pool.site).cloned().unwrap_or_else(|| "it is being opened".to_owned());
        WaitReason::SiteClosed { flavor, site: pool.site.clone(), evidence }
    } else if breaker.allows(input.now_ms) == 0 {
        WaitReason::LaunchesFail { flavor, failures: breaker.failures, evidence: breaker.evidence }
    } else if census.pool(&pool.name).live >= pool.limit {
        WaitReason::PoolLimit { flavor, pool: pool.name.clone(), limit: pool.limit }
    } else if let Some(limit) = full {
        WaitReason::FlavorLimit { flavor, limit }
    } else if let Some(room) = census.closed_room(pool, of_flavor, input.now_ms) {
        WaitReason::LaunchesFail { flavor, failures: room.failures, evidence: room.evidence }
    } else {
        WaitReason::Starting { flavor }
    }
}
