//! Changes of stages' rows, and clients' observations of them.

use kiln_pool::{Cause, Code, Instance, InstanceId, Stage, StageId, StageState, State};

use super::super::rows::Changed;
use super::super::world::World;

/// Checks a stage's changed row. Returns true, for the caller's convenience.
pub fn stage_changed(w: &mut World, runner: usize, changed: &Changed<Stage>) -> bool {
    let new = &changed.new;
    let Some(old) = &changed.old else {
        w.marks.count("stages");
        w.say(&format!("r{runner} stage {} waits for {}", new.id, new.pool));
        return true;
    };
    if old.state != new.state || w.transcript.all && old.why != new.why {
        let why = match (&new.cause, &new.instance) {
            (Some(cause), _) => cause.to_string().lines().next().unwrap_or_default().to_owned(),
            (None, Some(instance)) => format!("{instance}"),
            (None, None) => super::super::rows::why(new),
        };
        w.say(&format!("r{runner} stage {} {} -> {}: {why}", new.id, old.state, new.state));
    }
    let again = old.state == StageState::Assigned && new.state == StageState::Waiting;
    let legal = match (old.state, new.state) {
        (StageState::Ended, _) => false,
        (StageState::Waiting, StageState::Assigned) => new.instance.is_some(),
        (StageState::Assigned, StageState::Assigned) => old.instance == new.instance,
        (StageState::Assigned, StageState::Waiting) => new.attempts == old.attempts + 1 && new.instance.is_none(),
        _ => true,
    };
    if !legal || new.generation != old.generation + 1 || new.id != old.id || new.created_ms != old.created_ms {
        w.violate("row_changes_are_legal", format!("{old:?} became {new:?}"));
    }
    if again && !old.instance.as_ref().is_some_and(|id| w.marks.setup_failed.contains(id)) {
        w.violate("no_wrong_kill", format!("{} was taken from {:?} and no client asked for it", new.id, old.instance));
    }
    if new.state == StageState::Ended {
        ended(w, runner, old, new);
    }
    true
}

fn ended(w: &mut World, runner: usize, old: &Stage, new: &Stage) {
    let (Some(cause), Some(at)) = (&new.cause, new.ended_ms) else {
        return w.violate("every_end_has_a_cause", format!("{} ended without a cause or a time", new.id));
    };
    w.marks.count(match cause.code {
        Code::NoCapacity => "stages without capacity",
        Code::Destroyed | Code::Cancelled => "stages ended by clients",
        _ => "stages ended otherwise",
    });
    if let Some(lie) = lie(w, runner, old, at, cause) {
        w.violate("causes_are_true", format!("{} ends as {cause}, but {lie}", new.id));
    }
}

fn lie(w: &World, runner: usize, old: &Stage, at_ms: i64, cause: &Cause) -> Option<String> {
    let row = old.instance.as_ref().and_then(|id| w.rows.instances.get(id));
    let assigned = old.assigned_ms;
    match cause.code {
        Code::Destroyed | Code::Cancelled => {
            let asked = w.marks.asked_to_end.contains(&old.id);
            (!asked).then(|| "nobody asked for it".to_owned())
        }
        Code::NoCapacity => {
            let early = at_ms <= old.wait_until_ms && !w.marks.clocks_differ;
            (early || old.state != StageState::Waiting)
                .then(|| format!("it is {} until {}", old.state, old.wait_until_ms))
        }
        Code::StageDeadline => {
            let ran = assigned.map_or(0, |assigned| at_ms - assigned);
            let early = ran <= old.run_ms && !w.marks.clocks_differ;
            (early || assigned.is_none()).then(|| format!("it ran for {ran} of {} ms", old.run_ms))
        }
        Code::Unattended => {
            let up = w.watched_ms(runner);
            let waited = assigned.map_or(0, |assigned| at_ms - assigned);
            let limit = w.config.timing.unattended_after_ms;
            let early = waited < limit && !w.marks.clocks_differ || up < limit;
            let seen =
                format!("it had its instance for {waited} ms, of which its caller could be heard for {up} at most");
            (early || old.set_up).then(|| format!("{seen}, set up {}", old.set_up))
        }
        Code::SetupFailed => {
            let reported = old.instance.as_ref().is_some_and(|id| w.marks.setup_failed.contains(id));
            (!reported).then(|| "no client reported that".to_owned())
        }
        _ => {
            let ends = row.is_none_or(|row| matches!(row.state, State::Terminating | State::Gone));
            (!ends).then(|| format!("its instance is {:?}", row.map(|row| row.state)))
        }
    }
}

/// Checks a stage that got an instance.
pub fn claimed(w: &mut World, runner: usize, stage: &Changed<Stage>, instance: &Changed<Instance>) {
    stage_changed(w, runner, stage);
    super::instance_changed(w, runner, instance, &format!("claimed by {}", stage.new.id));
    w.marks.count("claims");
    w.marks.unflushed.insert(instance.new.id.clone());
    let well = w.well_ms;
    w.marks.assigned_well.insert(stage.new.id.clone(), well);
    let row = &instance.new;
    let (id, flavor) = (&row.id, &row.flavor);
    if let Some((_, flavor)) = w.config.flavor(flavor) {
        let own = |accounts: &[String]| accounts.contains(&stage.new.account);
        let allowed = flavor.tenant.as_ref().is_none_or(|tenant| own(&tenant.accounts));
        let of_pool = w.config.pools.get(&row.pool).into_iter().flat_map(|p| &p.flavors);
        let elsewhere =
            flavor.tenant.is_none() && of_pool.filter_map(|f| f.tenant.as_ref()).any(|tenant| own(&tenant.accounts));
        if !allowed || elsewhere {
            let key = flavor.key.clone();
            w.violate("tenants_never_meet", format!("{} of {} got {id} of {key}", stage.new.id, stage.new.account));
        }
    }
    if instance.old.as_ref().is_some_and(|old| old.is_held(w.row_clock_ms(runner))) {
        w.violate("hold_is_kept", format!("{id} is held and was claimed"));
    }
    // Agents are asked every 20 s and believed for a while; listings come every 5 s.
    let noticed = w.config.timing.unreachable_after_ms + 180_000;
    let vm = w.clouds.get(row.site.as_str()).and_then(|cloud| cloud.vms.get(id.as_str()));
    let dead = vm.is_none_or(|vm| !vm.runs() && well - vm.ended_well > noticed);
    if dead {
        w.violate("no_dead_vm_is_given", format!("{id} was given to {} and does not run: {vm:?}", stage.new.id));
    }
}

/// Checks a client that got an instance for its stage.
pub fn handed_out(w: &mut World, stage: &StageId, attempt: i64, instance: &InstanceId) {
    if w.marks.unflushed.contains(instance) {
        w.violate("told_when_durable", format!("{stage} was told of {instance} before its claim was flushed"));
    }
    let first = w.marks.handed_out.entry((stage.clone(), attempt)).or_insert_with(|| instance.clone()).clone();
    if first != *instance {
        w.violate("one_instance_one_stage", format!("clients of {stage} got {first} and {instance}"));
    }
    let other = w.marks.handed_to.entry(instance.clone()).or_insert_with(|| stage.clone()).clone();
    if other != *stage {
        w.violate("one_instance_one_stage", format!("{instance} was given to clients of {other} and {stage}"));
    }
}
