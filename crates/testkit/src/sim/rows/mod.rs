//! The rows in memory, with exactly the contract of `kiln_engine::world::Store`.

mod history;
mod leases;

use std::collections::{BTreeMap, BTreeSet};

use kiln_engine::{Change, Lease, Limits, StoreError};
use kiln_pool::plan::{Streak, counts_up_to};
use kiln_pool::{Cause, Instance, InstanceId, Stage, StageId, StageState, State, Subject};

/// The tables.
#[derive(Debug, Default)]
pub struct Rows {
    /// Every instance that ever had a row.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Every stage that ever had a row.
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
    /// Streaks of failed starts, by flavor.
    pub streaks: BTreeMap<String, Streak>,
    /// Pools that are drained.
    pub drained: BTreeSet<String>,
    /// The timeline.
    pub changes: Vec<Change>,
    /// Number of changes so far.
    seq: i64,
}

/// Returns why a stage waits, in words.
pub fn why(stage: &Stage) -> String {
    stage.why.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The change, if one was made, or the reason why the tables refuse it.
pub type Answer<T> = Result<Option<T>, StoreError>;

fn refused(message: String) -> StoreError {
    StoreError { message, ambiguous: false }
}

/// A row before and after a change.
#[derive(Debug, Clone)]
pub struct Changed<T> {
    /// The row before; none for a new one.
    pub old: Option<T>,
    /// The row after.
    pub new: T,
}

/// The changes of a claim.
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

    /// Returns the live instances and open stages that cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> BTreeMap<(Subject, String), String> {
        let ids = |kind, there: &dyn Fn(&str) -> bool| -> Vec<_> {
            let ids = self.unreadable.iter().filter(|id| there(id.as_str()));
            ids.map(|id| ((kind, id.clone()), "a fault".to_owned())).collect()
        };
        let instances = ids(Subject::Instance, &|id| self.live.contains(&InstanceId::new(id)));
        let stages = ids(Subject::Stage, &|id| self.open.contains(&StageId::new(id)));
        instances.into_iter().chain(stages).collect()
    }

    /// Returns all live rows, oldest first.
    #[must_use]
    pub fn live_instances(&self) -> Vec<Instance> {
        let readable = self.live.iter().filter(|id| !self.unreadable.contains(id.as_str()));
        let mut rows: Vec<Instance> = readable.filter_map(|id| self.instances.get(id)).cloned().collect();
        rows.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        rows
    }

    /// Returns all open stages, oldest first.
    #[must_use]
    pub fn open_stages(&self) -> Vec<Stage> {
        let readable = self.open.iter().filter(|id| !self.unreadable.contains(id.as_str()));
        let mut rows: Vec<Stage> = readable.filter_map(|id| self.stages.get(id)).cloned().collect();
        rows.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        rows
    }

    /// Returns the number of live rows of a pool and of a flavor.
    #[must_use]
    pub fn count(&self, pool: &str, flavor: &str) -> (u32, u32) {
        let live = self.live.iter().filter_map(|id| self.instances.get(id));
        let of_pool = live.filter(|row| row.pool == pool);
        of_pool.fold((0, 0), |(all, same), row| (all + 1, same + u32::from(row.flavor == flavor)))
    }

    /// See `Store::insert_instances`.
    ///
    /// # Errors
    /// See [`Rows::update`].
    pub fn insert(&mut self, rows: &[Instance], limits: Limits, reason: &str) -> Answer<Vec<Changed<Instance>>> {
        let Some(first) = rows.first() else { return Ok(Some(Vec::new())) };
        let (in_pool, in_flavor) = self.count(&first.pool, &first.flavor);
        let new = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let full = in_pool + new > limits.pool || limits.flavor.is_some_and(|limit| in_flavor + new > limit);
        if full || rows.iter().any(|row| self.instances.contains_key(&row.id)) {
            return Ok(None);
        }
        for row in rows {
            self.refuse_second(row)?;
        }
        Ok(Some(rows.iter().map(|row| self.put(row.clone(), reason)).collect()))
    }

    /// See `Store::update_instance`.
    ///
    /// # Errors
    /// When a stage would have two instances.
    pub fn update(&mut self, row: &Instance, reason: &str) -> Answer<Changed<Instance>> {
        if self.instances.get(&row.id).is_none_or(|old| old.generation != row.generation - 1) {
            return Ok(None);
        }
        self.refuse_second(row)?;
        Ok(Some(self.put(row.clone(), reason)))
    }

    fn refuse_second(&self, row: &Instance) -> Result<(), StoreError> {
        let Some(stage) = row.stage.as_ref().filter(|_| row.state == State::Claimed) else { return Ok(()) };
        match self.instance_of(stage).filter(|other| other.id != row.id) {
            Some(other) => Err(refused(format!("{} is claimed for stage {stage}, which has {}", row.id, other.id))),
            None => Ok(()),
        }
    }

    /// Returns the instance that is claimed for a stage.
    fn instance_of(&self, stage: &StageId) -> Option<&Instance> {
        let mut live = self.live.iter().filter_map(|id| self.instances.get(id));
        live.find(|row| row.state == State::Claimed && row.stage.as_ref() == Some(stage))
    }

    fn put(&mut self, new: Instance, reason: &str) -> Changed<Instance> {
        if new.is_live() {
            self.live.insert(new.id.clone())
        } else {
            self.live.remove(&new.id)
        };
        self.note(Subject::Instance, new.id.as_str(), &new.pool, new.state.as_str(), new.since_ms, reason);
        let old = self.instances.insert(new.id.clone(), new.clone());
        Changed { old, new }
    }

    /// See `Store::begin_stage`.
    pub fn begin(&mut self, stage: &Stage, now_ms: i64) -> (Option<Changed<Stage>>, Option<Claim>) {
        let there = self.stages.get(&stage.id);
        let fresh = there.is_none();
        let there = there.unwrap_or(stage).clone();
        let begun = fresh.then(|| self.keep_stage(there.clone()));
        let its_turn = there.state == StageState::Waiting && !self.has_older(&there);
        match if its_turn { self.find_for(&there, now_ms) } else { None } {
            Some(instance) => (begun, Some(self.give(there, instance, now_ms))),
            None => {
                if fresh {
                    self.note_stage(&there, now_ms);
                }
                (begun, None)
            }
        }
    }

    /// Returns whether an older stage waits for the same flavor.
    fn has_older(&self, stage: &Stage) -> bool {
        let queue = |stage: &Stage| stage.candidates.first().map(|candidate| candidate.flavor.clone());
        let place = |stage: &Stage| (stage.created_ms, stage.id.clone());
        let mut open = self.open.iter().filter_map(|id| self.stages.get(id));
        open.any(|other| {
            other.state == StageState::Waiting && queue(other) == queue(stage) && place(other) < place(stage)
        })
    }

    /// See `Store::claim`.
    pub fn claim(&mut self, stage: &Stage, now_ms: i64) -> Option<Claim> {
        let present = self.stages.get(&stage.id)?;
        if present.generation != stage.generation || present.state != StageState::Waiting {
            return None;
        }
        let stage = present.clone();
        let instance = self.find_for(&stage, now_ms)?;
        Some(self.give(stage, instance, now_ms))
    }

    /// Finds an instance for a waiting stage. A stage that went back to waiting may still have its first instance, and
    /// gets no second.
    fn find_for(&self, stage: &Stage, now_ms: i64) -> Option<Instance> {
        if self.instance_of(&stage.id).is_some() {
            return None;
        }
        stage.candidates.iter().find_map(|c| self.ready(&c.flavor, &c.image, now_ms))
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
        let instance = self.put(instance, &Change::reason_of_claim(&stage.id));
        self.note_stage(&stage, now_ms);
        (self.keep_stage(stage), instance)
    }

    /// See `Store::update_stage`.
    ///
    /// # Errors
    /// When an instance would have two stages.
    pub fn update_stage(&mut self, stage: &Stage, now_ms: i64) -> Answer<Changed<Stage>> {
        if self.stages.get(&stage.id).is_none_or(|old| old.generation != stage.generation - 1) {
            return Ok(None);
        }
        if let Some(instance) = stage.instance.as_ref().filter(|_| stage.state == StageState::Assigned) {
            let mut open = self.open.iter().filter_map(|id| self.stages.get(id));
            let serves = |other: &&Stage| {
                other.id != stage.id && other.state == StageState::Assigned && other.instance.as_ref() == Some(instance)
            };
            if let Some(other) = open.find(serves) {
                return Err(refused(format!("stage {} is given {instance}, which serves {}", stage.id, other.id)));
            }
        }
        self.note_stage(stage, now_ms);
        Ok(Some(self.keep_stage(stage.clone())))
    }

    fn keep_stage(&mut self, new: Stage) -> Changed<Stage> {
        if new.state == StageState::Ended {
            self.open.remove(&new.id)
        } else {
            self.open.insert(new.id.clone())
        };
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
}
