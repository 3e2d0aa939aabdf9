//! How work with a store fails.

use std::io;

/// Why a store did not do something. It says all of it, and has no source that would say it again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Reason(pub(crate) object_store::Error);

/// A store did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused, or could not be reached.
    #[error("the cache store {store} could not {what}")]
    Store {
        /// The store, as people give it.
        store: String,
        /// What was asked of it.
        what: &'static str,
        /// Why.
        source: Reason,
    },
    /// The folder of the store cannot be used.
    #[error("the cache folder {store} cannot be used")]
    Folder {
        /// The folder.
        store: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive is larger than the store may be.
    #[error("it has more than {} MiB, which is the limit of the cache store", limit_bytes >> 20)]
    TooLarge {
        /// Most bytes of an archive.
        limit_bytes: u64,
    },
}

impl Error {
    /// Returns whether there is nothing of the name that was asked for.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Store { source: Reason(object_store::Error::NotFound { .. }), .. })
    }
}
