//! What the engine needs of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kiln_driver::{Driver, DriverError};
use kiln_pool::plan::Streak;
use kiln_pool::{Cause, Instance, InstanceId, SiteId, Stage, StageId, StageState, Subject};

/// A failed call of the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database does not answer as it should: {message}")]
pub struct StoreError {
    /// What was tried and what the database said.
    pub message: String,
    /// Whether the change may have been made all the same.
    pub ambiguous: bool,
}

/// Why nothing is written down at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTrouble {
    /// For how long no write has succeeded. On a full disk, ends that a reserve made room for do not count.
    pub lasts: Duration,
    /// What the database said last.
    pub why: String,
}

/// The limits under which a new row may be inserted. They count every row that is not gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of the pool.
    pub pool: u32,
    /// Rows of the flavor.
    pub flavor: Option<u32>,
}

/// A change of a row, as the timeline keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Grows with every change.
    pub seq: i64,
    /// When.
    pub at_ms: i64,
    /// What it is about.
    pub subject: Subject,
    /// Its id.
    pub id: String,
    /// Its pool.
    pub pool: String,
    /// Its state after the change.
    pub state: String,
    /// Why.
    pub reason: String,
}

impl Change {
    /// The reason of a stage's change, from its row after it.
    #[must_use]
    pub fn reason_of_stage(row: &Stage) -> String {
        match (row.state, &row.instance, &row.cause) {
            (_, _, Some(cause)) => cause.to_string(),
            (StageState::Assigned, _, _) if row.set_up => "set up".to_owned(),
            (_, Some(instance), _) => format!("instance {instance}"),
            _ => row.why.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The reason of an instance's change when it is claimed for this stage.
    #[must_use]
    pub fn reason_of_claim(stage: &StageId) -> String {
        format!("stage {stage}")
    }
}

/// A process of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The runner's name.
    pub name: String,
    /// The process; unique for ever.
    pub process: String,
}

/// The row of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name of the runner that has it; empty when it was given up.
    pub holder: String,
    /// That runner's process; empty as well.
    pub process: String,
    /// Grows whenever it is taken, renewed or given up.
    pub beat: i64,
}

/// What came of asking for leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leasing {
    /// A later process of the same runner was enrolled. Nothing was changed.
    Superseded,
    /// All leases that there are, by name, after the change.
    Rows(BTreeMap<String, Lease>),
}

/// The rows. Every call is one transaction; what it writes is durable when it returns.
pub trait Store: Send + Sync {
    /// Since when nothing could be written, and why; none while writes succeed.
    fn write_trouble(&self) -> Option<WriteTrouble>;

