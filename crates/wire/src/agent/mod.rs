//! The API that the agent serves on port 9079, and its runner calls.
//!
//! The first group of messages is lite-engine's protocol, so that either end can be swapped in alone. The second,
//! [`kiln`], is ours and lives under `/kiln/v1/`.

mod answers;
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
