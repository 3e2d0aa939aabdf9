//! What a run tells, written and read again.

use std::collections::BTreeSet;
use std::time::Duration;

use kiln_wire::run::{
    Cause, Event, LINE_MAX_BYTES, Phase, ReportProblem, RunReport, StageReport, Status, StepReport, TestCase,
    TestResult, Tests,
};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../../docs/run-events.md");

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn case(result: TestResult, duration: Option<Duration>) -> TestCase {
    let flaky = duration.is_none();
    TestCase { class: "C".into(), name: "n".into(), file: "f".into(), result, flaky, duration, message: "m".into() }
}

fn step(status: Status, cause: Option<Cause>) -> StepReport {
    let results = [TestResult::Passed, TestResult::Failed, TestResult::Error, TestResult::Skipped];
    let cases = results.into_iter().map(|result| case(result, Some(ms(7)))).chain([case(TestResult::Passed, None)]);
    let problem = |line| ReportProblem { file: "r.xml".into(), line, message: "m".into() };
    let tests = Tests {
        total: 9,
        passed: 3,
        failed: 2,
        errors: 2,
        skipped: 2,
        flaky: 1,
        duration: ms(14),
        cases: cases.collect(),
        cases_left_out: 4,
        slowest: vec![case(TestResult::Passed, Some(ms(7)))],
        problems: vec![problem(None), problem(Some(7))],
    };
    StepReport {
        id: "g.s_0".into(),
        name: "S".into(),
        status,
        cause,
        exit_code: cause.map(|_| -1),
        message: cause.map(|_| "why".into()),
        attempts: 2,
        duration: ms(1500),
        tests: cause.map(|_| tests),
    }
}

fn output(text: &str, continues: bool, goes_on: bool) -> Event {
    Event::Output { stage: "st".into(), step: "s".into(), text: text.into(), continues, goes_on }
}

/// Every event, with every status and cause in the reports.
fn every_event() -> Vec<Event> {
    let stage = || "st".to_owned();
    let name = || "n".to_owned();
    let causes = [
        Cause::ExitCode,
        Cause::Signal,
        Cause::OutOfMemory,
        Cause::Timeout,
        Cause::Infrastructure,
        Cause::Plan,
        Cause::Cancelled,
        Cause::Unknown,
    ];
    let statuses = [Status::Passed, Status::Failed, Status::Ignored, Status::Skipped, Status::Cancelled];
    let steps = causes.into_iter().map(|cause| step(Status::Failed, Some(cause)));
    let steps: Vec<_> = steps.chain(statuses.into_iter().map(|status| step(status, None))).collect();
    let report = |instance: Option<&str>| StageReport {
        id: stage(),
        name: name(),
        status: Status::Failed,
        message: instance.map(str::to_owned),
        instance: instance.map(str::to_owned),
        duration: ms(2),
        steps: steps.clone(),
    };
    let stages = vec![report(None), report(Some("i-1"))];
    let run = RunReport { name: name(), run_id: "r".into(), status: Status::Failed, duration: ms(3), stages };
    let agent = "unix:/run/a.sock".parse().expect("a reach");
    let mut all = vec![
        Event::RunStarted { name: name(), run_id: "r".into() },
        Event::StageStarted { stage: stage(), name: name() },
        Event::Waiting { stage: stage(), step: None, what: "an instance".into(), waited: ms(2000) },
        Event::Waiting { stage: stage(), step: Some("s".into()), what: "it".into(), waited: ms(3) },
        Event::InstanceReady {
            stage: stage(),
            instance: "i-1".into(),
            phases: vec![Phase { name: "setup".into(), duration: ms(1) }],
        },
        Event::StepStarted { stage: stage(), step: "s".into(), name: name(), attempt: 1 },
        output("ä\n\u{1b}[0m\0", false, false),
        output("xxx", true, true),
        Event::TestCases {
            stage: stage(),
            step: "s".into(),
            attempt: 2,
            cases: vec![case(TestResult::Failed, None), case(TestResult::Passed, Some(ms(1)))],
        },
        Event::StepRetry { stage: stage(), step: "s".into(), message: "m".into(), after: ms(10), wait: "10ms".into() },
        Event::InstanceKept {
            stage: stage(),
            instance: "i-1".into(),
            agent,
            workspace_dir: "/w".into(),
            duration: ms(60_000),
        },
        Event::Note { stage: stage(), message: "m".into() },
        Event::StageFinished { report: report(Some("i-1")) },
        Event::RunFinished { report: run },
        Event::Unknown,
    ];
    all.extend(steps.into_iter().map(|report| Event::StepFinished { stage: stage(), report }));
    all
}

