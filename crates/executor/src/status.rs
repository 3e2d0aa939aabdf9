//! What the status of a step or a stage means for others.

use kiln_pipeline::scope;
use kiln_wire::run::Status;

use crate::walk::End;

/// Returns the word that expressions have for it.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Passed => scope::SUCCEEDED,
        Status::Failed => scope::FAILED,
        Status::Ignored => scope::IGNORE_FAILED,
        Status::Skipped => scope::SKIPPED,
        Status::Cancelled => scope::ABORTED,
    }
}

/// Returns what it means for the items that need the one that ended so.
pub(crate) fn end(status: Status) -> End {
    match status {
        Status::Passed | Status::Skipped | Status::Ignored => End::Clear,
        Status::Failed | Status::Cancelled => End::Failed,
    }
}
