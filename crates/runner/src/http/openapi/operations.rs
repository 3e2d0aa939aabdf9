//! The operations of the API, one row for each verb and path.

use kiln_wire::runner::{self as wire, kiln as own};

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taken {
    /// There is none.
    Nothing,
    /// A message, and whether it is mandatory.
    Json(&'static str, bool),
    /// A tar stream compressed with zstd.
    Tar,
}

/// The body of a success.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// A message.
    Json(&'static str),
    /// A text, or a message on request.
    TextOrJson(&'static str, &'static str),
    /// Bytes: their media type and their description.
    Bytes(&'static str, &'static str),
    /// There is none.
    Empty,
}

/// One verb of one path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) verb: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) taken: Taken,
    pub(super) answer: Answer,
}

const fn op(
    (verb, path): (&'static str, &'static str),
    id: &'static str,
    about: &'static str,
    taken: Taken,
    answer: Answer,
) -> Operation {
    Operation { verb, path, id, about, query: &[], taken, answer }
}

impl Operation {
    const fn with(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }
}

use Answer::{Bytes, Empty, Json as Gives, TextOrJson};
use Taken::{Json, Nothing, Tar};

/// All operations.
#[rustfmt::skip]
pub(super) const OPERATIONS: &[Operation] = &[
    op(("GET", wire::HEALTHZ), "healthz", "Tells whether the runner serves and can write to its database: 503 when it cannot. With `verbose`, a HealthReport.",
        Nothing, TextOrJson("`OK`", "HealthReport"))
        .with(&[("verbose", "Answers with the state of the runner's parts, as JSON.")]),
    op(("GET", wire::METRICS), "metrics", "Returns metrics.", Nothing,
        Bytes("application/openmetrics-text", "The text form of OpenMetrics.")),
    op(("POST", wire::SETUP), "setup",
        "Gives a stage an instance and prepares it; answers once it is prepared. May be repeated.",
        Json("SetupVmRequest", true), Gives("SetupVmResponse")),
    op(("POST", wire::STEP), "step", "Runs a step of a stage; answers once it has ended. May be repeated.",
        Json("ExecuteVmRequest", true), Gives("PollStepResponse")),
    op(("POST", wire::DESTROY), "destroy", "Ends a stage and its instance. May be repeated.",
        Json("DestroyVmRequest", true), Empty),
    op(("POST", wire::SUSPEND), "suspend",
        "Checks the request and refuses it: an instance that serves a stage is not put to sleep.",
        Json("SuspendVmRequest", true), Empty),
    op(("POST", wire::POOL_OWNER), "poolOwner", "Tells whether this runner has a pool, or a stage in it.",
        Nothing, Gives("PoolOwnerResponse"))
        .with(&[("pool", "Mandatory: the pool."), ("stageId", "The stage.")]),
    op(("GET", own::POOLS), "listPools", "Returns the pools and their numbers of instances.", Nothing, Gives("PoolList")),
    op(("POST", own::POOL_DRAIN), "drainPool", "Drains a pool, or ends its drain.",
        Json("DrainRequest", false), Gives("Pool")),
    op(("GET", own::INSTANCES), "listInstances", "Returns the instances, newest first.", Nothing, Gives("InstanceList"))
        .with(&[("state", "Only instances in this state."), ("pool", "Only instances of this pool."),
            ("all", "Also instances that are gone.")]),
    op(("GET", own::INSTANCE), "getInstance", "Returns one instance and its history.", Nothing, Gives("InstanceDetail")),
    op(("DELETE", own::INSTANCE), "deleteInstance", "Ends an instance in any state.", Nothing, Gives("Instance")),
    op(("POST", own::INSTANCE_HOLD), "holdInstance",
        "Holds an instance: a warm one is not claimed, a busy one outlives its stage.",
        Json("HoldRequest", true), Gives("Instance")),
    op(("POST", own::INSTANCE_RELEASE), "releaseInstance", "Ends a hold.", Nothing, Gives("Instance")),
    op(("GET", own::STAGES), "listStages", "Returns the stages that have not ended, and why some of them wait.",
        Nothing, Gives("StageList"))
        .with(&[("all", "Also ended stages.")]),
    op(("GET", own::STAGE), "getStage", "Returns one stage and its history.", Nothing, Gives("StageDetail")),
    op(("POST", own::STAGE_CANCEL), "cancelStage", "Ends a stage and its instance.",
        Json("CancelStageRequest", false), Gives("Stage")),
    op(("PUT", own::STAGE_WORKSPACE), "putWorkspace",
        "Unpacks a tar stream (`Content-Encoding: zstd`) on the stage's instance.", Tar, Gives("UnpackedResponse"))
        .with(&[("path", "Mandatory: the directory.")]),
    op(("GET", own::STAGE_STEPS), "listSteps", "Returns the steps of a stage.", Nothing, Gives("StepList")),
    op(("POST", own::STAGE_STEPS), "startStep", "Starts a step and answers at once. May be repeated.",
        Json("StartStepRequest", true), Gives("Empty")),
    op(("POST", own::STAGE_STEPS_POLL), "pollStep", "Waits for the end of a step.",
        Json("PollStepRequest", true), Gives("PollStepResponse")),
    op(("POST", own::STAGE_STEPS_CANCEL), "cancelStep", "Ends a step and all its processes.",
        Json("CancelRequest", true), Gives("Empty")),
    op(("POST", own::STAGE_STEPS_END), "endSteps", "Ends all steps of a stage. The stage keeps its instance.",
        Nothing, Gives("DestroyResponse")),
    op(("POST", own::STAGE_OUTPUT), "stepOutput", "Returns a step's output from any offset; with `follow`, as it is printed.",
        Json("OutputRequest", true),
        Bytes("text/plain", "The bytes. `x-kiln-offset`, `x-kiln-length`, `x-kiln-ended` and `x-kiln-cut` are their \
            place, and the state of the output when the answer began.")),
    op(("POST", own::STAGE_FILES), "getFiles", "Returns files of a stage's instance.",
        Json("FilesRequest", true), Bytes("application/x-tar", "A tar stream, `Content-Encoding: zstd`.")),
    op(("POST", own::STAGE_LOOK), "look", "What there is at paths of a stage's instance, and digests of its files.",
        Json("LookRequest", true), Gives("LookResponse")),
    op(("POST", own::STAGE_ARCHIVE), "packArchive", "An archive of what lies at paths of a stage's instance.",
        Json("PackRequest", true), Bytes("application/octet-stream", "The archive; then `entries`, `bytes` and `error` in JSON, \
            where `error` says why the archive is not whole; then the length of that JSON in four bytes, the least significant first.")),
    op(("PUT", own::STAGE_ARCHIVE), "unpackArchive", "Unpacks an archive on the stage's instance. 422 says that it is broken.",
        Tar, Gives("UnpackedResponse"))
        .with(&[("request", "Mandatory, in JSON: `base`, `paths` and `format` of the PackRequest that made the archive.")]),
    op(("GET", own::EVENTS), "events", "Streams changes of instances and stages as they happen.", Nothing,
        Bytes("text/event-stream", "Server-sent events; the data of each is a Change. `Last-Event-ID` resumes."))
        .with(&[("after", "Begin after this event; without it, with the next one.")]),
    op(("GET", own::OPENAPI), "openapi", "Returns this description.", Nothing,
        Bytes("application/json", "OpenAPI 3.1.")),
];
