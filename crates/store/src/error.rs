//! Why a database cannot be opened, and what to do.

use std::path::PathBuf;

use kiln_engine::world::StoreError;

/// A database that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is malformed. It is not repeated in the message, because it may hold a password.
    #[error("the URL of the database cannot be used: {why}. {forms}")]
    Url {
        /// Why.
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
        /// Where.
        place: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to look at.
        advice: &'static str,
    },
    /// A newer program wrote the database.
    #[error(
        "the database ({place}) has schema version {found}, and this program knows versions up to {known}; start the newer \
         program that wrote it, or restore a backup from before that"
    )]
    Newer {
        /// Where.
        place: String,
        /// The version it has.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// The schema cannot be brought up to date.
    #[error(
        "cannot bring the schema of the database ({place}) up to date; nothing was changed by the step that failed"
    )]
    Schema {
        /// Where.
        place: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database opened, and then failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
