//! Running a step on the host: spawn, supervise, end the whole tree, read what it hands over.

mod cgroup;
mod command;
mod files;
mod oom;
pub mod orphans;
mod outputs;
mod pump;
mod result;
mod run;
mod script;
mod terminal;
pub mod tree;
mod unix;
mod users;

pub use cgroup::Parent as CgroupParent;
pub(crate) use files::make as make_file;
pub use run::{Job, run};
pub use terminal::Keyboard;

use std::path::PathBuf;

/// Why a step could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
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
    #[error("user {user:?} is not in /etc/passwd; give a numeric user id or an existing name")]
    NoUser {
        /// As given.
        user: String,
    },
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
