//! The workspace going in, files coming back, and caches both ways, as tar streams.
//!
//! Both ways work on a thread of their own that is joined to the connection by a short queue, so that neither a large
//! tree nor a slow peer costs memory, or holds up what supervises steps.

mod bridge;
mod changes;
mod format;
mod look;
mod pack;
mod place;
mod restore;
mod roots;
mod save;
mod unpack;
mod walk;

pub(crate) use look::look;
pub(crate) use pack::pack;
pub(crate) use restore::restore;
pub(crate) use save::{Work, save};
pub(crate) use unpack::unpack;

use std::path::PathBuf;

/// Why an archive was refused or not made.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The directory is not usable as a target.
    #[error("{what} must be an absolute path without `..`, not {path:?}")]
    Directory {
        /// Which one.
        what: &'static str,
        /// As given.
        path: PathBuf,
    },
    /// An entry of the archive points outside.
    #[error("the archive's entry {path:?} would lie outside of the directory; nothing after it was unpacked")]
    Outside {
        /// The entry.
        path: PathBuf,
    },
    /// A path of a cache is not usable.
    #[error("the path {path:?} cannot be used: {why}")]
    Path {
        /// As given.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read: {0}")]
    Read(std::io::Error),
    /// What was sent is no archive of a cache, or a part of one.
    #[error("the archive is broken: {0}")]
    Broken(std::io::Error),
    /// The archive did not come to its end.
    #[error("the archive did not come to its end: {0}")]
    Lost(std::io::Error),
    /// The system has no thread left.
    #[error("cannot start to work on the archive: {0}")]
    Thread(std::io::Error),
    /// The archive is broken, or the disk is full.
    #[error("cannot unpack into {path}: {source}")]
    Unpack {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
