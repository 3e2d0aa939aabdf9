//! A mistake, and the suite that must notice it.

use super::suite::Suite;

/// One mistake.
pub struct Mutant {
    /// The fault.
    pub name: &'static str,
    /// The suite that must notice it.
    pub suite: Suite,
    /// File below `crates`, text, and its replacement. The text must occur exactly once in its file, so that a change
    /// that moves it is noticed.
    pub edits: &'static [(&'static str, &'static str, &'static str)],
}
