//! One step: runs it as often as its failure strategies say, and takes what it left.

use std::time::Instant;

use futures::FutureExt as _;
use kiln_pipeline::failure::{self, Decision};
use kiln_pipeline::plan::{ErrorKind, FailureStrategy, Limit, Step};
use kiln_test_report::{Failed, show};
use kiln_wire::run::{Cause, Event, ReportProblem, Status, StepReport, Tests};

use crate::again::again;
use crate::attempt::{self, attempt, follow_output};
use crate::collect;
use crate::fleet::{Lease, error_chain};
use crate::kinds::{Prepared, Turn, Work, work};
use crate::nest::Nest;
use crate::outcome::{Judged, judge};
use crate::stage_context::StageContext;
use crate::status;
use crate::walk::End;
use crate::why::Why;

impl<'a> StageContext<'a> {
    /// Runs a step as often as its failure strategies say.
    pub(crate) async fn step(&self, lease: &Lease, step: &'a Step, id: &str, nest: &Nest<'a>, prior: End) -> End {
        let key = nest.key(id);
        let name = self.name(&step.name, nest, prior);
        let since = Instant::now();
        let before = self.attempts_before(&key);
        let mut tries = Tries { number: before, ..Tries::default() };
        let (judged, decision) = loop {
            tries.number += 1;
            let attempts = tries.number - before;
            let started = Event::StepStarted {
                stage: self.id.to_owned(),
                step: key.clone(),
                name: name.clone(),
                attempt: tries.number,
            };
            self.tell(started);
            let mut judged = self.attempt(lease, step, id, nest, prior, &mut tries).await;
            if judged.ends_well(step.ends_well) {
                self.over.get_or_init(|| format!("the step {name} ended the pipeline early, and well"));
            }
            let Some(kind) = judged.failed_for() else { break (judged, Decision::Fail) };
            match self.decide(step, nest, kind, attempts) {
                Decision::Retry(wait) => {
                    self.retry(&key, judged.message.clone().unwrap_or_default(), wait.as_ref());
                    if !self.pause(wait.as_ref()).await {
                        break (judged, Decision::Fail);
                    }
                }
                decision => break (judged, decision),
            }
        };
        let status = conclude(&judged, &decision);
        match decision {
            Decision::Abort => self.run.end(Why::Aborted),
            Decision::EndStage => self.end(&name),
            Decision::Retry(_) | Decision::Ignore | Decision::MarkAsSuccess | Decision::Fail => {}
        }
        let outputs: Vec<(String, String)> = judged.outputs.iter().map(|o| (o.name.clone(), o.value.clone())).collect();
        self.run.record_step(self.id, &nest.groups, id, &outputs, status::word(status));
        let Judged { cause, exit_code, message, tests, outputs: _, secrets: _ } = judged;
        let attempts = tries.number - before;
        let report =
            StepReport { id: key, name, status, cause, exit_code, message, attempts, duration: since.elapsed(), tests };
        self.finish(report);
        status::end(status)
    }

