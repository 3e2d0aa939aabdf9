//! Steps and groups: decides whether they run and how often, and what their end means for the stage.

use std::time::Instant;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use kiln_pipeline::condition::{Prior, Verdict, decide};
use kiln_pipeline::failure::{self, Decision};
use kiln_pipeline::plan::{ErrorKind, FailureStrategy, Group, Step, StepNode, Variable};
use kiln_pipeline::scope::{self, Place};
use kiln_pipeline::strategy::{Iteration, expand};
use kiln_wire::run::{Cause, Event, Status, StepReport};

use crate::again::again;
use crate::attempt::{self, attempt, follow_output};
use crate::collect;
use crate::context::{lock, name_of};
use crate::fleet::{Lease, error_chain};
use crate::outcome::{Judged, judge};
use crate::request::{Prepared, prepare};
use crate::stage_context::StageContext;
use crate::walk::{End, walk};
use crate::why::Why;

/// The groups and iterations around a step.
#[derive(Clone, Default)]
pub(crate) struct Nest<'n> {
    groups: Vec<String>,
    variables: Vec<&'n Variable>,
    iterations: Vec<Iteration>,
    /// Failure strategies of the groups, innermost first.
    failure: Vec<&'n [FailureStrategy]>,
}

impl<'a> StageContext<'a> {
    /// Runs a step or a group, with all its iterations. Boxed, because groups hold steps and groups.
    pub(crate) fn node<'r>(
        &'r self,
        lease: &'r Lease,
        node: &'a StepNode,
        nest: Nest<'a>,
        prior: End,
    ) -> BoxFuture<'r, End>
    where
        'a: 'r,
    {
        self.iterations(lease, node, nest, prior).boxed()
    }

    async fn iterations(&self, lease: &Lease, node: &'a StepNode, nest: Nest<'a>, prior: End) -> End {
        let (id, strategy) = match node {
            StepNode::Step(step) => (&step.id, &step.strategy),
            StepNode::Group(group) => (&group.id, &group.strategy),
        };
        let Some(strategy) = strategy else { return self.one(lease, node, nest, id.clone(), prior).await };
        let expansion = match expand(strategy, &self.run.scope(&self.place(&nest, prior))) {
            Ok(expansion) => expansion,
            Err(error) => return self.not_run(node, id, Status::Failed, &error_chain(&error), &nest),
        };
        let runs = expansion.iterations.into_iter().map(|iteration| {
            let id = format!("{id}_{}", iteration.index);
            let mut nest = nest.clone();
            nest.iterations.push(iteration);
            self.one(lease, node, nest, id, prior)
        });
        let ends = futures::stream::iter(runs).buffer_unordered(expansion.max_concurrency);
        ends.fold(End::Clear, |sum, end| async move { sum.and(end) }).await
    }

    async fn one(&self, lease: &Lease, node: &'a StepNode, nest: Nest<'a>, id: String, prior: End) -> End {
        let when = match node {
            StepNode::Step(step) => &step.when,
            StepNode::Group(group) => &group.when,
        };
        if let Some(why) = self.why() {
            return self.not_run(node, &id, Status::Cancelled, &why.before_its_turn(), &nest);
        }
        let before = if prior == End::Failed { Prior::Failure } else { Prior::Success };
        let scope = self.run.scope(&self.place(&nest, prior));
        match decide(when, before, &scope, &self.run.options.facts) {
            Err(error) => {
                let message = format!("its condition has no value: {}", error_chain(&error));
                return self.not_run(node, &id, Status::Failed, &message, &nest);
            }
            Ok(Verdict::Skip(why)) => return self.not_run(node, &id, Status::Skipped, &why, &nest),
            Ok(Verdict::Run) => {}
        }
        match node {
            StepNode::Step(step) => self.step(lease, step, &id, &nest, prior).await,
            StepNode::Group(group) => self.group(lease, group, nest, id, prior).await,
        }
    }

    async fn group(&self, lease: &Lease, group: &'a Group, mut nest: Nest<'a>, id: String, prior: End) -> End {
        nest.groups.push(id);
        nest.variables.extend(&group.variables);
        nest.failure.insert(0, &group.failure);
        walk(&group.steps, prior, |node, before| self.node(lease, node, nest.clone(), before)).await
    }

    async fn step(&self, lease: &Lease, step: &'a Step, id: &str, nest: &Nest<'a>, prior: End) -> End {
        let key = key(nest, id);
        let name = name_of(&step.name, nest.iterations.last());
        let since = Instant::now();
        let mut attempts = 0;
        let (judged, decision) = loop {
            attempts += 1;
            let started = Event::StepStarted {
                stage: self.id.to_owned(),
                step: key.clone(),
                name: name.clone(),
                attempt: attempts,
            };
            self.tell(started);
            let judged = self.attempt(lease, step, id, &key, nest, prior).await;
            let Some(kind) = judged.failed_for() else { break (judged, Decision::Fail) };
            match self.decide(step, nest, kind, attempts) {
                Decision::Retry(after) => {
                    let (stage, message) = (self.id.to_owned(), judged.message.clone().unwrap_or_default());
                    self.tell(Event::StepRetry { stage, step: key.clone(), message, after });
                    tokio::select! {
                        () = tokio::time::sleep(after) => {}
                        () = self.cancel.cancelled() => break (judged, Decision::Fail),
                    }
                }
                decision => break (judged, decision),
            }
        };
        let (status, end, word) = conclude(&judged, decision);
        if decision == Decision::Abort {
            self.run.end(Why::Aborted);
        }
        let outputs: Vec<(String, String)> = judged.outputs.iter().map(|o| (o.name.clone(), o.value.clone())).collect();
        self.run.record_step(self.id, &nest.groups, id, &outputs, word);
        let Judged { cause, exit_code, message, tests, outputs: _, secrets: _ } = judged;
        let report =
            StepReport { id: key, name, status, cause, exit_code, message, attempts, duration: since.elapsed(), tests };
        self.finish(report);
        end
    }

    fn decide(&self, step: &Step, nest: &Nest<'_>, kind: ErrorKind, attempt: u32) -> Decision {
        let mut levels: Vec<&[FailureStrategy]> = vec![&step.failure];
        levels.extend(&nest.failure);
        levels.push(&self.stage.failure);
        match failure::next(&levels, kind, attempt) {
            // Nothing can run again on an instance that is gone.
            Decision::Retry(_) if kind == ErrorKind::Infrastructure => Decision::Fail,
            decision => decision,
        }
    }

    async fn attempt(&self, lease: &Lease, step: &'a Step, id: &str, key: &str, nest: &Nest<'a>, prior: End) -> Judged {
        let mut place = self.place(nest, prior);
        place.step = Some((id, &step.name));
        let scope = self.run.scope(&place);
        let prepared = match prepare(self, step, id, &scope) {
            Ok(prepared) => prepared,
            Err(message) => return Judged::failed(Cause::Plan, message),
        };
        let at = self.attempt_place(lease, key);
        let outcome = attempt(&at, &prepared.request).await;
        let judged = judge(outcome, self.why());
        self.run.secrets.add(&judged.secrets);
        if prepared.request.detach {
            return self.in_background(lease, key, prepared, judged);
        }
        self.collect(lease, &prepared, judged).await
    }

    /// Takes a background step that has begun for passed, and lets its output be read beside the later steps.
    fn in_background(&self, lease: &Lease, key: &str, prepared: Prepared, judged: Judged) -> Judged {
        if judged.failed_for().is_none() {
            let (agent, key, id) = (lease.agent.clone(), key.to_owned(), prepared.request.id);
            let (run, stage, cancel) = (self.run, self.id, self.cancel.clone());
            let follow = async move {
                let gone = crate::gone::Gone::new();
                let place = attempt::Place { stage, step: &key, agent: &agent, gone: &gone, cancel: &cancel, run };
                if let Err(error) = follow_output(&place, &id).await {
                    tracing::debug!(step = key, %error, "the background step's output ended early");
                }
            };
            // The receiver lives longer than the stage's steps, so the send does not fail.
            drop(self.beside.send(follow.boxed()));
            return Judged { message: Some("goes on in the background".to_owned()), ..judged };
        }
        judged
    }

    async fn collect(&self, lease: &Lease, prepared: &Prepared, mut judged: Judged) -> Judged {
        if prepared.reports.is_empty() || judged.cause == Some(Cause::Infrastructure) {
            return judged;
        }
        let fetched = again(&self.run.options.patience, || {
            collect::reports(&lease.agent, &prepared.request.working_dir, &prepared.reports, &self.run.secrets)
        });
        let cut_short = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(self.run.options.patience.cancelled_within).await;
        };
        let fetched = tokio::select! {
            fetched = fetched => fetched.map_err(|error| error_chain(&error)),
            evidence = self.gone.wait() => Err(format!("the instance ended: {evidence}")),
            () = cut_short => Err("the stage ends".to_owned()),
        };
        match fetched {
            Ok(collected) => {
                judged.tests = collected.tests;
                collected.notes.into_iter().for_each(|note| self.note(note));
            }
            Err(why) => self.note(format!("the reports could not be fetched: {why}")),
        }
        judged
    }

    fn attempt_place<'p>(&'p self, lease: &'p Lease, key: &'p str) -> attempt::Place<'p> {
        let (stage, gone, cancel, run) = (self.id, &self.gone, &self.cancel, self.run);
        attempt::Place { stage, step: key, agent: &lease.agent, gone, cancel, run }
    }

    fn place<'p>(&'p self, nest: &'p Nest<'_>, prior: End) -> Place<'p> {
        Place {
            stage: Some((self.stage, self.id)),
            groups: nest.groups.clone(),
            variables: nest.variables.clone(),
            step: None,
            iterations: self.iteration.into_iter().chain(&nest.iterations).collect(),
            failed: prior == End::Failed,
        }
    }

    /// Records a step or a group that was not started.
    fn not_run(&self, node: &StepNode, id: &str, status: Status, message: &str, nest: &Nest<'_>) -> End {
        let (name, word) = match node {
            StepNode::Step(step) => (&step.name, status_word(status)),
            StepNode::Group(group) => (&group.name, status_word(status)),
        };
        self.run.record_step(self.id, &nest.groups, id, &[], word);
        self.finish(StepReport {
            id: key(nest, id),
            name: name_of(name, nest.iterations.last()),
            status,
            cause: match status {
                Status::Failed => Some(Cause::Plan),
                Status::Cancelled => Some(Cause::Cancelled),
                _ => None,
            },
            exit_code: None,
            message: Some(message.to_owned()),
            attempts: 0,
            duration: std::time::Duration::ZERO,
            tests: None,
        });
        if status == Status::Skipped { End::Clear } else { End::Failed }
    }

    fn finish(&self, report: StepReport) {
        self.tell(Event::StepFinished { stage: self.id.to_owned(), report: report.clone() });
        lock(&self.steps).push(report);
    }
}

/// Returns a step's id with those of its groups: `group.step`.
fn key(nest: &Nest<'_>, id: &str) -> String {
    nest.groups.iter().map(String::as_str).chain([id]).collect::<Vec<_>>().join(".")
}

fn conclude(judged: &Judged, decision: Decision) -> (Status, End, &'static str) {
    let status = match (judged.cause, decision) {
        (Some(Cause::Cancelled), _) => Status::Cancelled,
        (None, _) | (Some(_), Decision::MarkAsSuccess) => Status::Passed,
        (Some(_), Decision::Ignore) => Status::Ignored,
        (Some(_), _) => Status::Failed,
    };
    let end = match status {
        Status::Failed | Status::Cancelled => End::Failed,
        _ => End::Clear,
    };
    (status, end, status_word(status))
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Passed => scope::SUCCEEDED,
        Status::Failed => scope::FAILED,
        Status::Ignored => scope::IGNORE_FAILED,
        Status::Skipped => scope::SKIPPED,
        Status::Cancelled => scope::ABORTED,
    }
}
