//! The files that run, and those that do not.

mod drone;
mod harness;
mod left;

use crate::case::Case;
use crate::left::Left;

/// Returns all that run.
pub fn all() -> Vec<Case> {
    [drone::cases(), harness::cases()].concat()
}

/// Returns all that do not.
pub fn left() -> Vec<Left> {
    left::files()
}
