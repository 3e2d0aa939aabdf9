//! Reading the files that the command line names; `-` is standard input.

use std::io::{self, Read as _};
use std::path::Path;

/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Whether a name stands for standard input.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// What messages call a file.
pub fn name(path: &Path) -> String {
    if is_standard(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// Reads a file up to one byte more than is allowed, which tells whoever reads it that there is more; it says so with its own limit.
pub fn read(path: &Path, limit_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = limit_bytes as u64 + 1;
    match is_standard(path) {
        true => io::stdin().lock().take(limit).read_to_end(&mut bytes)?,
        false => std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// Refuses names of which more than one stands for standard input: it can be read once.
pub fn at_most_one<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), crate::exit::Usage> {
    match paths.into_iter().filter(|path| is_standard(path)).count() {
        0 | 1 => Ok(()),
        _ => Err(crate::exit::Usage("`-` stands for standard input, which can be read once".to_owned())),
    }
}