    /// Tells that a step or a group runs again.
    pub(crate) fn retry(&self, key: &str, message: String, wait: Option<&Limit>) {
        let (after, wait) = wait.map(|wait| (wait.time, wait.written.clone())).unwrap_or_default();
        self.tell(Event::StepRetry { stage: self.id.to_owned(), step: key.to_owned(), message, after, wait });
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

    async fn attempt(
        &self,
        lease: &Lease,
        step: &'a Step,
        id: &str,
        nest: &Nest<'a>,
        prior: End,
        tries: &mut Tries,
    ) -> Judged {
        let key = &nest.key(id);
        let mut place = self.place(nest, prior);
        place.step = Some((id, &step.name));
        let mut scope = self.run.scope(&place);
        self.tell_progress(&mut scope);
        let prepared = match work(&Turn { stage: self, step, id, nest, scope: &scope }) {
            Ok(Work::Start(prepared)) => *prepared,
            Ok(Work::Sources { directory }) => return self.stand_in(lease, key, &directory).await,
            Ok(Work::Keep(keeping)) => {
                return self.keep_files(lease, key, keeping, step.timeout.as_ref(), &scope).await;
            }
            Err(message) => return Judged::failed(Cause::Plan, message),
        };
        let at = self.attempt_place(lease, key);
        let outcome = attempt(&at, &prepared.request).await;
        let judged = judge(outcome, self.why(), step.timeout.as_ref());
        self.run.secrets.add(&judged.secrets);
        if prepared.request.detach {
            return self.in_background(lease, key, prepared, judged);
        }
        self.collect(lease, key, &prepared, judged, tries).await
    }

    /// Sends the working tree in the place of a repository that it stands for.
    async fn stand_in(&self, lease: &Lease, key: &str, directory: &str) -> Judged {
        let sent =
            self.run.wait_for((self.id, Some(key)), "the sources to be sent", self.send_sources_to(lease, directory));
        let sent = tokio::select! {
            sent = sent => sent.map_err(|why| Judged::failed(Cause::Plan, why)),
            evidence = self.gone.wait() => {
                Err(Judged::failed(Cause::Infrastructure, format!("the instance ended: {evidence}")))
            }
            () = self.cancel.cancelled() => {
                let why = self.why().map_or_else(|| "cancelled".to_owned(), |why| why.text());
                Err(Judged::failed(Cause::Cancelled, why))
            }
        };
        match sent {
            Ok(()) => Judged::passed(Some(format!("the working tree stands for the repository, in {directory}"))),
            Err(judged) => judged,
        }
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
                    let message = format!("the rest of the output of {key} is missing: {}", error_chain(&error));
                    run.tell(Event::Note { stage: stage.to_owned(), message });
                }
            };
            // The receiver lives longer than the stage's steps, so the send does not fail.
            drop(self.beside.send(follow.boxed()));
            return Judged { message: Some("goes on in the background".to_owned()), ..judged };
        }
        judged
    }

    async fn collect(
        &self,
        lease: &Lease,
        key: &str,
        prepared: &Prepared,
        mut judged: Judged,
        tries: &mut Tries,
    ) -> Judged {
        let globs = &prepared.reports;
        if globs.is_empty() || judged.cause == Some(Cause::Infrastructure) {
            return judged;
        }
        let fetched =
            again(&self.run.options.patience, || collect::fetch(&lease.agent, &prepared.request.working_dir, globs));
        let collected = async {
            let fetched = fetched.await.map_err(|error| error_chain(&error))?.map_err(|error| error.to_string())?;
            let tell = |cases| {
                let (stage, step, attempt) = (self.id.to_owned(), key.to_owned(), tries.number);
                self.tell(Event::TestCases { stage, step, attempt, cases });
            };
            Ok(collect::read(fetched, globs, &self.run.secrets, &tries.failed, tell).await)
        };
        let cut_short = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(self.run.options.patience.cancelled_within).await;
        };
        let collected = self.run.wait_for((self.id, Some(key)), "the test reports", collected);
        let collected = tokio::select! {
            collected = collected => collected,
            evidence = self.gone.wait() => Err(format!("the instance ended: {evidence}")),
            () = cut_short => Err("the stage ends".to_owned()),
        };
        judged.tests = match collected {
            Ok(collected) => {
                tries.failed.extend(&collected.failed);
                if collected.tests.is_none() {
                    self.note(format!("no report matches {}", globs.join(", ")));
                }
                collected.tests
            }
            Err(why) => {
                let message = format!("the reports could not be fetched: {why}");
                let problem = ReportProblem { file: globs.join(", "), line: None, message };
                Some(Tests { problems: vec![problem], ..Tests::default() })
            }
        };
        for problem in judged.tests.iter().flat_map(|tests| &tests.problems) {
            self.note(show::problem(problem));
        }
        judged
    }

    fn attempt_place<'p>(&'p self, lease: &'p Lease, key: &'p str) -> attempt::Place<'p> {
        let (stage, gone, cancel, run) = (self.id, &self.gone, &self.cancel, self.run);
        attempt::Place { stage, step: key, agent: &lease.agent, gone, cancel, run }
    }
}

/// What is known of the attempts at a step.
#[derive(Default)]
struct Tries {
    /// Number of the present one, from 1.
    number: u32,
    /// Test cases that failed in those before it.
    failed: Failed,
}

/// Returns how a step ended, of which a failure strategy may think otherwise.
fn conclude(judged: &Judged, decision: &Decision) -> Status {
    match (judged.cause, decision) {
        (Some(Cause::Cancelled), _) => Status::Cancelled,
        (None, _) | (Some(_), Decision::MarkAsSuccess) => Status::Passed,
        (Some(_), Decision::Ignore) => Status::Ignored,
        (Some(_), _) => Status::Failed,
    }
}
