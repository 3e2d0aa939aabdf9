//! The API that the agent serves on port 9079, and its runner calls.
//!
//! The first group of messages is lite-engine's protocol, so that either end can be swapped in alone. The second,
//! [`kiln`], is ours and lives under `/kiln/v1/`.
//!
//! # At most once, also when the agent dies
//!
//! An agent that is started again in a VM which somebody had claimed or used refuses the stage: [`POLL_STEP`] answers that
//! each known step has ended, with exit code 255 and [`Cause::AgentRestarted`], and calls that would begin something answer
//! 410 with that reason in their [`ErrorBody`]. What tells about the past goes on: [`HEALTHZ`], [`STREAM_OUTPUT`], the list,
//! the output, [`DESTROY`].
//!
//! A caller may name its stage with each call, in the header [`kiln::EPOCH_HEADER`]: any text of visible ASCII characters,
//! such as the stage's id. [`SETUP`] takes it over, and from then on a call with another one is answered 410 with
//! [`Cause::OtherEpoch`], by an agent that has forgotten the stage as well as by the agent of another VM. Calls without the
//! header are served, as those of clients that do not know it.

mod answers;
pub mod archive;
pub mod kiln;
mod requests;
mod spec;
mod step;

pub use answers::*;
pub use requests::*;
pub use spec::*;
pub use step::*;

/// The port the agent listens on.
pub const PORT: u16 = 9079;

/// `GET`: [`HealthResponse`].
pub const HEALTHZ: &str = "/healthz";
/// `POST` [`SetupRequest`]: [`Empty`].
pub const SETUP: &str = "/setup";
/// `POST` [`StartStepRequest`]: [`Empty`].
pub const START_STEP: &str = "/start_step";
/// `POST` [`PollStepRequest`]: [`PollStepResponse`], when the step has ended.
pub const POLL_STEP: &str = "/poll_step";
/// `POST` [`StreamOutputRequest`]: the raw bytes of the step's output until it ends.
pub const STREAM_OUTPUT: &str = "/stream_output";
/// `POST` [`DestroyRequest`]: [`DestroyResponse`].
pub const DESTROY: &str = "/destroy";
/// `POST` [`SuspendRequest`]: [`Empty`].
pub const SUSPEND: &str = "/suspend";
/// `POST` [`MintWorkloadTokenRequest`]: [`MintWorkloadTokenResponse`], which tells of a failure too.
pub const MINT_WORKLOAD_TOKEN: &str = "/mint_workload_token";
