//! Real Drone files: each is ok, or unsupported with the construct that Kiln does not run. The expectation is one
//! snapshot, so that a change of mind about any file shows in review.

use std::fmt::Write as _;
use std::path::PathBuf;

use kiln_document::{Severity, Status};
use kiln_pipeline::{Options, load};

/// Files that Drone refuses too.
const BROKEN: [&str; 1] = [
    // Text in the place of a list of commands.
    "4nte__mqtt-mirror.yml",
];

fn files() -> Vec<PathBuf> {
    let Some(directory) = kiln_corpus::folder("drone") else { return Vec::new() };
    let entries = std::fs::read_dir(&directory).expect("the corpus can be listed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml"));
    files.sort();
    files
}

#[test]
fn every_file_is_ok_or_unsupported() {
    let files = files();
    let mut out = String::new();
    for path in &files {
        let bytes = std::fs::read(path).expect("a corpus file can be read");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let loaded = load(&name, &bytes, &Options::default());
        if !BROKEN.contains(&&*name) {
            assert_ne!(loaded.report.status(), Status::Invalid, "{}", loaded.report.text(false));
            assert!(loaded.plan.is_some(), "{name} has a plan");
        }
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
    if !files.is_empty() {
        insta::assert_snapshot!(out);
    }
}
