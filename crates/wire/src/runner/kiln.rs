//! The routes that are ours.

use crate::message::{message, words};

/// `GET`: [`PoolList`].
pub const POOLS: &str = "/kiln/v1/pools";
/// `POST` [`DrainRequest`]: [`Pool`].
pub const POOL_DRAIN: &str = "/kiln/v1/pools/{name}/drain";
/// `GET` with `?state=&pool=&all`: [`InstanceList`].
pub const INSTANCES: &str = "/kiln/v1/instances";
/// `GET`: [`InstanceDetail`]. `DELETE`: [`Instance`].
pub const INSTANCE: &str = "/kiln/v1/instances/{id}";
/// `POST` [`HoldRequest`]: [`Instance`].
pub const INSTANCE_HOLD: &str = "/kiln/v1/instances/{id}/hold";
/// `POST`: [`Instance`].
pub const INSTANCE_RELEASE: &str = "/kiln/v1/instances/{id}/release";
/// `GET` with `?all`: [`StageList`].
pub const STAGES: &str = "/kiln/v1/stages";
/// `GET`: [`StageDetail`].
pub const STAGE: &str = "/kiln/v1/stages/{id}";
/// `POST` [`CancelStageRequest`]: [`Stage`].
pub const STAGE_CANCEL: &str = "/kiln/v1/stages/{id}/cancel";
/// `PUT` with `?path=DIR`, a tar stream (zstd): [`crate::agent::kiln::UnpackedResponse`].
pub const STAGE_WORKSPACE: &str = "/kiln/v1/stages/{id}/workspace";
/// `GET`: [`crate::agent::kiln::StepList`]. `POST` [`crate::agent::StartStepRequest`]: [`crate::agent::Empty`], at once.
pub const STAGE_STEPS: &str = "/kiln/v1/stages/{id}/steps";
/// `POST` [`crate::agent::PollStepRequest`]: [`crate::agent::PollStepResponse`], when the step has ended.
pub const STAGE_STEPS_POLL: &str = "/kiln/v1/stages/{id}/steps/poll";
/// `POST` [`crate::agent::kiln::CancelRequest`]: [`crate::agent::Empty`].
pub const STAGE_STEPS_CANCEL: &str = "/kiln/v1/stages/{id}/steps/cancel";
/// `POST`: ends all steps of a stage; it keeps its instance.
pub const STAGE_STEPS_END: &str = "/kiln/v1/stages/{id}/steps/end";
/// `POST` [`crate::agent::kiln::OutputRequest`]: raw bytes, with the agent's headers.
pub const STAGE_OUTPUT: &str = "/kiln/v1/stages/{id}/output";
/// `POST` [`crate::agent::kiln::FilesRequest`]: a tar stream (zstd).
pub const STAGE_FILES: &str = "/kiln/v1/stages/{id}/files";
/// `POST` [`crate::agent::archive::LookRequest`]: [`crate::agent::archive::LookResponse`].
pub const STAGE_LOOK: &str = "/kiln/v1/stages/{id}/look";
/// `POST` [`crate::agent::archive::PackRequest`]: an archive, as the agent sends it. `PUT` of one, with an
/// [`crate::agent::archive::UnpackRequest`] as `?request=`: [`crate::agent::kiln::UnpackedResponse`].
pub const STAGE_ARCHIVE: &str = "/kiln/v1/stages/{id}/archive";
/// `GET`: a stream of server-sent events, each a [`Change`].
pub const EVENTS: &str = "/kiln/v1/events";
/// `GET`: the description of this API.
pub const OPENAPI: &str = "/kiln/v1/openapi.json";

words! {
    /// What a change is about.
    pub enum Subject {
        /// An instance.
        Instance = "instance",
        /// A stage.
        Stage = "stage",
    }
}

