//! How work with caches fails, and what that is to a step.

use kiln_agent_client::AgentError;
use kiln_wire::run::Cause;

use crate::fleet::error_chain;
use crate::outcome::Judged;

/// Work with a cache failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The file asks for something that cannot be worked out.
    #[error("{0}")]
    Plan(String),
    /// The agent refused, or could not be reached any more.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] kiln_cache::Error),
    /// There is nothing to do it with.
    #[error("{0}")]
    Nothing(String),
}

impl Failure {
    /// Returns what people are told.
    pub(super) fn told(&self) -> String {
        error_chain(self)
    }

    /// Returns how an attempt at a step ended that failed so.
    pub(super) fn judged(&self) -> Judged {
        let cause = match self {
            Self::Plan(_) => Cause::Plan,
            Self::Agent(error) if error.is_connection() || error.over().is_some() => Cause::Infrastructure,
            Self::Agent(_) | Self::Store(_) | Self::Nothing(_) => Cause::ExitCode,
        };
        Judged::failed(cause, self.told())
    }
}
