//! Real pipeline files: each is ok, or unsupported with the construct that Kiln does not run. The expectation is
//! one snapshot, so that a change of mind about any file shows in review.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kiln_document::{Severity, Status};
use kiln_pipeline::{Options, load};

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the corpus can be listed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml"));
    files.sort();
    files
}

/// Status and findings of each file, notes left out; equal findings of a file are counted.
fn summary(directory: &Path) -> String {
    let mut out = String::new();
    for path in files(directory) {
        let bytes = std::fs::read(&path).expect("a corpus file can be read");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let loaded = load(&name, &bytes, &Options::default());
        let _ = writeln!(out, "{name}: {:?}", loaded.report.status());
        let mut counted: Vec<(String, usize)> = Vec::new();
        for found in loaded.report.diagnostics.iter().filter(|found| found.severity > Severity::Note) {
            let line = format!("{:?} {}: {}", found.severity, found.code, found.message);
            match counted.iter_mut().find(|(other, _)| *other == line) {
                Some((_, count)) => *count += 1,
                None => counted.push((line, 1)),
            }
        }
        for (line, count) in counted {
            let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
            let _ = writeln!(out, "    {line}{times}");
        }
    }
    out
}

#[test]
fn harness_files() {
    if let Some(directory) = kiln_corpus::folder("harness") {
        insta::assert_snapshot!(summary(&directory));
    }
}

#[test]
fn no_harness_file_is_invalid() {
    let Some(directory) = kiln_corpus::folder("harness") else { return };
    for path in files(&directory) {
        let bytes = std::fs::read(&path).expect("a corpus file can be read");
        let loaded = load(&path.to_string_lossy(), &bytes, &Options::default());
        assert_ne!(loaded.report.status(), Status::Invalid, "{}", loaded.report.text(false));
        // Whatever is not run has been named: a file without a plan is never "ok".
        assert!(loaded.report.status() == Status::Unsupported || loaded.plan.is_some(), "{}", path.display());
    }
}
