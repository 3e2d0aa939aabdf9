//! The rows in memory, with exactly the contract of `kiln_engine::world::Store`.

use std::collections::{BTreeMap, BTreeSet};

use kiln_engine::{Change, Holder, Lease, Leasing, Limits};
use kiln_pool::plan::{Streak, counts_up_to};
use kiln_pool::{Cause, Instance, InstanceId, Stage, StageId, StageState, State};

/// The tables.
#[derive(Debug, Default)]
pub struct Rows {
    /// Every instance that ever had a row.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Every stage that ever had one.
    pub stages: BTreeMap<StageId, Stage>,
    /// Ids of the instances that are not gone.
    pub live: BTreeSet<InstanceId>,
    /// Ids of the stages that have not ended.
    pub open: BTreeSet<StageId>,
    /// Leases.
    pub leases: BTreeMap<String, Lease>,
    /// Ids of rows that cannot be read.
    pub unreadable: BTreeSet<String>,
    /// When each host booted.
    pub boots: BTreeMap<String, i64>,
    /// The present process of each runner.
    pub runners: BTreeMap<String, String>,
    /// Failed starts of flavors.
    pub streaks: BTreeMap<String, Streak>,
    /// Pools that are drained.
    pub drained: BTreeSet<String>,
    /// The timeline.
    pub changes: Vec<Change>,
}

