//! Carries out one file and compares what came of it with what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kiln_executor::{Options, Run};
use kiln_mask::Masked;
use kiln_pipeline::facts::Facts;
use kiln_wire::run::{Event, RunReport, Status};
use tokio_util::sync::CancellationToken;

use crate::case::Case;
use crate::fleet::OneMachine;

/// No file takes longer.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What a file did.
pub struct Told {
    /// Lines of what differs from what is expected.
    pub differs: Vec<String>,
    /// Everything that it printed and how its parts ended.
    pub transcript: String,
    /// How long it took.
    pub took: Duration,
}

/// Carries a case out. The sources are made in `scratch`.
pub async fn run(case: &Case, file: &Path, scratch: &Path) -> Result<Told> {
    case.tree.write(scratch, &case.files)?;
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let inputs = case.given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = kiln_pipeline::Options { inputs: inputs.collect(), ..Default::default() };
    let mut loaded = kiln_pipeline::load(case.file, &bytes, &options);
    if !case.stages.is_empty() {
        let stages: Vec<String> = case.stages.iter().map(|stage| (*stage).to_owned()).collect();
        loaded.report.confine(&stages);
    }
    let begun = Instant::now();
    let Some(plan) = loaded.plan.as_ref().filter(|_| loaded.report.status() == kiln_document::Status::Ok) else {
        let report = loaded.report.text(false);
        return Ok(Told { differs: vec!["the file is refused".to_owned()], transcript: report, took: begun.elapsed() });
    };
    let told = Mutex::new(Vec::new());
    let sink = |event: Masked<Event>| told.lock().expect("no panic").push(event.into_inner());
    let (fleet, images, cancel) = (OneMachine::new(), |_: &_| String::new(), CancellationToken::new());
    let options = given(case, scratch);
    let carried_out = Run::new(plan, &options, &fleet, &images, &sink, &cancel).carry_out();
    let report = tokio::time::timeout(PATIENCE, carried_out).await;
    let events = told.into_inner().expect("no panic");
    let output = output(&events);
    let mut differs = Vec::new();
    match report {
        Ok(report) => compare(case.expect, &ends(&report.into_inner(), &case.stages), &output, &mut differs),
        Err(_) => differs.push(format!("it did not end within {} s", PATIENCE.as_secs())),
    }
    Ok(Told { differs, transcript: transcript(&events, &output), took: begun.elapsed() })
}

fn given(case: &Case, workspace: &Path) -> Options {
    let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let usual = [
        ("event", "push"),
        ("branch", "master"),
        ("ref", "refs/heads/master"),
        ("target", "master"),
        ("commit", "8e0c1b1f9d1f4f0b8a6f6c0a5d0e9c3b2a1f0e9d"),
        ("author", crate::tree::AUTHOR),
        ("repo", "ada/hello"),
        ("build_number", "7"),
        ("message", "A tree"),
    ];
    let mut known: BTreeMap<&str, &str> = usual.into_iter().collect();
    known.extend(case.facts.iter().copied());
    let facts = known.into_iter().fold(Facts::default(), |facts, (name, value)| facts.with(name, value));
    Options {
        workspace: workspace.to_owned(),
        secrets: text(&case.secrets),
        given: text(&case.given),
        stages: case.stages.iter().map(|stage| (*stage).to_owned()).collect(),
        facts,
        ..Options::default()
    }
}

/// How every step ended, and each stage that has none, of the stages that were asked for; of all where none were.
fn ends(report: &RunReport, asked: &[&str]) -> BTreeSet<String> {
    let word = |status: Status| format!("{status:?}").to_lowercase();
    let mut ends = BTreeSet::new();
    for stage in report.stages.iter().filter(|stage| asked.is_empty() || asked.contains(&stage.id.as_str())) {
        if stage.steps.is_empty() {
            ends.insert(format!("{} {}", stage.id, word(stage.status)));
        }
        ends.extend(stage.steps.iter().map(|step| format!("{}.{} {}", stage.id, step.id, word(step.status))));
    }
    ends
}

/// What each step printed, by `stage.step`.
fn output(events: &[Event]) -> BTreeMap<String, String> {
    let mut printed: BTreeMap<String, String> = BTreeMap::new();
    for event in events {
        if let Event::Output { stage, step, text, .. } = event {
            printed.entry(format!("{stage}.{step}")).or_default().push_str(text);
        }
    }
    printed
}

/// Compares the ends of all steps, and looks for what they are to print.
fn compare(expect: &str, ends: &BTreeSet<String>, output: &BTreeMap<String, String>, differs: &mut Vec<String>) {
    let lines = || expect.lines().map(str::trim).filter(|line| !line.is_empty());
    let wanted: BTreeSet<String> = lines().filter(|line| !line.contains(" | ")).map(str::to_owned).collect();
    differs.extend(wanted.difference(ends).map(|end| format!("expected: {end}")));
    differs.extend(ends.difference(&wanted).map(|end| format!("not expected: {end}")));
    for (step, text) in lines().filter_map(|line| line.split_once(" | ")) {
        if !output.get(step).is_some_and(|printed| printed.contains(text)) {
            differs.push(format!("{step} did not print: {text}"));
        }
    }
}

fn transcript(events: &[Event], output: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for (step, text) in output {
        out.extend(text.lines().map(|line| format!("{step} | {line}\n")));
    }
    for event in events {
        match event {
            Event::StepFinished { stage, report } => {
                let why = report.message.as_deref().unwrap_or_default();
                out.push_str(&format!("{stage}.{} {:?} {why}\n", report.id, report.status));
            }
            Event::StageFinished { report } => {
                out.push_str(&format!(
                    "{} {:?} {}\n",
                    report.id,
                    report.status,
                    report.message.as_deref().unwrap_or_default()
                ));
            }
            Event::Note { stage, message } => out.push_str(&format!("{stage} note: {message}\n")),
            Event::RunStarted { .. }
            | Event::StageStarted { .. }
            | Event::Waiting { .. }
            | Event::InstanceReady { .. }
            | Event::StepStarted { .. }
            | Event::Output { .. }
            | Event::TestCases { .. }
            | Event::StepRetry { .. }
            | Event::InstanceKept { .. }
            | Event::RunFinished { .. }
            | Event::Unknown => {}
        }
    }
    out
}
