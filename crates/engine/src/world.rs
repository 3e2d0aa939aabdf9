//! The engine's view of the world, as traits.

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
    /// The call and the database's message.
    pub message: String,
    /// Whether the change may have been made although the call failed.
    pub ambiguous: bool,
}

/// Why writes fail at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTrouble {
    /// How long no write has succeeded. On a full disk, ends that only a reserve made room for do not count as success.
    pub lasts: Duration,
    /// The latest error of the database.
    pub why: String,
}

/// The limits under which a new row may be inserted. They count every row that is not gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most rows of the pool.
    pub pool: u32,
    /// Most rows of the flavor.
    pub flavor: Option<u32>,
}

/// A change of a row, as the timeline keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Number of the change. It grows with every change.
    pub seq: i64,
    /// When the change was made.
    pub at_ms: i64,
    /// The kind of row.
    pub subject: Subject,
    /// The row's id.
    pub id: String,
    /// The row's pool.
    pub pool: String,
    /// The row's state after the change.
    pub state: String,
    /// The reason for the change.
    pub reason: String,
}

impl Change {
    /// Returns the reason of a stage's change, from its row after the change.
    #[must_use]
    pub fn reason_of_stage(row: &Stage) -> String {
        match (row.state, &row.instance, &row.cause) {
            (_, _, Some(cause)) => cause.to_string(),
            (StageState::Assigned, _, _) if row.set_up => "set up".to_owned(),
            (_, Some(instance), _) => format!("instance {instance}"),
            _ => row.why.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Returns the reason for the change of an instance that is claimed for this stage.
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
    /// Id of the process; unique for ever.
    pub process: String,
}

/// The row of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Name of the runner that holds the lease; empty after it was given up.
    pub holder: String,
    /// Id of that runner's process; empty after it was given up.
    pub process: String,
    /// Grows whenever the lease is taken, renewed or given up.
    pub beat: i64,
}

/// The answer to a request for leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leasing {
    /// A later process of the same runner was enrolled. Nothing was changed.
    Superseded,
    /// All existing leases, by name, after the change.
    Rows(BTreeMap<String, Lease>),
}

/// The rows. Every call is one transaction. Other calls see its writes when it returns; they survive a power cut once a
/// [`Store::flush`] that was called afterwards has returned.
pub trait Store: Send + Sync {
    /// Returns when all writes of calls that have returned would survive a power cut. It comes before anything that
    /// leaves the process because of such a write: a call to a cloud, an answer to a caller.
    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns for how long writes have failed, and why; none while they succeed.
    fn write_trouble(&self) -> Option<WriteTrouble>;

