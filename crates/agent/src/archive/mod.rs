//! The workspace going in, and files coming back, as tar streams.
//!
//! Both ways work on a thread of their own that is joined to the connection by a short queue, so that neither a large
//! tree nor a slow peer costs memory, or holds up what supervises steps.

mod bridge;
mod pack;
mod place;
mod unpack;

pub(crate) use pack::pack;
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