/// Why a stage waits, in words.
pub fn why(stage: &Stage) -> String {
    stage.why.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A row before and after a change.
#[derive(Debug, Clone)]
pub struct Changed<T> {
    /// Before; none for a new one.
    pub old: Option<T>,
    /// After.
    pub new: T,
}

/// What a claim changes.
pub type Claim = (Changed<Stage>, Changed<Instance>);

impl Rows {
    /// See `Store::anchor`.
    pub fn anchor(&mut self, boot: &str, epoch_ms: i64) -> i64 {
        match self.boots.get(boot) {
            Some(epoch_ms) if !self.live.is_empty() || !self.open.is_empty() => *epoch_ms,
            _ => {
                self.boots.insert(boot.to_owned(), epoch_ms);
                epoch_ms
            }
        }
    }

    /// See `Store::enroll`.
    pub fn enroll(&mut self, me: &Holder) {
        self.runners.insert(me.name.clone(), me.process.clone());
    }

    /// See `Store::lease`.
    pub fn lease(&mut self, me: &Holder, wanted: &BTreeMap<String, Option<Lease>>) -> Leasing {
        if self.runners.get(&me.name) != Some(&me.process) {
            return Leasing::Superseded;
        }
        for (name, seen) in wanted {
            let there = self.leases.get(name);
            let stands_still = |lease: &Lease| {
                seen.as_ref().is_some_and(|seen| seen.process == lease.process && seen.beat == lease.beat)
            };
            let may = |lease: &Lease| lease.holder == me.name || lease.holder.is_empty() || stands_still(lease);
            if there.is_none_or(may) {
                let beat = there.map_or(0, |lease| lease.beat + 1);
                let (holder, process) = (me.name.clone(), me.process.clone());
                self.leases.insert(name.clone(), Lease { holder, process, beat });
            }
        }
        Leasing::Rows(self.leases.clone())
    }

    /// See `Store::release_leases`.
    pub fn release_leases(&mut self, me: &Holder) {
        for lease in self.leases.values_mut().filter(|lease| lease.process == me.process) {
            (lease.holder, lease.process) = Default::default();
            lease.beat += 1;
        }
    }

    /// All live rows.
    #[must_use]
    pub fn live_instances(&self) -> Vec<Instance> {
        let readable = self.live.iter().filter(|id| !self.unreadable.contains(id.as_str()));
        readable.filter_map(|id| self.instances.get(id)).cloned().collect()
    }

    /// All open stages.
    #[must_use]
    pub fn open_stages(&self) -> Vec<Stage> {
        let readable = self.open.iter().filter(|id| !self.unreadable.contains(id.as_str()));
        readable.filter_map(|id| self.stages.get(id)).cloned().collect()
    }

    /// How many live rows there are of a pool and of a flavor.
    #[must_use]
    pub fn count(&self, pool: &str, flavor: &str) -> (u32, u32) {
        let live = self.live.iter().filter_map(|id| self.instances.get(id));
        live.fold((0, 0), |(p, f), row| (p + u32::from(row.pool == pool), f + u32::from(row.flavor == flavor)))
    }

    /// See `Store::insert_instances`.
    pub fn insert(&mut self, rows: &[Instance], limits: Limits, reason: &str) -> Option<Vec<Changed<Instance>>> {
        let first = rows.first()?;
        let (in_pool, in_flavor) = self.count(&first.pool, &first.flavor);
        let new = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let full = in_pool + new > limits.pool || limits.flavor.is_some_and(|limit| in_flavor + new > limit);
        let known = rows.iter().any(|row| self.instances.contains_key(&row.id));
        (!full && !known).then(|| rows.iter().map(|row| self.put(row.clone(), reason)).collect())
    }

    /// See `Store::update_instance`.
    pub fn update(&mut self, row: &Instance, reason: &str) -> Option<Changed<Instance>> {
        let fits = self.instances.get(&row.id).is_some_and(|old| old.generation == row.generation - 1);
        fits.then(|| self.put(row.clone(), reason))
    }

    fn put(&mut self, new: Instance, reason: &str) -> Changed<Instance> {
        if new.is_live() {
            self.live.insert(new.id.clone())
        } else {
            self.live.remove(&new.id)
        };
        self.note("instance", new.id.as_str(), &new.pool, new.state.as_str(), new.since_ms, reason);
        let old = self.instances.insert(new.id.clone(), new.clone());
        Changed { old, new }
    }

    /// See `Store::begin_stage`. The claim tells the stage from waiting on.
    pub fn begin(&mut self, stage: &Stage, now_ms: i64) -> (Option<Changed<Stage>>, Option<Claim>) {
        if self.stages.contains_key(&stage.id) {
            return (None, None);
        }
        let begun = self.put_stage(stage.clone(), now_ms);
        let taken = |flavor: &str| {
            let older = self.open.iter().filter(|id| **id != stage.id).filter_map(|id| self.stages.get(id));
            let mut waiting = older.filter(|s| s.state == StageState::Waiting);
            waiting.any(|s| s.candidates.iter().any(|c| c.flavor == flavor))
        };
        let ready =
            stage.candidates.iter().filter(|c| !taken(&c.flavor)).find_map(|c| self.ready(&c.flavor, &c.image, now_ms));
        let claim = ready.map(|instance| self.give(stage.clone(), instance, now_ms));
        (Some(begun), claim)
    }

    /// See `Store::claim`.
    pub fn claim(&mut self, stage: &Stage, now_ms: i64) -> Option<Claim> {
        let present = self.stages.get(&stage.id)?;
        if present.generation != stage.generation || present.state != StageState::Waiting {
            return None;
        }
        let stage = present.clone();
        let instance = stage.candidates.iter().find_map(|c| self.ready(&c.flavor, &c.image, now_ms))?;
        Some(self.give(stage, instance, now_ms))
    }

    fn ready(&self, flavor: &str, image: &str, now_ms: i64) -> Option<Instance> {
        let live = self.live.iter().filter_map(|id| self.instances.get(id));
        let free =
            live.filter(|i| i.state == State::Ready && i.flavor == flavor && i.image == image && !i.is_held(now_ms));
        free.min_by_key(|i| (i.created_ms, i.id.clone())).cloned()
    }

    fn give(&mut self, mut stage: Stage, mut instance: Instance, now_ms: i64) -> Claim {
        instance.generation += 1;
        (instance.state, instance.since_ms) = (State::Claimed, now_ms);
        (instance.attempts, instance.retry_ms) = (0, None);
        instance.stage = Some(stage.id.clone());
        (instance.claimed_ms, instance.deadline_ms) = (Some(now_ms), Some(now_ms.saturating_add(stage.run_ms)));
        stage.generation += 1;
        stage.state = StageState::Assigned;
        (stage.instance, stage.assigned_ms) = (Some(instance.id.clone()), Some(now_ms));
        let reason = format!("claimed by {}", stage.id);
        (self.put_stage(stage, now_ms), self.put(instance, &reason))
    }

    /// See `Store::update_stage`.
    pub fn update_stage(&mut self, stage: &Stage, now_ms: i64) -> Option<Changed<Stage>> {
        let fits = self.stages.get(&stage.id).is_some_and(|old| old.generation == stage.generation - 1);
        fits.then(|| self.put_stage(stage.clone(), now_ms))
    }

    fn put_stage(&mut self, new: Stage, now_ms: i64) -> Changed<Stage> {
        if new.state == StageState::Ended {
            self.open.remove(&new.id)
        } else {
            self.open.insert(new.id.clone())
        };
        self.note("stage", new.id.as_str(), &new.pool, new.state.as_str(), now_ms, &why(&new));
        let old = self.stages.insert(new.id.clone(), new.clone());
        Changed { old, new }
    }

    /// See `Store::note_start`.
    pub fn note_start(&mut self, flavor: &str, now_ms: i64, failure: Option<&Cause>) {
        match failure {
            None => drop(self.streaks.remove(flavor)),
            Some(cause) => {
                let streak = self.streaks.entry(flavor.to_owned()).or_default();
                streak.failures = (streak.failures + 1).min(counts_up_to(cause));
                (streak.at_ms, streak.evidence) = (now_ms, cause.to_string());
            }
        }
    }

    fn note(&mut self, subject: &str, id: &str, pool: &str, state: &str, at_ms: i64, reason: &str) {
        let seq = i64::try_from(self.changes.len()).unwrap_or(i64::MAX);
        let (subject, id, pool) = (subject.to_owned(), id.to_owned(), pool.to_owned());
        self.changes.push(Change { seq, at_ms, subject, id, pool, state: state.to_owned(), reason: reason.to_owned() });
    }
}
