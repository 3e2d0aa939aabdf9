//! The API that the runner serves, on port 3000 unless told otherwise.
//!
//! The first group of messages is that of the runner that ours stands in for, field for field. The second, [`kiln`], is
//! ours and lives under `/kiln/v1/`.

mod answers;
pub mod kiln;
mod requests;

pub use answers::*;
pub use requests::*;

/// The port the runner listens on.
pub const PORT: u16 = 3000;

/// `GET`: the text `OK`; with `?verbose`, [`kiln::HealthReport`].
pub const HEALTHZ: &str = "/healthz";
/// Any verb: metrics in the text form of OpenMetrics.
pub const METRICS: &str = "/metrics";
/// `POST` [`SetupVmRequest`]: [`SetupVmResponse`], when the stage has its instance and that is prepared.
pub const SETUP: &str = "/setup";
/// `POST` [`ExecuteVmRequest`]: [`crate::agent::PollStepResponse`], when the step has ended.
pub const STEP: &str = "/step";
/// `POST` [`DestroyVmRequest`]: empty.
pub const DESTROY: &str = "/destroy";
/// `POST` [`SuspendVmRequest`]: empty.
pub const SUSPEND: &str = "/suspend";
/// `POST` with `?pool=P[&stageId=S]`: [`PoolOwnerResponse`].
pub const POOL_OWNER: &str = "/pool_owner";
