//! Finds real files of other projects for tests: pipelines, pool files, test reports.
//!
//! They are not part of the repository. They are in `shared/corpus` beside the checkout, or in the folder that
//! `KILN_CORPUS` names. If that variable is set, they must be there. Otherwise a test without them prints a line that
//! `cargo xtask test` repeats at its end.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The variable that names their folder.
const VARIABLE: &str = "KILN_CORPUS";
/// Their usual folder, relative to this crate's.
const BESIDE: &str = "../../../shared/corpus";

/// Returns the folder of one kind of files, if it exists.
///
/// # Panics
/// When `KILN_CORPUS` is set and the folder does not exist.
#[must_use]
pub fn folder(kind: &str) -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    match find(named.as_deref(), &Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE), kind) {
        Ok(folder) => Some(folder),
        Err(Absent { folder, required: true }) => panic!("{VARIABLE} is set, and {} is not there", folder.display()),
        Err(Absent { folder, .. }) => {
            // Written directly, because the test harness hides the output of a test that passes.
            let _ = writeln!(std::io::stderr(), "not run: no real files of kind {kind} at {}", folder.display());
            None
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Absent {
    folder: PathBuf,
    required: bool,
}

fn find(named: Option<&Path>, beside: &Path, kind: &str) -> Result<PathBuf, Absent> {
    let folder = named.unwrap_or(beside).join(kind);
    if folder.is_dir() { Ok(folder) } else { Err(Absent { folder, required: named.is_some() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(named: Option<&str>, beside: &str, expected: Result<&str, bool>) {
        let found = find(named.map(Path::new), Path::new(beside), "src");
        assert_eq!(found.as_deref().map_err(|absent| absent.required), expected.map(Path::new));
    }

    #[test]
    fn what_is_named_must_be_there() {
        let here = env!("CARGO_MANIFEST_DIR");
        let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        check(None, here, Ok(src));
        check(Some(here), "/nowhere", Ok(src));
        check(None, "/nowhere", Err(false));
        check(Some("/nowhere"), here, Err(true));
    }
}
