//! Errors of calls to an agent.

use kiln_wire::agent::Cause;

/// Status with which an agent refuses a stage for good.
const GONE: u16 = 410;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There was no connection, or it broke before the answer was whole.
    #[error("the agent did not answer {path}")]
    Connection {
        /// The route.
        path: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The agent no longer answers on any connection.
    #[error("the agent fell silent during {path}")]
    Silent {
        /// The route.
        path: &'static str,
    },
    /// The agent refused the call.
    #[error("the agent refused {path} ({status}): {message}")]
    Refused {
        /// The route.
        path: &'static str,
        /// HTTP status.
        status: u16,
        /// The agent's message.
        message: String,
        /// The reason why it serves the stage no more; unknown unless the status is 410 and the agent is Kiln's.
        reason: Cause,
    },
    /// The answer does not have the route's form.
    #[error("the agent's answer to {path} is malformed")]
    Malformed {
        /// The route.
        path: &'static str,
        /// Why.
        #[source]
        source: kiln_wire::Unreadable,
    },
    /// The answer is longer than any valid answer of the route.
    #[error("the agent's answer to {path} has more than {limit_bytes} bytes")]
    TooLong {
        /// The route.
        path: &'static str,
        /// Greatest number of bytes that are read.
        limit_bytes: usize,
    },
    /// The client's certificate or the CA cannot be used.
    #[error("the connection to the agent could not be prepared")]
    Tls(#[from] kiln_tls::TlsError),
    /// The instance's site has not reported where its agent listens.
    #[error("where the agent of {0} listens is not known yet")]
    Unknown(String),
    /// The HTTP client could not be made.
    #[error("the connection to the agent could not be prepared")]
    Client(#[source] reqwest::Error),
}

impl AgentError {
    pub(crate) fn of(path: &'static str, source: reqwest::Error) -> Self {
        // The URL names a forwarded port, which means nothing to people.
        Self::Connection { path, source: source.without_url() }
    }

    pub(crate) fn client(source: reqwest::Error) -> Self {
        Self::Client(source)
    }

    /// Returns the agent's reason for serving the stage no more, if that is its answer. No later call will succeed.
    #[must_use]
    pub fn over(&self) -> Option<Cause> {
        match self {
            Self::Refused { status: GONE, reason, .. } => Some(*reason).filter(|reason| *reason != Cause::Unknown),
            _ => None,
        }
    }

    /// Returns whether the call failed without an answer, so that another attempt may succeed.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Silent { .. })
    }
}
