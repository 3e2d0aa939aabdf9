//! Errors of calls to a runner.

use std::error::Error as _;

use kiln_wire::runner::kiln::EndCause;

/// A failed call to a runner.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Nothing listens at the URL.
    #[error("no runner answers at {url}")]
    Absent {
        /// The runner's URL.
        url: String,
    },
    /// The runner accepts connections and does not answer.
    #[error("the runner at {url} does not answer in time")]
    Slow {
        /// The runner's URL.
        url: String,
    },
    /// There is no connection, or it broke.
    #[error("the runner at {url} cannot be reached")]
    Connection {
        /// The runner's URL.
        url: String,
        /// The HTTP client's error.
        #[source]
        source: reqwest::Error,
    },
    /// The runner does not know the caller.
    #[error("{message}")]
    Unauthorized {
        /// The runner's URL.
        url: String,
        /// The runner's message.
        message: String,
    },
    /// The runner refused, or could not do it.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The runner's message.
        message: String,
        /// The end of the stage or the instance, if that is the reason.
        cause: Option<Box<EndCause>>,
    },
    /// The answer is an error that no runner sends.
    #[error("what answers at {url} (with status {status}) is no Kiln runner, or an older one")]
    Stranger {
        /// The runner's URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is one that no runner sends.
    #[error("what answers at {url} is no Kiln runner: its answer cannot be read")]
    Malformed {
        /// The runner's URL.
        url: String,
        /// The part that cannot be read.
        #[source]
        source: kiln_wire::Unreadable,
    },
    /// The answer is too long.
    #[error("the answer of {url} is longer than {} MiB, so it was not read to its end", crate::ANSWER_MAX_BYTES >> 20)]
    TooLong {
        /// The runner's URL.
        url: String,
    },
    /// The HTTP client could not be made.
    #[error("the connection to the runner could not be prepared")]
    Client(#[source] reqwest::Error),
    /// The caller's settings do not lead to a runner.
    #[error(transparent)]
    Setting(#[from] BadSetting),
}

/// A setting of the caller that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// The URL, with its fault.
    #[error("{0}")]
    Url(String),
    /// The token.
    #[error("the token is none: a token is one line of text")]
    Token,
    /// The authority of the runner's certificate.
    #[error("the runner's authority is no certificate in PEM")]
    Authority,
    /// The caller's own certificate.
    #[error("the caller's certificate and key are not a certificate and its key in PEM")]
    Identity,
    /// An argument of the caller, described in its own words.
    #[error("{0}")]
    Argument(String),
}

impl RunnerError {
    pub(crate) fn of(url: &str, source: reqwest::Error) -> Self {
        let url = url.to_owned();
        if source.is_timeout() {
            return Self::Slow { url };
        }
        let mut cause = source.source();
        while let Some(error) = cause {
            let io = error.downcast_ref::<std::io::Error>();
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
                return Self::Absent { url };
            }
            cause = error.source();
        }
        Self::Connection { url, source: source.without_url() }
    }

    /// Tells whether there was no answer. The request may have been carried out all the same.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !source.is_builder(),
            Self::Absent { .. } | Self::Slow { .. } => true,
            _ => false,
        }
    }

    /// Tells whether a repetition may succeed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } | Self::Stranger { status, .. } => *status >= 500,
            _ => self.is_unreachable(),
        }
    }
}
