//! Where tests find real files of other projects: pipelines, pool files, test reports.
//!
//! They are not part of the repository. They lie in `shared/corpus` beside the checkout, or where `KILN_CORPUS` says. Where that is
//! set they must be there; else a test that has none says so, in a line that `cargo xtask test` repeats at its end.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Names the folder that holds them.
const VARIABLE: &str = "KILN_CORPUS";
/// From this crate's own folder.
const BESIDE: &str = "../../../shared/corpus";

/// The folder of one kind of files, if they are there.
///
/// # Panics
/// When `KILN_CORPUS` is set and they are not there.
#[must_use]
pub fn folder(kind: &str) -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    match find(named.as_deref(), &Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE), kind) {
        Ok(folder) => Some(folder),
        Err(Absent { folder, required: true }) => panic!("{VARIABLE} is set, and {} is not there", folder.display()),
        Err(Absent { folder, .. }) => {
            // Past the harness, which shows nothing of a test that passes.
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
