//! The store as one runner reaches it: each call travels, takes effect, and its answer travels back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::{Change, Holder, Lease, Leasing, Limits, Store, StoreError, WriteTrouble};
use kiln_pool::plan::Streak;
use kiln_pool::{Cause, Instance, InstanceId, Stage, StageId, StageState, State, Subject};

use super::fault::Fault;
use super::invariant;
use super::trouble::Touch;
use super::world::{Part, Shared, World};

/// The store of one runner.
pub struct SimStore {
    /// The world.
    pub shared: Arc<Shared>,
    /// The runner that calls.
    pub runner: usize,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl SimStore {
    fn read<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> T + Send + 'a,
    ) -> Answer<'a, T> {
        self.call(what, Touch::Read, |w| Ok(effect(w)))
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> T + Send + 'a,
    ) -> Answer<'a, T> {
        self.call(what, Touch::Write, |w| Ok(effect(w)))
    }

    /// Makes a call that the tables may refuse.
    fn call<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        touch: Touch,
        effect: impl FnOnce(&mut World) -> Result<T, StoreError> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            let before = self.shared.world().store_delay();
            self.shared.clock.sleep(before).await;
            let (done, after) = self.shared.world().store_effect(self.runner, what, touch, effect);
            if after > 0 {
                self.shared.clock.sleep(after).await;
            }
            done
        }
        .boxed()
    }
}

impl World {
    fn store_delay(&mut self) -> i64 {
        if self.strikes(Fault::SlowStore) { self.rng.between(500, 8_000) } else { self.delay(1) }
    }

    fn store_effect<T>(
        &mut self,
        runner: usize,
        what: &'static str,
        touch: Touch,
        effect: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> (Result<T, StoreError>, i64) {
        let fail = |why: &str, ambiguous| Err(StoreError { message: format!("{what}: {why}"), ambiguous });
        if self.is_cut_off(runner, Part::Store) {
            return (fail("no route", false), 2_000);
        }
        if let Some((why, ms)) = self.refuses(runner, touch) {
            return (fail(why, false), ms);
        }
        if self.strikes_in(what, Fault::CrashBefore) {
            self.say(&format!("r{runner} fault crash_before {what}"));
            self.crashes.insert(runner);
            return (fail("the process ends", false), 1);
        }
        if self.strikes_in(what, Fault::DatabaseBusy) {
            return (fail("database is locked", false), 50);
        }
        let unknown = self.strikes_in(what, Fault::CommitUnknown);
        if unknown && self.rng.chance(500) {
            return (fail("connection lost", true), 10);
        }
        let value = match effect(self) {
            Ok(value) => value,
            Err(refused) => return (Err(refused), 1),
        };
        if touch != Touch::Read {
            self.wrote(runner);
        }
        if self.strikes_in(what, Fault::CrashAfter) {
            self.say(&format!("r{runner} fault crash_after {what}"));
            self.crashes.insert(runner);
            return (Ok(value), 1);
        }
        if unknown {
            self.say(&format!("r{runner} fault commit_unknown {what}"));
            return (fail("connection lost", true), 10);
        }
        let slow = self.pace == super::world::Pace::Random && self.rng.chance(100);
        (Ok(value), if slow { self.rng.between(1, 50) } else { 0 })
    }
}

impl Store for SimStore {
    fn flush(&self) -> Answer<'_, ()> {
        self.read("flush", |w| w.marks.unflushed.clear())
    }

    fn write_trouble(&self) -> Option<WriteTrouble> {
        let world = self.shared.world();
        let (since_ms, why) = world.processes.get(self.runner)?.refused.since_ms?;
        let lasts = Duration::from_millis(u64::try_from(world.now_ms() - since_ms).unwrap_or(0));
        Some(WriteTrouble { lasts, why: why.to_owned() })
    }

    fn unreadable(&self) -> BTreeMap<(Subject, String), String> {
        self.shared.world().rows.unreadable()
    }

    fn anchor<'a>(&'a self, boot: &'a str, epoch_ms: i64) -> Answer<'a, i64> {
        self.call("anchor", Touch::End, move |w| Ok(w.rows.anchor(boot, epoch_ms)))
    }

    fn enroll<'a>(&'a self, me: &'a Holder) -> Answer<'a, ()> {
        self.call("enroll", Touch::End, move |w| {
            w.rows.enroll(me);
            Ok(())
        })
    }

