//! Why a step cannot run on the host.

use std::path::PathBuf;

use crate::os::account::UnknownUser;

/// Why a step could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No program was given.
    #[error("step entrypoint cannot be empty")]
    NoEntrypoint,
    /// The request asks for what this agent does not do.
    #[error("{what} are not supported by this agent yet")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// A file of the step cannot be made.
    #[error("cannot make {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The user is not known.
    #[error(transparent)]
    NoUser(#[from] UnknownUser),
    /// The program was not found.
    #[error("exec: {program:?}: executable file not found in $PATH")]
    NoProgram {
        /// As given.
        program: String,
    },
    /// The directory to start in cannot be used.
    #[error("cannot start in the working directory {path}: {source}")]
    WorkingDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An argument or a variable is longer than the kernel takes.
    #[error("cannot start {program:?}: an argument or variable is longer than 128 KiB; hand it over in a file")]
    TooLong {
        /// The program.
        program: String,
    },
    /// The process could not be started.
    #[error("cannot start {program:?}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
}
