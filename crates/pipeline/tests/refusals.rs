//! Real files, and why they are refused: each reason is looked up in the file again, by other means than the reader's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use kiln_document::{Diagnostic, Severity};
use kiln_pipeline::{Options, load};

const FOLDERS: [&str; 2] = ["drone", "harness"];

fn files(folder: &str) -> Vec<PathBuf> {
    let Some(directory) = kiln_corpus::folder(folder) else { return Vec::new() };
    let entries = std::fs::read_dir(&directory).expect("the corpus can be listed");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml"));
    files.sort();
    files
}

/// Whether the place that a refusal points at says what the refusal says of it.
fn is_true(found: &Diagnostic, text: &str) -> bool {
    let span = &found.location.span;
    let unquoted = |text: &str| text.replace(['"', '\''], "");
    let line = unquoted(text[..span.start].lines().next_back().unwrap_or_default());
    let value = unquoted(&text[span.clone()]);
    let value = value.trim();
    let of_key = |key: &str| line.trim_end().ends_with(&format!("{key}:"));
    match found.code {
        // Only containers have images, and Kiln has none yet.
        "container-step" => of_key("image") && !value.is_empty(),
        "step-type" => of_key("type") && !["Run", "Background", "Plugin"].contains(&value),
        "stage-type" => of_key("type") && value != "CI",
        "template" => value == "template",
        "pipeline-type" => of_key("type") && value == "ssh",
        "platform" => {
            of_key("os") && ["Windows", "MacOS", "windows"].contains(&value)
                || of_key("arch") && ["arm", "ppc64le"].contains(&value)
        }
        // A list of commands, of which Drone takes no text.
        "wrong-type" => text[..span.start].trim_end().trim_end_matches('|').trim_end().ends_with("commands:"),
        _ => false,
    }
}

#[test]
fn each_reason_is_true_of_its_file() {
    // Files and findings by reason, and what became of the files.
    let mut reasons: BTreeMap<String, (BTreeSet<PathBuf>, usize)> = BTreeMap::new();
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for folder in FOLDERS {
        for path in files(folder) {
            let bytes = std::fs::read(&path).expect("a corpus file can be read");
            let text = String::from_utf8_lossy(&bytes);
            let report = load(&path.to_string_lossy(), &bytes, &Options::default()).report;
            *statuses.entry(format!("{folder}: {:?}", report.status())).or_default() += 1;
            for found in report.diagnostics.iter().filter(|found| found.severity > Severity::Warning) {
                assert!(is_true(found, &text), "{}:{}: {}", path.display(), found.location.line, found.message);
                let reason = reasons.entry(format!("{folder}: {:?} {}", found.severity, found.code)).or_default();
                reason.0.insert(path.clone());
                reason.1 += 1;
            }
        }
    }
    if reasons.is_empty() {
        return;
    }
    let mut out = String::new();
    for (status, files) in &statuses {
        let _ = writeln!(out, "{status}: {files} files");
    }
    for (reason, (files, findings)) in &reasons {
        let _ = writeln!(out, "{reason}: {} files, {findings} findings", files.len());
    }
    insta::assert_snapshot!(out);
}
