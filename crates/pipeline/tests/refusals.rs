//! Real files, and why they are refused: each reason is looked up in the file again, by other means than the reader's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use kiln_document::{Diagnostic, Severity, Status};
use kiln_pipeline::plan::{Os, Plan};
use kiln_pipeline::{Loaded, Options, load};

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
        "step-type" => of_key("type") && ["Action", "GCSUpload", "AquaTrivy", "Owasp", "Bandit"].contains(&value),
        "stage-type" => of_key("type") && value != "CI",
        "template" => value == "template",
        "pipeline-type" => of_key("type") && value == "ssh",
        "platform" => of_key("os") && ["Windows", "MacOS", "windows"].contains(&value),
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

/// Files that Drone refuses too.
const BROKEN: [&str; 1] = ["4nte__mqtt-mirror.yml"];

/// Whether a file has a stage of a kind that Kiln has machines for, whatever their platform.
fn has_machines(folder: &str, name: &str, text: &str) -> bool {
    let machines = ["type: VM", "type: Cloud", "type: Docker\n", "type: KubernetesDirect"];
    // A deployment has an infrastructure too, which is where it deploys to.
    let stages = ["type: CI\n", "type: SecurityTests\n"];
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match folder {
        "drone" => !BROKEN.contains(&name),
        _ => has(&machines) && has(&stages),
    }
}

/// The findings of the stages that are for Linux, which `kiln validate --stage` shows of a file.
fn of_linux(loaded: &mut Loaded) -> Status {
    let linux = |plan: &Plan| -> Vec<String> {
        let stages = plan.stages.nodes.iter().map(|node| &node.item);
        stages.filter(|stage| stage.pool.os == Os::Linux).map(|stage| stage.id.clone()).collect()
    };
    let stages = loaded.plan.as_ref().map(linux).unwrap_or_default();
    if stages.is_empty() {
        return Status::Unsupported;
    }
    loaded.report.confine(&stages);
    loaded.report.status()
}

/// Of the real files with stages on machines, nine of ten have stages for Linux that can all be run.
#[test]
fn nine_of_ten_real_files_plan() {
    let (mut all, mut whole, mut linux, mut left) = (0, 0, 0, String::new());
    for folder in FOLDERS {
        for path in files(folder) {
            let bytes = std::fs::read(&path).expect("a corpus file can be read");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !has_machines(folder, &name, &String::from_utf8_lossy(&bytes)) {
                continue;
            }
            all += 1;
            let mut loaded = load(&name, &bytes, &Options::default());
            let is_whole = loaded.report.status() == Status::Ok;
            let reasons: BTreeSet<String> = loaded
                .report
                .diagnostics
                .iter()
                .filter(|found| found.severity > Severity::Warning)
                .map(|found| format!("    {}: {}", found.code, found.message))
                .collect();
            let is_linux = of_linux(&mut loaded) == Status::Ok;
            whole += usize::from(is_whole);
            linux += usize::from(is_linux);
            if !is_whole {
                let which = if is_linux { "beside its stages for Linux" } else { "not" };
                let _ = writeln!(left, "{folder}/{name}: {which}\n{}", Vec::from_iter(reasons).join("\n"));
            }
        }
    }
    if all == 0 {
        return;
    }
    println!(
        "{all} files with stages on machines; {whole} plan as a whole, {linux} with their stages for Linux\n{left}"
    );
    assert!(linux * 10 >= all * 9, "{linux} of {all} plan\n{left}");
    assert!(whole * 4 >= all * 3, "{whole} of {all} plan as a whole\n{left}");
}
