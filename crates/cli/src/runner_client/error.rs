//! How asking a runner fails.

use std::error::Error as _;

use crate::exit::Usage;

/// A failed question.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Nobody listens there.
    #[error("no runner answers at {url}; start one with `kiln runner --pool FILE`, or name another with --runner")]
    Absent {
        /// Where.
        url: String,
    },
    /// It listens and does not answer.
    #[error("the runner at {url} does not answer in time")]
    Slow {
        /// Where.
        url: String,
    },
    /// No connection, or it broke.
    #[error("the runner at {url} cannot be reached; {}", advice(url))]
    Connection {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It does not know us.
    #[error("{message}; give {url} its token with --token-file FILE or in the variable KILN_RUNNER_TOKEN")]
    Unauthorized {
        /// Where.
        url: String,
        /// What it said.
        message: String,
    },
    /// It will not, or cannot.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// An error that no runner of ours would answer with.
    #[error(
        "what answers at {url} (with status {status}) is no Kiln runner, or an older one; name another with --runner"
    )]
    Stranger {
        /// Where.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// An answer that no runner of ours would give.
    #[error("what answers at {url} is no Kiln runner: its answer cannot be read")]
    Malformed {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An answer that does not end.
    #[error("the answer of {url} is longer than 64 MiB, so it was not read to its end")]
    TooLong {
        /// Where.
        url: String,
    },
    /// The HTTP client could not be made.
    #[error("the connection to the runner could not be prepared")]
    Client(#[source] reqwest::Error),
    /// The caller's own mistake.
    #[error(transparent)]
    Usage(#[from] Usage),
}

/// What to look at. A runner that wants a certificate and sees none closes the connection without a word.
fn advice(url: &str) -> &'static str {
    if url.starts_with("https:") {
        "it may have a certificate of an authority that only --runner-ca can name, want a certificate of ours (--runner-cert and \
         --runner-key), or speak plain HTTP (http://)"
    } else {
        "it may speak HTTPS only (https://)"
    }
}

impl RunnerError {
    pub(super) fn of(url: &str, source: reqwest::Error) -> Self {
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

    /// Whether asking again may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Absent { .. } | Self::Slow { .. } | Self::Connection { .. } => true,
            Self::Refused { status, .. } | Self::Stranger { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// The error as the program reports it: what the caller can mend by asking otherwise is wrong usage.
    #[must_use]
    pub fn report(self) -> anyhow::Error {
        match self {
            Self::Usage(usage) => usage.into(),
            Self::Unauthorized { .. } | Self::Refused { status: 400..500, .. } => Usage(self.to_string()).into(),
            _ => self.into(),
        }
    }
}