message! {
    /// Why an instance or a stage ended.
    pub struct EndCause {
        /// The kind: `destroyed`, `died`, `stage_deadline` and so on.
        code: String = "code" always,
        /// What was seen.
        evidence: String = "evidence",
    }

    /// What of the runner is up.
    pub struct HealthReport {
        /// Whether everything is.
        ready: bool = "ready" always,
        /// Whether every pool had its first pass.
        pools_built: bool = "pools_built" always,
        /// Whether the database answers, and takes writes.
        store_ok: bool = "store_ok" always,
        /// Why no write to the database has succeeded for a while; empty when one has.
        unwritten: String = "unwritten",
        /// End of the last pass, in milliseconds since 1970; 0 before the first one.
        last_pass_unix_ms: i64 = "last_pass_unix_ms" always,
        /// What went wrong in the last pass; empty when nothing did.
        last_pass_error: String = "last_pass_error",
        /// The drivers.
        drivers: Vec<DriverHealth> = "drivers" always,
        /// Version of the runner.
        version: String = "version" always,
    }

    /// Whether a driver answers.
    pub struct DriverHealth {
        /// Its name.
        name: String = "name" always,
        /// Whether its instances could be listed.
        ok: bool = "ok" always,
        /// Why not.
        error: String = "error",
    }

    /// The pools.
    pub struct PoolList {
        /// By name.
        pools: Vec<Pool> = "pools" always,
        /// Rows of the database that cannot be read. They are left as they are, and counted nowhere.
        unreadable: Vec<UnreadableRow> = "unreadable",
    }

    /// A row of the database that cannot be read.
    pub struct UnreadableRow {
        /// What it is about.
        subject: Subject = "subject" always,
        /// Its id.
        id: String = "id" always,
        /// What is wrong with it.
        why: String = "why" always,
    }

    /// A pool.
    pub struct Pool {
        /// Its name.
        name: String = "name" always,
        /// Its driver.
        driver: String = "driver" always,
        /// Operating system.
        os: String = "os" always,
        /// Processor architecture.
        arch: String = "arch" always,
        /// Most instances at once.
        limit: u32 = "limit" always,
        /// Whether an operator drains it.
        drained: bool = "drained" always,
        /// Instances that start.
        starting: u32 = "starting" always,
        /// Instances that are ready.
        ready: u32 = "ready" always,
        /// Instances that sleep, or are on the way there.
        hibernated: u32 = "hibernated" always,
        /// Instances that serve stages.
        claimed: u32 = "claimed" always,
        /// Instances that end.
        terminating: u32 = "terminating" always,
        /// Stages that wait.
        waiting: u32 = "waiting" always,
        /// The kinds of instances.
        flavors: Vec<Flavor> = "flavors" always,
    }

    /// A kind of instance within a pool.
    pub struct Flavor {
        /// Its name, unique among all pools.
        key: String = "key" always,
        /// The image.
        image: String = "image" always,
        /// Requests with this resource class get it.
        resource_class: String = "resource_class",
        /// Whose it is.
        tenant: String = "tenant",
        /// Instances that the pool file wants ready now.
        warm: u32 = "warm" always,
        /// What the latest pass of this runner wanted; absent while another runner works on the pool.
        wanted: Option<Wanted> = "wanted",
        /// Instances that are ready.
        ready: u32 = "ready" always,
        /// Failed starts since the last one that succeeded.
        failures: u32 = "failures",
        /// How the last of them failed.
        last_failure: String = "last_failure",
    }

    /// How many instances a pass wanted of a kind.
    pub struct Wanted {
        /// Awake: for stages that wait, and warm.
        awake: u32 = "awake" always,
        /// Asleep, until a stage waits for them.
        asleep: u32 = "asleep" always,
    }

    /// Drains a pool, or ends that.
    pub struct DrainRequest {
        /// Whether it is to be drained; absent is yes.
        drained: Option<bool> = "drained",
    }

    /// Instances.
    pub struct InstanceList {
        /// Newest first.
        instances: Vec<Instance> = "instances" always,
        /// Those that cannot be read, whatever was asked for.
        unreadable: Vec<UnreadableRow> = "unreadable",
    }

    /// An instance.
    pub struct Instance {
        /// Its id.
        id: String = "id" always,
        /// Its pool.
        pool: String = "pool" always,
        /// Its kind.
        flavor: String = "flavor" always,
        /// Its driver.
        driver: String = "driver" always,
        /// The site that it is at: `qemu:ID`, `amazon:ACCOUNT:REGION`.
        site: String = "site" always,
        /// The place within the site that it was launched in; empty where the site has none.
        place: String = "place",
        /// Its image.
        image: String = "image" always,
        /// Where it is in its life.
        state: String = "state" always,
        /// Since when it is there, in milliseconds since 1970.
        since_unix_ms: i64 = "since_unix_ms" always,
        /// When it was asked for, in milliseconds since 1970.
        created_unix_ms: i64 = "created_unix_ms" always,
        /// When it was ready for the first time, in milliseconds since 1970.
        ready_unix_ms: Option<i64> = "ready_unix_ms",
        /// When it was claimed, in milliseconds since 1970.
        claimed_unix_ms: Option<i64> = "claimed_unix_ms",
        /// When its stage's time is up, in milliseconds since 1970.
        deadline_unix_ms: Option<i64> = "deadline_unix_ms",
        /// Until when an operator holds it, in milliseconds since 1970.
        held_until_unix_ms: Option<i64> = "held_until_unix_ms",
        /// The stage it serves or served.
        stage: String = "stage",
        /// The runner that works on it.
        runner: String = "runner" always,
        /// Where its agent listens.
        address: String = "address",
        /// When its agent last answered this runner, in milliseconds since 1970.
        answered_unix_ms: Option<i64> = "answered_unix_ms",
        /// Why it ends or ended.
        cause: Option<EndCause> = "cause",
    }

    /// An instance and its history.
    pub struct InstanceDetail {
        /// The instance.
        instance: Instance = "instance" always,
        /// Its changes, oldest first.
        timeline: Vec<Change> = "timeline" always,
    }

    /// A change of an instance or a stage.
    pub struct Change {
        /// Grows with every change.
        seq: i64 = "seq" always,
        /// When, in milliseconds since 1970.
        at_unix_ms: i64 = "at_unix_ms" always,
        /// What it is about.
        subject: Subject = "subject" always,
        /// Its id.
        id: String = "id" always,
        /// Its pool.
        pool: String = "pool" always,
        /// Its state after the change.
        state: String = "state" always,
        /// Why.
        reason: String = "reason" always,
    }

    /// Holds an instance: a warm one is not claimed, a busy one outlives its stage.
    pub struct HoldRequest {
        /// For how long, in seconds.
        seconds: i64 = "seconds",
    }

    /// Stages.
    pub struct StageList {
        /// Oldest first; with `all`, newest first.
        stages: Vec<Stage> = "stages" always,
        /// Those that cannot be read.
        unreadable: Vec<UnreadableRow> = "unreadable",
    }

    /// A stage.
    pub struct Stage {
        /// Its id.
        id: String = "id" always,
        /// The pool that was asked for.
        pool: String = "pool" always,
        /// Whose it is.
        account: String = "account",
        /// Where it is in its life: `waiting`, `assigned` or `ended`.
        state: String = "state" always,
        /// Its instance.
        instance: String = "instance",
        /// When it was asked for, in milliseconds since 1970.
        created_unix_ms: i64 = "created_unix_ms" always,
        /// Until when it may wait, in milliseconds since 1970.
        wait_until_unix_ms: i64 = "wait_until_unix_ms" always,
        /// When it got its instance, in milliseconds since 1970.
        assigned_unix_ms: Option<i64> = "assigned_unix_ms",
        /// When its time is up, in milliseconds since 1970.
        deadline_unix_ms: Option<i64> = "deadline_unix_ms",
        /// When it ended, in milliseconds since 1970.
        ended_unix_ms: Option<i64> = "ended_unix_ms",
        /// Whether its instance's agent is prepared for it.
        set_up: bool = "set_up" always,
        /// Instances that were tried for it before and could not be prepared.
        attempts: i64 = "attempts",
        /// Why it still waits.
        why: String = "why",
        /// The same as a word: `starting`, `pool_limit`, `flavor_limit`, `launches_fail`, `drained`, `site_closed`,
        /// `not_in_pool_file`.
        why_code: String = "why_code",
        /// Why it ended.
        cause: Option<EndCause> = "cause",
    }

    /// A stage and its history.
    pub struct StageDetail {
        /// The stage.
        stage: Stage = "stage" always,
        /// Its changes, oldest first.
        timeline: Vec<Change> = "timeline" always,
    }

    /// Ends a stage and its instance.
    pub struct CancelStageRequest {
        /// Why, for those who wait for the stage.
        reason: String = "reason",
    }
}
