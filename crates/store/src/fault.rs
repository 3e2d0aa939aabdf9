//! Failures of the database, before they name the call that failed.

use kiln_engine::world::StoreError;

/// A failed step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A statement failed before the commit, so nothing was changed.
    #[error("{0}")]
    Statement(#[from] sqlx::Error),
    /// The commit failed, so it is not known whether the change was made.
    #[error("{0}; the change may have been made")]
    Commit(sqlx::Error),
    /// The commit was made, but may not survive a power cut.
    #[error("{0}")]
    Sync(String),
    /// The disk is full, or its remaining room is reserved for ends. Nothing was changed.
    #[error("the disk of the database is full; free some room")]
    Full,
    /// A row is no longer as the write expects it. Nothing was changed.
    #[error("the row was changed at the same time")]
    Stale,
    /// A row holds a value that this program does not know.
    #[error(
        "{table} {id} has the {column} {found:?}, which this program does not know; was the database changed by hand, or by \
         a newer version?"
    )]
    Row {
        /// `instance` or `stage`.
        table: &'static str,
        /// Its id.
        id: String,
        /// The column.
        column: &'static str,
        /// The value.
        found: String,
    },
}

/// Codes for a full disk: SQLite's `FULL` and `IOERR_SHMSIZE`, PostgreSQL's `disk_full`.
const FULL: [&str; 3] = ["13", "4874", "53100"];

impl Fault {
    /// Creates the fault of a failed commit. A commit that found the disk full was certainly not made.
    pub(crate) fn committing(error: sqlx::Error) -> Self {
        if Self::tells_full(&error) { Self::Statement(error) } else { Self::Commit(error) }
    }

    /// Tells whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Statement(error) => Self::tells_full(error),
            _ => false,
        }
    }

    fn tells_full(error: &sqlx::Error) -> bool {
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| FULL.contains(&&*code))
    }

    /// Creates the error for a caller that was about to do `what`.
    pub(crate) fn during(self, what: &str) -> StoreError {
        let ambiguous = matches!(self, Self::Commit(_) | Self::Sync(_));
        let advice = match &self {
            Self::Statement(sqlx::Error::PoolTimedOut) => {
                ". All connections are busy or the database cannot be reached"
            }
            _ => "",
        };
        StoreError { message: format!("cannot {what}: {self}{advice}"), ambiguous }
    }

    /// Repeats the fault for each of the changes that were written together.
    pub(crate) fn for_all<T>(self, count: usize) -> Vec<Result<T, Self>> {
        let again = |fault: &Self| match fault {
            full if full.is_full() => Self::Full,
            Self::Statement(error) => Self::Statement(sqlx::Error::Protocol(error.to_string())),
            Self::Commit(error) => Self::Commit(sqlx::Error::Protocol(error.to_string())),
            other => Self::Sync(other.to_string()),
        };
        let others: Vec<Self> = (1..count).map(|_| again(&self)).collect();
        [self].into_iter().chain(others).map(Err).collect()
    }

    /// Tells whether the database, or a row that is not as expected, refused one of several writes. Nothing was changed
    /// then.
    pub(crate) fn is_refusal(&self) -> bool {
        let by_database = matches!(self, Self::Statement(sqlx::Error::Database(_)));
        self.is_stale() || by_database && !self.is_full()
    }

    /// Tells whether a row was changed at the same time.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Stale)
    }

    /// Tells whether a concurrent transaction made the same claim.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Statement(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}