    fn lease<'a>(&'a self, me: &'a Holder, wanted: &'a BTreeMap<String, Option<Lease>>) -> Answer<'a, Leasing> {
        self.call("lease", Touch::End, move |w| {
            let before = w.rows.leases.clone();
            let answer = w.rows.lease(me, wanted);
            invariant::leased(w, self.runner, me, &before, &answer);
            if let Some(process) = w.processes.get_mut(self.runner) {
                process.leased = true;
            }
            Ok(answer)
        })
    }

    fn release_leases<'a>(&'a self, me: &'a Holder) -> Answer<'a, ()> {
        self.call("release_leases", Touch::End, move |w| {
            w.rows.release_leases(me);
            Ok(())
        })
    }

    fn live_instances(&self) -> Answer<'_, Vec<Instance>> {
        self.read("live_instances", |w| w.rows.live_instances())
    }

    fn instance<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Option<Instance>> {
        self.read("instance", move |w| w.rows.instances.get(id).cloned())
    }

    fn insert_instances<'a>(&'a self, rows: &'a [Instance], limits: Limits, reason: &'a str) -> Answer<'a, bool> {
        self.call("insert_instances", Touch::Write, move |w| {
            let Some(inserted) = w.rows.insert(rows, limits, reason)? else { return Ok(false) };
            Ok(inserted.iter().all(|changed| invariant::instance_changed(w, self.runner, changed, reason)))
        })
    }

    fn update_instance<'a>(&'a self, row: &'a Instance, reason: &'a str) -> Answer<'a, bool> {
        let ends = matches!(row.state, State::Terminating | State::Gone);
        self.call("update_instance", if ends { Touch::End } else { Touch::Write }, move |w| {
            if !w.rows.instances.contains_key(&row.id) {
                w.violate("row_is_known", format!("an update of {} that never had a row", row.id));
            }
            let changed = w.rows.update(row, reason)?;
            Ok(changed.is_some_and(|changed| invariant::instance_changed(w, self.runner, &changed, reason)))
        })
    }

    fn open_stages(&self) -> Answer<'_, Vec<Stage>> {
        self.read("open_stages", |w| w.rows.open_stages())
    }

    fn stage<'a>(&'a self, id: &'a StageId) -> Answer<'a, Option<Stage>> {
        self.read("stage", move |w| w.rows.stages.get(id).cloned())
    }

    fn begin_stage<'a>(&'a self, stage: &'a Stage, now_ms: i64) -> Answer<'a, (Stage, Option<Instance>)> {
        self.write("begin_stage", move |w| {
            let (begun, claim) = w.rows.begin(stage, now_ms);
            if let Some(begun) = begun {
                invariant::stage_changed(w, self.runner, &begun);
            }
            if let Some((stage, instance)) = claim {
                invariant::claimed(w, self.runner, &stage, &instance);
            }
            let present = w.rows.stages.get(&stage.id).cloned().unwrap_or_else(|| stage.clone());
            let instance = present.instance.as_ref().and_then(|id| w.rows.instances.get(id)).cloned();
            (present, instance)
        })
    }

    fn claim<'a>(&'a self, stage: &'a Stage, now_ms: i64) -> Answer<'a, Option<(Stage, Instance)>> {
        self.write("claim", move |w| {
            let (stage, instance) = w.rows.claim(stage, now_ms)?;
            invariant::claimed(w, self.runner, &stage, &instance);
            Some((stage.new, instance.new))
        })
    }

    fn update_stage<'a>(&'a self, stage: &'a Stage) -> Answer<'a, bool> {
        let ends = stage.state == StageState::Ended;
        self.call("update_stage", if ends { Touch::End } else { Touch::Write }, move |w| {
            let now = w.now_ms();
            let changed = w.rows.update_stage(stage, now)?;
            Ok(changed.is_some_and(|changed| invariant::stage_changed(w, self.runner, &changed)))
        })
    }

    fn streaks(&self) -> Answer<'_, BTreeMap<String, Streak>> {
        self.read("streaks", |w| w.rows.streaks.clone())
    }

    fn note_start<'a>(&'a self, flavor: &'a str, now_ms: i64, failure: Option<&'a Cause>) -> Answer<'a, ()> {
        self.write("note_start", move |w| {
            w.rows.note_start(flavor, now_ms, failure);
            let now = w.now_ms();
            w.marks.start_noted_ms.insert(flavor.to_owned(), now);
        })
    }

    fn timeline<'a>(&'a self, id: &'a str, limit: u32) -> Answer<'a, Vec<Change>> {
        self.read("timeline", move |w| w.rows.timeline(id, limit))
    }

    fn changes_after(&self, seq: i64, limit: u32) -> Answer<'_, Vec<Change>> {
        self.read("changes_after", move |w| w.rows.changes_after(seq, limit))
    }

    fn newest_instances(&self, limit: u32) -> Answer<'_, Vec<Instance>> {
        self.read("newest_instances", move |w| w.rows.newest_instances(limit))
    }

    fn newest_stages(&self, limit: u32) -> Answer<'_, Vec<Stage>> {
        self.read("newest_stages", move |w| w.rows.newest_stages(limit))
    }

    fn prune(&self, before_ms: i64) -> Answer<'_, u64> {
        self.write("prune", move |w| w.rows.prune(before_ms))
    }

    fn drained(&self) -> Answer<'_, BTreeSet<String>> {
        self.read("drained", |w| w.rows.drained.clone())
    }

    fn set_drained<'a>(&'a self, pool: &'a str, drained: bool) -> Answer<'a, ()> {
        self.write("set_drained", move |w| {
            let changed = if drained { w.rows.drained.insert(pool.to_owned()) } else { w.rows.drained.remove(pool) };
            if changed {
                w.say(&format!("r{} pool {pool} {}", self.runner, if drained { "drained" } else { "undrained" }));
                let now = w.now_ms();
                w.marks.drained_since_ms.insert(pool.to_owned(), now);
            }
        })
    }
}
