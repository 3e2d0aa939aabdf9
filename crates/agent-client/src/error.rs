//! How a call to an agent fails.

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

    /// Whether trying again may help: nothing was answered.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Silent { .. })
    }
}
