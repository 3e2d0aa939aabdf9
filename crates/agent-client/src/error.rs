//! How a call to an agent fails.

use kiln_wire::agent::Cause;

/// Status with which an agent refuses a stage for good.
const GONE: u16 = 410;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No connection, or it broke before the answer was whole.
    #[error("the agent did not answer {path}")]
    Connection {
        /// The route.
        path: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It does not answer on any connection any more.
    #[error("the agent fell silent during {path}")]
    Silent {
        /// The route.
        path: &'static str,
    },
    /// The agent answered that it will not or cannot.
    #[error("the agent refused {path} ({status}): {message}")]
    Refused {
        /// The route.
        path: &'static str,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// Why it serves the stage no more; unknown unless the status is 410 and the agent ours.
        reason: Cause,
    },
    /// The answer is not what the route answers.
    #[error("the agent's answer to {path} is malformed")]
    Malformed {
        /// The route.
        path: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer has no end in sight.
    #[error("the agent's answer to {path} has more than {limit_bytes} bytes")]
    TooLong {
        /// The route.
        path: &'static str,
        /// What is read of it at most.
        limit_bytes: usize,
    },
    /// Our own certificate or the CA is unusable.
    #[error("the connection to the agent could not be prepared")]
    Tls(#[from] kiln_tls::TlsError),
    /// Its site has not told where it listens.
    #[error("where the agent of {0} listens is not known yet")]
    Unknown(String),
    /// The HTTP client could not be made.
    #[error("the connection to the agent could not be prepared")]
    Client(#[source] reqwest::Error),
}

impl AgentError {
    pub(crate) fn of(path: &'static str, source: reqwest::Error) -> Self {
        // The address says nothing to people: it is a forwarded port.
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

    /// Whether trying again may help: nothing was answered.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Silent { .. })
    }
}
