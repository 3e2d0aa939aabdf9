//! How a call to an agent fails.

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
    /// The agent does not answer on any connection any more.
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
        /// Why it serves the stage no more; unknown unless the status is 410 and the agent ours.
        reason: Cause,
    },
    /// The answer has not the form of the route's answers.
    #[error("the agent's answer to {path} is malformed")]
    Malformed {
        /// The route.
        path: &'static str,
        /// Why.
        #[source]
        source: kiln_wire::Unreadable,
    },
    /// The answer is longer than any that the route gives.
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
    /// The instance's site has not told where its agent listens.
    #[error("where the agent of {0} listens is not known yet")]
    Unknown(String),
    /// The HTTP client could not be made.
    #[error("the connection to the agent could not be prepared")]
    Client(#[source] reqwest::Error),
}

impl AgentError {
    pub(crate) fn of(path: &'static str, source: reqwest::Error) -> Self {
        // The URL names a forwarded port, which tells people nothing.
        Self::Connection { path, source: source.without_url() }
    }

    pub(crate) fn client(source: reqwest::Error) -> Self {
        Self::Client(source)
    }

    /// Returns why the agent serves the stage no more, if that is what it answered. No later call fares better.
    #[must_use]
    pub fn over(&self) -> Option<Cause> {
        match self {
            Self::Refused { status: GONE, reason, .. } => Some(*reason).filter(|reason| *reason != Cause::Unknown),
            _ => None,
        }
    }

    /// Returns whether the call failed without an answer, so that another try may help.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Silent { .. })
    }
}
