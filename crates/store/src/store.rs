//! The engine's view of the database.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use kiln_engine::world::{Change, Holder, Lease, Leasing, Limits, Store, StoreError, WriteTrouble};
use kiln_pool::plan::Streak;
use kiln_pool::{Cause, Instance, InstanceId, Stage, StageId, Subject};

use crate::SqlStore;
use crate::fault::Fault;
use crate::updates::Update;

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Adds the name of the call to its error.
fn trying<'a, T, F>(work: F, what: impl FnOnce() -> String + Send + 'a) -> Answer<'a, T>
where
    F: Future<Output = Result<T, Fault>> + Send + 'a,
{
    Box::pin(async move { work.await.map_err(|fault| fault.during(&what())) })
}

impl Store for SqlStore {
    fn flush(&self) -> Answer<'_, ()> {
        trying(self.database.flush(), || "flush what was written to the disk".to_owned())
    }

    fn write_trouble(&self) -> Option<WriteTrouble> {
        self.database.writes.trouble()
    }

    fn unreadable(&self) -> BTreeMap<(Subject, String), String> {
        self.unreadable.all()
    }

    fn anchor<'a>(&'a self, boot: &'a str, epoch_ms: i64) -> Answer<'a, i64> {
        trying(self.write_epoch(boot, epoch_ms), || "write down when this host booted".to_owned())
    }

    fn enroll<'a>(&'a self, me: &'a Holder) -> Answer<'a, ()> {
        trying(self.write_process(me), || "write down that this process was started".to_owned())
    }

    fn lease<'a>(&'a self, me: &'a Holder, wanted: &'a BTreeMap<String, Option<Lease>>) -> Answer<'a, Leasing> {
        trying(self.take_leases(me, wanted), || "take the leases of this runner".to_owned())
    }

    fn release_leases<'a>(&'a self, me: &'a Holder) -> Answer<'a, ()> {
        trying(self.give_up_leases(me), || "give up the leases of this runner".to_owned())
    }

    fn live_instances(&self) -> Answer<'_, Vec<Instance>> {
        trying(self.read_live_instances(), || "read the instances".to_owned())
    }

    fn instance<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Option<Instance>> {
        trying(self.read_instance(id.as_str()), move || format!("read instance {id}"))
    }

    fn insert_instances<'a>(&'a self, rows: &'a [Instance], limits: Limits, reason: &'a str) -> Answer<'a, bool> {
        let what = move || {
            let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            format!("write down the new instances {}", ids.join(", "))
        };
        trying(self.insert(rows, limits, reason), what)
    }

    fn update_instance<'a>(&'a self, row: &'a Instance, reason: &'a str) -> Answer<'a, bool> {
        let update = Update::Instance(Box::new(row.clone()), reason.to_owned());
        trying(self.updates.make(update), move || format!("write down that instance {} is {}", row.id, row.state))
    }

    fn open_stages(&self) -> Answer<'_, Vec<Stage>> {
        trying(self.read_open_stages(), || "read the stages".to_owned())
    }

    fn stage<'a>(&'a self, id: &'a StageId) -> Answer<'a, Option<Stage>> {
        trying(self.read_stage(id.as_str()), move || format!("read stage {id}"))
    }

    fn begin_stage<'a>(&'a self, stage: &'a Stage, now_ms: i64) -> Answer<'a, (Stage, Option<Instance>)> {
        trying(self.begin(stage, now_ms), move || format!("write down the new stage {}", stage.id))
    }

    fn claim<'a>(&'a self, stage: &'a Stage, now_ms: i64) -> Answer<'a, Option<(Stage, Instance)>> {
        trying(self.claims.claim(stage, now_ms), move || format!("claim an instance for stage {}", stage.id))
    }

    fn update_stage<'a>(&'a self, stage: &'a Stage) -> Answer<'a, bool> {
        let update = Update::Stage(Box::new(stage.clone()));
        trying(self.updates.make(update), move || format!("write down that stage {} is {}", stage.id, stage.state))
    }

    fn streaks(&self) -> Answer<'_, BTreeMap<String, Streak>> {
        trying(self.read_streaks(), || "read the failed starts".to_owned())
    }

    fn note_start<'a>(&'a self, flavor: &'a str, now_ms: i64, failure: Option<&'a Cause>) -> Answer<'a, ()> {
        trying(self.write_start(flavor, now_ms, failure), move || format!("note how a start of {flavor} went"))
    }

    fn timeline<'a>(&'a self, id: &'a str, limit: u32) -> Answer<'a, Vec<Change>> {
        trying(self.read_timeline(id, limit), move || format!("read the timeline of {id}"))
    }

    fn changes_after(&self, seq: i64, limit: u32) -> Answer<'_, Vec<Change>> {
        trying(self.read_changes_after(seq, limit), || "read the changes".to_owned())
    }

    fn newest_instances(&self, limit: u32) -> Answer<'_, Vec<Instance>> {
        trying(self.read_newest_instances(limit), || "read the newest instances".to_owned())
    }

    fn newest_stages(&self, limit: u32) -> Answer<'_, Vec<Stage>> {
        trying(self.read_newest_stages(limit), || "read the newest stages".to_owned())
    }

    fn prune(&self, before_ms: i64) -> Answer<'_, u64> {
        trying(self.forget(before_ms), || "forget old rows".to_owned())
    }

    fn drained(&self) -> Answer<'_, BTreeSet<String>> {
        trying(self.read_drained(), || "read which pools are drained".to_owned())
    }

    fn set_drained<'a>(&'a self, pool: &'a str, drained: bool) -> Answer<'a, ()> {
        trying(self.drain(pool, drained), move || format!("write down whether pool {pool} is drained"))
    }
}
