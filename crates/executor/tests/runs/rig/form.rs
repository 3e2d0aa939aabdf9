//! What holds for the events of every run.

use std::collections::{BTreeMap, BTreeSet};

use kiln_wire::run::{Event, RunReport, StageReport, StepReport};

/// What was told of a stage so far.
#[derive(Default)]
struct Stage {
    started: bool,
    ready: bool,
    /// How often each step was begun.
    begun: BTreeMap<String, u32>,
    finished: Vec<StepReport>,
    /// Steps that may begin once more, because their group runs again.
    again: BTreeSet<String>,
    report: Option<StageReport>,
}

/// Asserts that the events have an order that a reader can rely on, that they can be read back, and that the reports say the same.
#[track_caller]
pub fn assert_well_formed(events: &[Event], report: &RunReport) {
    assert!(matches!(events.first(), Some(Event::RunStarted { run_id, .. }) if *run_id == report.run_id));
    assert_eq!(events.last(), Some(&Event::RunFinished { report: report.clone() }));
    let mut stages: BTreeMap<&str, Stage> = BTreeMap::new();
    for event in events {
        let json = serde_json::to_value(event).expect("JSON");
        let read: Event = serde_json::from_value(json.clone()).expect("an event");
        assert_eq!(serde_json::to_value(read).expect("JSON"), json);
        if let Some(id) = stage_of(event) {
            let stage = stages.entry(id).or_default();
            assert!(stage.report.is_none(), "told after the end of its stage: {event:?}");
            take(stage, event);
        }
    }
    let told: Vec<&StageReport> = stages.values().filter_map(|stage| stage.report.as_ref()).collect();
    assert_eq!(told.len(), stages.len(), "a stage has no end");
    let is_told = |stage: &StageReport| told.iter().any(|t| (&t.id, t.status) == (&stage.id, stage.status));
    assert!(report.stages.iter().all(is_told) && report.stages.len() == told.len(), "{:?}", report.stages);
}

fn stage_of(event: &Event) -> Option<&str> {
    match event {
        Event::RunStarted { .. } | Event::RunFinished { .. } | Event::Unknown => None,
        Event::StageFinished { report } => Some(&report.id),
        Event::StageStarted { stage, .. }
        | Event::Waiting { stage, .. }
        | Event::InstanceReady { stage, .. }
        | Event::StepStarted { stage, .. }
        | Event::Output { stage, .. }
        | Event::TestCases { stage, .. }
        | Event::StepRetry { stage, .. }
        | Event::StepFinished { stage, .. }
        | Event::InstanceKept { stage, .. }
        | Event::Note { stage, .. } => Some(stage),
    }
}

#[track_caller]
fn take(stage: &mut Stage, event: &Event) {
    match event {
        Event::StageStarted { .. } => assert!(!std::mem::replace(&mut stage.started, true), "begun twice: {event:?}"),
        Event::Waiting { step, .. } => {
            let is_begun = step.as_ref().is_none_or(|step| stage.begun.contains_key(step));
            assert!(stage.started && is_begun, "out of turn: {event:?}");
        }
        Event::InstanceReady { .. } => {
            assert!(stage.started && !std::mem::replace(&mut stage.ready, true), "out of turn: {event:?}");
        }
        Event::StepStarted { step, attempt, .. } => {
            begins_again(stage, step);
            let begun = stage.begun.entry(step.clone()).or_default();
            *begun += 1;
            assert!(stage.ready && begun == attempt && !is_finished(stage, step), "out of turn: {event:?}");
        }
        Event::Output { step, text, .. } => {
            assert!(stage.begun.contains_key(step) && !text.is_empty(), "out of turn: {event:?}");
        }
        Event::TestCases { step, attempt, cases, .. } => {
            let begun = stage.begun.get(step).copied();
            assert!(
                begun == Some(*attempt) && !cases.is_empty() && !is_finished(stage, step),
                "out of turn: {event:?}"
            );
        }
        Event::StepRetry { step, after, wait, .. } => {
            assert_eq!(after.is_zero(), wait.is_empty(), "{event:?}");
            let within = |id: &str| id.strip_prefix(step.as_str()).is_some_and(|rest| rest.starts_with('.'));
            let group: Vec<String> =
                stage.finished.iter().map(|report| report.id.clone()).filter(|id| within(id)).collect();
            let is_step = stage.begun.contains_key(step) && !is_finished(stage, step);
            assert!(is_step || !group.is_empty(), "out of turn: {event:?}");
            stage.again.extend(group);
        }
        Event::StepFinished { report, .. } => {
            begins_again(stage, &report.id);
            let begun = stage.begun.get(&report.id).copied().unwrap_or_default();
            assert!(begun == report.attempts && !is_finished(stage, &report.id), "out of turn: {event:?}");
            stage.finished.push(report.clone());
        }
        Event::StageFinished { report } => {
            // The texts may differ: what a later step makes secret is masked in the report of its stage.
            let ends =
                |steps: &[StepReport]| steps.iter().map(|s| (s.id.clone(), s.status, s.attempts)).collect::<Vec<_>>();
            assert_eq!(ends(&report.steps), ends(&stage.finished));
            assert!(stage.begun.keys().all(|step| is_finished(stage, step)), "a step has no end: {event:?}");
            assert_eq!(report.duration.is_zero(), !stage.started, "{event:?}");
            stage.report = Some(report.clone());
        }
        Event::RunStarted { .. }
        | Event::InstanceKept { .. }
        | Event::Note { .. }
        | Event::RunFinished { .. }
        | Event::Unknown => {}
    }
}

fn is_finished(stage: &Stage, step: &str) -> bool {
    stage.finished.iter().any(|report| report.id == step)
}

fn begins_again(stage: &mut Stage, step: &str) {
    if stage.again.remove(step) {
        stage.finished.retain(|report| report.id != step);
    }
}
