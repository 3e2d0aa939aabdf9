//! A mistake, and what is to notice it.

use super::suite::Suite;

/// One mistake.
pub struct Mutant {
    /// What is wrong then.
    pub name: &'static str,
    /// What is to notice.
    pub suite: Suite,
    /// File below `crates`, text, and what replaces it. The text must stand exactly once in its file, so that a change that moves
    /// it is told.
    pub edits: &'static [(&'static str, &'static str, &'static str)],
}
