//! Names of files, and how they stand in a line of text.

use std::path::Path;

/// The name of a repository's folder.
pub(super) const GIT: &str = ".git";

/// Returns a path as it stands in a line of text: line breaks and other control characters are written as escapes.
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
