//! Reads the files of the command line; `-` is standard input.

use std::io::{self, Read as _};
use std::path::Path;

/// The name of standard input.
const STANDARD_INPUT: &str = "-";

/// Returns whether a name means standard input.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// Returns the name of a file in messages.
pub fn name(path: &Path) -> String {
    if is_standard(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// Reads a file up to one byte more than the limit. The reader of the bytes sees from that byte that the file is too
/// long, and reports it with its own limit.
pub fn read(path: &Path, limit_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = limit_bytes as u64 + 1;
    match is_standard(path) {
        true => io::stdin().lock().take(limit).read_to_end(&mut bytes)?,
        false => std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// Refuses more than one name for standard input, because it can be read only once.
pub fn at_most_one<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), crate::exit::Usage> {
    match paths.into_iter().filter(|path| is_standard(path)).count() {
        0 | 1 => Ok(()),
        _ => Err(crate::exit::Usage("`-` stands for standard input, which can be read once".to_owned())),
    }
}