/// A word for each kind. A new kind does not compile until it stands here, and then belongs into [`every_event`].
fn word(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "run_started",
        Event::StageStarted { .. } => "stage_started",
        Event::Waiting { .. } => "waiting",
        Event::InstanceReady { .. } => "instance_ready",
        Event::StepStarted { .. } => "step_started",
        Event::Output { .. } => "output",
        Event::TestCases { .. } => "test_cases",
        Event::StepRetry { .. } => "step_retry",
        Event::StepFinished { .. } => "step_finished",
        Event::InstanceKept { .. } => "instance_kept",
        Event::Note { .. } => "note",
        Event::StageFinished { .. } => "stage_finished",
        Event::RunFinished { .. } => "run_finished",
        Event::Unknown => "unknown",
    }
}

fn read(value: &Value) -> Event {
    serde_json::from_str(&value.to_string()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn written(event: &Event) -> Value {
    serde_json::to_value(event).unwrap_or_else(|error| panic!("{event:?}: {error}"))
}

/// Puts a field that nobody knows into every object.
fn with_more(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), with_more(value)));
            fields.chain([("a_later_field".to_owned(), json!({"x": [1, null]}))]).collect()
        }
        Value::Array(items) => items.iter().map(with_more).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_event_reads_back_the_same_also_with_fields_that_nobody_knows() {
    for event in every_event() {
        let value = written(&event);
        assert_eq!(value["event"], word(&event));
        assert_eq!(read(&value), event);
        assert_eq!(read(&with_more(&value)), event);
    }
}

#[test]
fn the_document_has_an_example_of_every_event_and_each_is_what_is_written() {
    let mut shown: Vec<&str> = Vec::new();
    for line in DOCUMENT.lines().filter(|line| line.starts_with("{\"event\"")) {
        let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(serde_json::to_string(&event).expect("JSON"), line);
        shown.push(word(&event));
    }
    for event in every_event() {
        assert!(event == Event::Unknown || shown.contains(&word(&event)), "no example of {}", word(&event));
    }
}

/// The names of all fields of a value.
fn fields(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            fields(value, names);
        }),
        Value::Array(items) => items.iter().for_each(|item| fields(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_document_has_every_field_that_is_written() {
    let mut names = BTreeSet::new();
    every_event().iter().for_each(|event| fields(&written(event), &mut names));
    let is_told = |name: &String| DOCUMENT.contains(&format!("\"{name}\":")) || DOCUMENT.contains(&format!("`{name}`"));
    assert_eq!(names.into_iter().filter(|name| !is_told(name)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_document_has_the_programs_limits() {
    assert!(DOCUMENT.contains(&format!("A line of more than {LINE_MAX_BYTES} bytes is cut")));
}

#[test]
fn what_a_newer_kiln_tells_is_read_as_far_as_it_is_known() {
    assert_eq!(read(&json!({"event": "moon_rose", "stage": {"deep": []}})), Event::Unknown);
    let step = json!({"event": "step_finished", "stage": "a", "id": "b", "name": "B", "status": "failed", "cause": "eclipse",
        "attempts": 1, "duration_ms": 4});
    let Event::StepFinished { report, .. } = read(&step) else { panic!("{step}") };
    assert_eq!(report.cause, Some(Cause::Unknown));
    // A status that nobody knows is no pass.
    let mut other = step;
    other["status"] = json!("splendid");
    let error = serde_json::from_value::<Event>(other).expect_err("no such status").to_string();
    assert!(error.contains("splendid"), "{error}");
}

#[test]
fn durations_are_whole_milliseconds_whatever_their_size() {
    let check = |duration: Duration, expect: u64| {
        let phase = Phase { name: "p".into(), duration };
        assert_eq!(serde_json::to_value(&phase).expect("JSON"), json!({"name": "p", "duration_ms": expect}));
    };
    check(Duration::ZERO, 0);
    check(Duration::from_micros(1999), 1);
    check(Duration::MAX, u64::MAX);
    let greatest: Phase = serde_json::from_value(json!({"name": "p", "duration_ms": u64::MAX})).expect("a phase");
    assert_eq!(greatest.duration, ms(u64::MAX));
}
