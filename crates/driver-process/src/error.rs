//! Errors of calls, and their classes.

use std::io;
use std::path::{Path, PathBuf};

use kiln_driver::{DriverError, ErrorClass};

/// An instance that cannot be made, listed or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no image `{asked}`: the only one is `{known}`")]
    NoImage { asked: String, known: &'static str },
    #[error("instance {0} has ended; an instance never runs twice")]
    Ended(String),
    #[error("there are {0} instances, which is the limit of this root")]
    Full(usize),
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent of {id} did not come up: {why}; its log ends with:\n{log}")]
    NotUp { id: String, why: &'static str, log: String },
    #[error("processes {0:?} outlive SIGKILL; look at them in /proc")]
    Immortal(Vec<u32>),
    #[error("no certificate for the agents can be made")]
    Tls(#[from] kiln_tls::TlsError),
    #[error("the work broke off: {0}")]
    Broken(String),
}

impl ProcessError {
    /// Returns a function for `map_err` that adds the action and the path to an I/O error.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    /// Returns the class, which decides what the engine does: a launch that is invalid or finds nothing is not repeated
    /// as it is, one without capacity waits, and a transient failure is repeated.
    fn class(&self) -> ErrorClass {
        match self {
            Self::Invalid(_) | Self::Ended(_) | Self::Tls(_) => ErrorClass::Invalid,
            Self::NoImage { .. } => ErrorClass::NotFound,
            Self::Full(_) => ErrorClass::Capacity,
            Self::Io { .. } | Self::NotUp { .. } | Self::Immortal(_) | Self::Broken(_) => ErrorClass::Transient,
        }
    }
}

impl From<ProcessError> for DriverError {
    fn from(error: ProcessError) -> Self {
        let source = std::error::Error::source(&error).map(|cause| cause.to_string().into());
        Self { class: error.class(), message: error.to_string(), source }
    }
}