    /// Returns the live instances and open stages whose rows could not be read the last time, by kind and id, each with
    /// the fault. They are left out of the answers; all that is known about them is that they exist.
    fn unreadable(&self) -> BTreeMap<(Subject, String), String>;
    /// Returns when the host booted, in milliseconds since 1970, the same for all processes of a boot. It is the
    /// `epoch_ms` of the first process, or that of this one when no instance is live and no stage is open.
    fn anchor<'a>(&'a self, boot: &'a str, epoch_ms: i64) -> BoxFuture<'a, Result<i64, StoreError>>;
    /// Makes `me` the current process of its runner. Older processes of the same name are superseded from then on.
    fn enroll<'a>(&'a self, me: &'a Holder) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Renews the wanted leases that this runner holds, whichever of its processes took them. Takes wanted leases that
    /// nobody holds or whose row is still as given. Each lease that is renewed or taken gets a new beat.
    fn lease<'a>(
        &'a self,
        me: &'a Holder,
        wanted: &'a BTreeMap<String, Option<Lease>>,
    ) -> BoxFuture<'a, Result<Leasing, StoreError>>;
    /// Gives up the leases of this process.
    fn release_leases<'a>(&'a self, me: &'a Holder) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns all instances that are not gone.
    fn live_instances(&self) -> BoxFuture<'_, Result<Vec<Instance>, StoreError>>;
    /// Returns one instance.
    fn instance<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Option<Instance>, StoreError>>;
    /// Inserts the rows of a batch of new instances of one flavor, all of them or none, and returns whether it did.
    /// None are inserted when that would exceed a limit. Concurrent callers, also in other processes, never exceed a
    /// limit together.
    fn insert_instances<'a>(
        &'a self,
        rows: &'a [Instance],
        limits: Limits,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Replaces the row if its generation is one less than the given one's, and returns whether it did. `reason` goes
    /// into the timeline.
    fn update_instance<'a>(&'a self, row: &'a Instance, reason: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Returns all stages that have not ended.
    fn open_stages(&self) -> BoxFuture<'_, Result<Vec<Stage>, StoreError>>;
    /// Returns one stage.
    fn stage<'a>(&'a self, id: &'a StageId) -> BoxFuture<'a, Result<Option<Stage>, StoreError>>;
    /// Inserts a stage unless its id exists, and claims an instance for it unless an older stage waits for the same
    /// flavor. Returns the stage as it is now, and its instance if it has one.
    fn begin_stage<'a>(
        &'a self,
        stage: &'a Stage,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<(Stage, Option<Instance>), StoreError>>;
    /// Claims the oldest instance that is ready and not held, of the first candidate that has one. Returns none when
    /// there is no such instance, or the stage has changed since `stage` was read.
    fn claim<'a>(
        &'a self,
        stage: &'a Stage,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Option<(Stage, Instance)>, StoreError>>;
    /// Replaces the stage if its generation is one less than the given one's, and returns whether it did.
    fn update_stage<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Returns the failed starts of each kind of instance since its last success, by [`kiln_pool::plan::streak_key`].
    fn streaks(&self) -> BoxFuture<'_, Result<BTreeMap<String, Streak>, StoreError>>;
    /// Records the result of a start. A `failure` says why the start failed and lengthens the streak, up to
    /// [`kiln_pool::plan::counts_up_to`]; none ends the streak.
    fn note_start<'a>(
        &'a self,
        key: &'a str,
        now_ms: i64,
        failure: Option<&'a Cause>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns the latest changes of one instance or stage, oldest first, at most `limit`.
    fn timeline<'a>(&'a self, id: &'a str, limit: u32) -> BoxFuture<'a, Result<Vec<Change>, StoreError>>;
    /// Returns the changes after the one numbered `seq`, oldest first, at most `limit`.
    fn changes_after(&self, seq: i64, limit: u32) -> BoxFuture<'_, Result<Vec<Change>, StoreError>>;
    /// Returns the newest instances in any state, newest first, at most `limit`.
    fn newest_instances(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Instance>, StoreError>>;
    /// Returns the newest stages in any state, newest first, at most `limit`.
    fn newest_stages(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Stage>, StoreError>>;
    /// Deletes instances that were gone and stages that had ended before `before_ms`, with their changes, and returns
    /// how many rows it deleted.
    fn prune(&self, before_ms: i64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Returns the pools that an operator drains.
    fn drained(&self) -> BoxFuture<'_, Result<BTreeSet<String>, StoreError>>;
    /// Drains a pool, or ends its drain.
    fn set_drained<'a>(&'a self, pool: &'a str, drained: bool) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Opens the drivers of sites.
pub trait Drivers: Send + Sync {
    /// Opens the driver of a site. The engine calls this again after an error, and never again after a success.
    fn open<'a>(&'a self, site: &'a SiteId) -> BoxFuture<'a, Result<Arc<dyn Driver>, DriverError>>;
}

/// Sites whose drivers are already open.
impl Drivers for BTreeMap<SiteId, Arc<dyn Driver>> {
    fn open<'a>(&'a self, site: &'a SiteId) -> BoxFuture<'a, Result<Arc<dyn Driver>, DriverError>> {
        let driver = self.get(site).cloned();
        Box::pin(async move { driver.ok_or_else(|| DriverError::unknown_site(site.as_str())) })
    }
}

/// The agents in the instances.
pub trait Agents: Send + Sync {
    /// Finds the agent of a booting instance, gives it the instance's identity and lets it prove that it can run steps.
    /// May take some seconds and may be repeated. The error is text for people.
    fn boot<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>>;
    /// Asks whether the agent answers, which renews the lease after which the instance powers itself off. Returns the
    /// agent's own reason why it can serve no stage any more, if it gives one.
    fn health<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<Option<Cause>, String>>;
}

/// The process around the engine.
pub trait Host: Send + Sync {
    /// Returns the time of the rows, in milliseconds since 1970. It runs evenly: setting the wall clock does not change
    /// it until the host boots again.
    fn now_ms(&self) -> i64;
    /// Returns how long this process has been running, in milliseconds, by a clock that nobody can set.
    fn uptime_ms(&self) -> i64;
    /// Makes a token for a batch, see [`kiln_pool::instance::Batch::token`].
    fn new_token(&self) -> String;
    /// Runs work beside the caller, until it is done or the process ends.
    fn spawn(&self, work: BoxFuture<'static, ()>);
    /// Returns the number of signals so far. A caller reads it before it looks at the world, so that it misses no
    /// signal meanwhile.
    fn signals(&self) -> u64;
    /// Returns a future that ends when there have been more than `seen` [signals](Host::signal), or after `limit_ms`.
    fn wait(&self, seen: u64, limit_ms: i64) -> BoxFuture<'static, ()>;
    /// Wakes everybody in [`Host::wait`], because something has changed.
    fn signal(&self);
}