    /// Returns the live instances and open stages that could not be read when these were read last, by kind and id, with what is
    /// wrong. They are left out of the answers, and nothing is known about them but that they are there.
    fn unreadable(&self) -> BTreeMap<(Subject, String), String>;
    /// When the host booted, in milliseconds since 1970, for all processes of this boot: what the first of them said, or, when
    /// no instance is live and no stage is open, what this one says.
    fn anchor<'a>(&'a self, boot: &'a str, epoch_ms: i64) -> BoxFuture<'a, Result<i64, StoreError>>;
    /// Makes this the present process of its runner. Older ones of the same name are superseded from then on.
    fn enroll<'a>(&'a self, me: &'a Holder) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Renews those of the wanted leases that this runner holds, in whichever process, and takes those that nobody holds, or
    /// that are still as given here. Each that is had so gets a new beat.
    fn lease<'a>(
        &'a self,
        me: &'a Holder,
        wanted: &'a BTreeMap<String, Option<Lease>>,
    ) -> BoxFuture<'a, Result<Leasing, StoreError>>;
    /// Gives up the leases of this process.
    fn release_leases<'a>(&'a self, me: &'a Holder) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All instances that are not gone.
    fn live_instances(&self) -> BoxFuture<'_, Result<Vec<Instance>, StoreError>>;
    /// One instance.
    fn instance<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Option<Instance>, StoreError>>;
    /// Writes the rows of a batch of new instances of one flavor, all of them or none: none when that would pass a limit.
    /// Whether it did. Concurrent callers, also in other processes, never pass a limit together.
    fn insert_instances<'a>(
        &'a self,
        rows: &'a [Instance],
        limits: Limits,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Replaces a row whose generation is one less than the given row's; whether it did. `reason` goes into the timeline.
    fn update_instance<'a>(&'a self, row: &'a Instance, reason: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// All stages that have not ended.
    fn open_stages(&self) -> BoxFuture<'_, Result<Vec<Stage>, StoreError>>;
    /// One stage.
    fn stage<'a>(&'a self, id: &'a StageId) -> BoxFuture<'a, Result<Option<Stage>, StoreError>>;
    /// Writes a new stage, unless one of that id is there, and claims for it if no older stage waits for the same flavor. What
    /// there is now: the stage, and its instance if it has one.
    fn begin_stage<'a>(
        &'a self,
        stage: &'a Stage,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<(Stage, Option<Instance>), StoreError>>;
    /// Claims the oldest instance that is ready and not held, of the first candidate that has one. None when there is none
    /// or the stage has changed since `stage` was read.
    fn claim<'a>(
        &'a self,
        stage: &'a Stage,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Option<(Stage, Instance)>, StoreError>>;
    /// Replaces a stage whose generation is one less than the given one's; whether it did.
    fn update_stage<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The failed starts of kinds of instances since their last success, by [`kiln_pool::plan::streak_key`].
    fn streaks(&self) -> BoxFuture<'_, Result<BTreeMap<String, Streak>, StoreError>>;
    /// Notes how a start went: `failure` says why it failed, and makes the streak longer, up to [`kiln_pool::plan::counts_up_to`].
    fn note_start<'a>(
        &'a self,
        key: &'a str,
        now_ms: i64,
        failure: Option<&'a Cause>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The latest changes of one instance or stage, oldest first, at most `limit`.
    fn timeline<'a>(&'a self, id: &'a str, limit: u32) -> BoxFuture<'a, Result<Vec<Change>, StoreError>>;
    /// Changes of instances and stages after this one, oldest first, at most `limit`.
    fn changes_after(&self, seq: i64, limit: u32) -> BoxFuture<'_, Result<Vec<Change>, StoreError>>;
    /// The newest instances, whatever their state, newest first.
    fn newest_instances(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Instance>, StoreError>>;
    /// The newest stages, whatever their state, newest first.
    fn newest_stages(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Stage>, StoreError>>;
    /// Forgets instances that are gone and stages that ended before this time, with their changes; how many rows went.
    fn prune(&self, before_ms: i64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// The pools that an operator drains.
    fn drained(&self) -> BoxFuture<'_, Result<BTreeSet<String>, StoreError>>;
    /// Drains a pool, or ends that.
    fn set_drained<'a>(&'a self, pool: &'a str, drained: bool) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Opens drivers.
pub trait Drivers: Send + Sync {
    /// The driver of a site. Called again while it fails, and once when it does not.
    fn open<'a>(&'a self, site: &'a SiteId) -> BoxFuture<'a, Result<Arc<dyn Driver>, DriverError>>;
}

/// Sites whose drivers are open already, by the site.
impl Drivers for BTreeMap<SiteId, Arc<dyn Driver>> {
    fn open<'a>(&'a self, site: &'a SiteId) -> BoxFuture<'a, Result<Arc<dyn Driver>, DriverError>> {
        let driver = self.get(site).cloned();
        Box::pin(async move { driver.ok_or_else(|| DriverError::unknown_site(site.as_str())) })
    }
}

/// The agents in the instances.
pub trait Agents: Send + Sync {
    /// Finds the agent of an instance that boots and gives it the instance's identity. Patient for some seconds; safe to
    /// repeat. The error is for people.
    fn boot<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>>;
    /// Whether the agent answers; that also renews the lease after which the instance powers itself off.
    fn health<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>>;
}

/// The process around the engine.
pub trait Host: Send + Sync {
    /// The time by which rows are dated, in milliseconds since 1970. It goes on evenly: setting the wall clock does not change
    /// it while the host runs.
    fn now_ms(&self) -> i64;
    /// How long this process has been running, in milliseconds, by a clock that nobody sets.
    fn uptime_ms(&self) -> i64;
    /// A new token of a batch, see [`kiln_pool::instance::Batch::token`].
    fn new_token(&self) -> String;
    /// Runs work beside the caller, until it is done or the process ends.
    fn spawn(&self, work: BoxFuture<'static, ()>);
    /// How many signals there were. Read before looking at the world, so that none is missed while looking.
    fn signals(&self) -> u64;
    /// Returns as soon as there were more than `seen` [signals](Host::signal), or after `limit_ms` at the latest.
    fn wait(&self, seen: u64, limit_ms: i64) -> BoxFuture<'static, ()>;
    /// Wakes everybody who waits: something changed.
    fn signal(&self);
}
