//! Printing that survives the end of its reader: `kiln ... | head` ends the reading, not the work.

use std::fmt::Display;
use std::io::Write as _;

/// Prints one line on standard output, without colours where they are not wanted.
pub fn line(text: impl Display) {
    // The only possible failure is a reader that went away, and it needs no more.
    let _reader_gone = writeln!(anstream::stdout().lock(), "{text}");
}

/// Prints text that contains its own newlines.
pub fn text(text: impl Display) {
    let _reader_gone = write!(anstream::stdout().lock(), "{text}");
}
