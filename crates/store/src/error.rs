//! Errors of opening a database, with advice.

use std::path::PathBuf;

use kiln_engine::world::StoreError;

/// A database that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is malformed. It is not repeated in the message, because it may hold a password.
    #[error("the URL of the database cannot be used: {why}. {forms}")]
    Url {
        /// The fault.
        why: String,
        /// The forms that a URL may have.
        forms: &'static str,
    },
    /// The folder of the file does not exist.
    #[error("cannot create the database {}: there is no folder {}; create it, or correct the path", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The database does not open or answer.
    #[error("cannot open the database ({place}). {advice}")]
    Connect {
        /// The database's place.
        place: String,
        /// The database's error.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Advice for the operator.
        advice: &'static str,
    },
    /// A newer program wrote the database.
    #[error(
        "the database ({place}) has schema version {found}, and this program knows versions up to {known}; start the newer \
         program that wrote it, or restore a backup from before that"
    )]
    Newer {
        /// The database's place.
        place: String,
        /// The version of the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The schema cannot be brought up to date.
    #[error(
        "cannot bring the schema of the database ({place}) up to date; nothing was changed by the step that failed"
    )]
    Schema {
        /// The database's place.
        place: String,
        /// The failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database opened, and failed afterwards.
    #[error(transparent)]
    Store(#[from] StoreError),
}
