//! Runs on agents in this process: a pipeline in, a transcript of its events out.
#![allow(dead_code)] // no test needs all of it

mod fleet;
mod form;
mod transcript;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use kiln_executor::wait::Telling;
use kiln_executor::{Options, Patience, Run};
use kiln_mask::Masked;
use kiln_pipeline::plan::{Graph, Limit, Plan, StepNode};
use kiln_wire::run::{Event, RunReport};
use tokio_util::sync::CancellationToken;

use fleet::Agents;
use transcript::Transcript;

/// No run takes longer, unless its test says so.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that happens while a run goes on. The names are those of stages.
pub enum Act {
    /// Somebody ends the run.
    Cancel,
    /// The agent crashes.
    Kill(&'static str),
    /// The agent crashes and is started again.
    Restart(&'static str),
    /// The connections to the agent break; new ones can be made.
    Cut(&'static str),
    /// The connections break, and so many of the next ones.
    Refuse(&'static str, u64),
    /// The agent answers no more, and its connections stay open.
    Freeze(&'static str),
    /// The agent cannot be reached any more.
    Close(&'static str),
    /// The instance ends by itself, with this evidence.
    End(&'static str, &'static str),
    /// A stage that waits for its instance gets it.
    LetGo(&'static str),
    /// A file appears, which a step waits for.
    Touch(&'static str),
}

/// A pipeline, what is given with it, and what happens to it.
pub struct Scenario {
    plan: Plan,
    pub options: Options,
    pub agents: Agents,
    /// The run does not take longer.
    pub within: Duration,
    acts: Vec<(String, Act)>,
    cancelled: bool,
    dir: tempfile::TempDir,
}

/// What a run told.
pub struct Told {
    pub events: Vec<Event>,
    pub report: RunReport,
    /// What was asked of the fleet, in order.
    pub calls: Vec<String>,
    transcript: Transcript,
    dir: tempfile::TempDir,
}

/// Wraps steps, as items of a YAML list, into a pipeline with the one stage `a`.
pub fn steps(list: &str) -> String {
    stages(&format!(
        "- stage:\n    name: a\n    type: CI\n    spec:\n      execution:\n        steps:\n{}",
        indent(list, 10)
    ))
}

/// Wraps stages, as items of a YAML list, into a pipeline.
pub fn stages(list: &str) -> String {
    format!("pipeline:\n  name: p\n  identifier: p\n  stages:\n{}", indent(list, 4))
}

fn indent(text: &str, by: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let own = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| format!("{:by$}{}\n", "", &line[own..])).collect()
}

/// Lets the shortest timeout that a file can have pass in a second.
fn hasten(timeout: &mut Option<Limit>) {
    if let Some(limit) = timeout.as_mut().filter(|limit| limit.time == Duration::from_secs(10)) {
        limit.time = Duration::from_secs(1);
    }
}

fn hasten_steps(steps: &mut Graph<StepNode>) {
    for node in &mut steps.nodes {
        match &mut node.item {
            StepNode::Step(step) => hasten(&mut step.timeout),
            StepNode::Group(group) => hasten_steps(&mut group.steps),
        }
    }
}

impl Scenario {
    /// Prepares a run of a pipeline. `$DIR` in it is a folder of the test's own.
    #[track_caller]
    pub fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().to_str().expect("a path in UTF-8");
        let yaml = yaml.replace("$DIR", path);
        let loaded = kiln_pipeline::load("pipeline.yml", yaml.as_bytes(), &kiln_pipeline::Options::default());
        let told = loaded.report.text(false);
        assert!(loaded.report.status() == kiln_document::Status::Ok, "{told}\n{yaml}");
        let mut plan = loaded.plan.expect("a plan");
        for node in &mut plan.stages.nodes {
            // The stages' folders are on this machine.
            node.item.workspace_dir = format!("{path}/{}", node.item.id);
            hasten(&mut node.item.timeout);
            hasten_steps(&mut node.item.steps);
        }
        hasten(&mut plan.timeout);
        let workspace = dir.path().join("workspace");
        std::fs::create_dir(&workspace).expect("a folder");
        let patience = Patience {
            unreachable_for: Duration::from_millis(500),
            cancelled_within: Duration::from_secs(2),
            background_within: Duration::from_secs(2),
            drain_within: Duration::from_secs(2),
            overdue_after: Duration::from_millis(500),
            telling: Telling { after: Duration::from_millis(300), ..Telling::default() },
            ..Patience::default()
        };
        let options = Options { workspace, patience, ..Options::default() };
        Self { plan, options, agents: Agents::default(), within: PATIENCE, acts: Vec::new(), cancelled: false, dir }
    }

    /// Lets something happen at the first line of the transcript that begins like this.
    #[must_use]
    pub fn when(mut self, line: &str, act: Act) -> Self {
        self.acts.push((line.to_owned(), act));
        self
    }

    /// Changes what is given with the pipeline.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Changes the fleet.
    #[must_use]
    pub fn fleet(mut self, change: impl FnOnce(&mut Agents)) -> Self {
        change(&mut self.agents);
        self
    }

    /// Cancels the run before it begins.
    #[must_use]
    pub fn cancelled(mut self) -> Self {
        self.cancelled = true;
        self
    }

    /// Puts a file into the workspace.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.options.workspace.join(name), text).expect("a file");
        self
    }

    /// Runs to the end.
    pub async fn run(self) -> Told {
        let Self { plan, options, agents, within, acts, cancelled, dir } = self;
        let cancel = CancellationToken::new();
        if cancelled {
            cancel.cancel();
        }
        let told = Mutex::new((Transcript::default(), Vec::new(), acts));
        let sink = |event: Masked<Event>| {
            let mut told = told.lock().expect("no panic");
            let (transcript, events, acts) = &mut *told;
            let lines = transcript.push(&event);
            events.push(event.into_inner());
            let begins = |start: &str| lines.iter().any(|line| line.starts_with(start));
            for (_, act) in acts.extract_if(.., |(start, _)| begins(start)) {
                carry_out(&act, &agents, &cancel, dir.path());
            }
        };
        let images = |_: &_| String::new();
        let run = Run::new(&plan, &options, &agents, &images, &sink, &cancel).carry_out();
        let report = tokio::time::timeout(within, run).await;
        let (transcript, events, acts) = told.into_inner().expect("no panic");
        let report = report.unwrap_or_else(|_| panic!("the run does not end:\n{}", transcript.as_told()));
        assert!(acts.is_empty(), "this line never came: {}\n{}", acts[0].0, transcript.as_told());
        let (calls, report) = (agents.calls(), report.into_inner());
        form::assert_well_formed(&events, &report);
        assert_given_back(&calls);
        Told { events, report, calls, transcript, dir }
    }
}

fn carry_out(act: &Act, agents: &Agents, cancel: &CancellationToken, dir: &Path) {
    match act {
        Act::Cancel => cancel.cancel(),
        Act::Kill(stage) => agents.kill(stage),
        Act::Restart(stage) => agents.restart(stage),
        Act::Cut(stage) => agents.cut(stage),
        Act::Freeze(stage) => agents.freeze(stage),
        Act::Refuse(stage, connections) => agents.refuse_connections(stage, *connections),
        Act::Close(stage) => agents.close(stage),
        Act::End(stage, evidence) => agents.end(stage, evidence),
        Act::LetGo(stage) => agents.let_go(stage),
        Act::Touch(name) => std::fs::write(dir.join(name), "").expect("a file"),
    }
}

/// Asserts that each instance was given back once, and each wait for one that was given up was told of.
#[track_caller]
fn assert_given_back(calls: &[String]) {
    let of = |call: &str| calls.iter().filter_map(|c| c.strip_prefix(call)).map(str::to_owned).collect::<Vec<_>>();
    let mut ended = [of("release "), of("abandon "), of("refuse ")].concat();
    let mut begun = of("acquire ");
    ended.sort();
    begun.sort();
    assert_eq!(begun, ended, "{calls:?}");
}

impl Told {
    /// Compares the transcript, as it came, with what is expected.
    #[track_caller]
    pub fn check(&self, expect: &str) {
        self.compare(&self.transcript.as_told(), expect);
    }

    /// Compares the transcript by stage and step: for what happens at the same time.
    #[track_caller]
    pub fn check_by_part(&self, expect: &str) {
        self.compare(&self.transcript.by_part(), expect);
    }

    #[track_caller]
    fn compare(&self, got: &str, expect: &str) {
        let expect = indent(expect, 0);
        assert!(got == expect.trim_end(), "told:\n{got}\n\nexpected:\n{expect}");
    }

    /// Returns all text of a step.
    pub fn output(&self, of_stage: &str, of_step: &str) -> String {
        let of_it = |event: &Event| match event {
            Event::Output { stage, step, text, .. } if stage == of_stage && step == of_step => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of_it).collect()
    }

    /// Returns a file of the test's folder.
    #[track_caller]
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).expect("a file")
    }

    /// Returns everything that was told, as JSON.
    pub fn json(&self) -> String {
        self.events.iter().map(|event| serde_json::to_string(event).expect("JSON") + "\n").collect()
    }
}
