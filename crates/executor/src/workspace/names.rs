//! Names of files, and how they stand in a line of text.

use std::path::Path;

/// The name of a repository's folder.
pub(super) const GIT: &str = ".git";

/// Returns a path for use in a line of text, with line breaks and other control characters as escapes.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().fold(String::new(), |mut text, c| {
        if c.is_control() {
            text.extend(c.escape_default())
        } else {
            text.push(c)
        }
        text
    })
}
