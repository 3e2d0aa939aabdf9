//! A whole run: carries out stages in their order, each on an instance of its own.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kiln_mask::Masked;
use kiln_pipeline::condition::{Verdict, decide, unmet_status};
use kiln_pipeline::plan::{Plan, Stage};
use kiln_pipeline::scope::Place;
use kiln_pipeline::strategy::{Iteration, expand};
use kiln_wire::run::{Event, RunReport, StageReport, Status};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Images, Options, lock};
use crate::fleet::{Fleet, error_chain};
use crate::loops::Siblings;
use crate::sink::Sink;
use crate::stage::StageRun;
use crate::status;
use crate::walk::{End, walk};
use crate::why::Why;

/// One run.
pub struct Run<'a> {
    context: Context<'a>,
    reports: Mutex<Vec<StageReport>>,
}

impl<'a> Run<'a> {
    /// Prepares a run of `plan`. `cancel` ends it before its end.
    #[must_use]
    pub fn new(
        plan: &'a Plan,
        options: &'a Options,
        fleet: &'a dyn Fleet,
        images: Images<'a>,
        sink: Sink<'a>,
        cancel: &CancellationToken,
    ) -> Self {
        Self { context: Context::new(plan, options, fleet, images, sink, cancel), reports: Mutex::default() }
    }

    /// Carries the plan out and returns how it ended.
    pub async fn carry_out(self) -> Masked<RunReport> {
        let since = Instant::now();
        self.context.tell(Event::RunStarted { name: self.context.plan.name.clone(), run_id: self.context.id.clone() });
        let plan = self.context.plan;
        let walked = walk(&plan.stages, plan.dialect.sight(), End::Clear, |stage, prior| self.stage(stage, prior));
        let mut timed_out = false;
        let end = match &self.context.plan.timeout {
            None => walked.await,
            Some(limit) => {
                let mut walked = std::pin::pin!(walked);
                match tokio::time::timeout(limit.time, &mut walked).await {
                    Ok(end) => end,
                    Err(_) => {
                        // The stages are told to end, and are waited for, so that no instance is left behind.
                        timed_out = true;
                        self.context.end(Why::RunTimeout(limit.clone()));
                        walked.await
                    }
                }
            }
        };
        let status = match end {
            _ if timed_out => Status::Failed,
            _ if self.context.cancel.is_cancelled() => Status::Cancelled,
            End::Failed => Status::Failed,
            End::Clear => Status::Passed,
        };
        let stages = std::mem::take(&mut *lock(&self.reports));
        let name = self.context.plan.name.clone();
        let report = RunReport { name, run_id: self.context.id.clone(), status, duration: since.elapsed(), stages };
        self.context.tell(Event::RunFinished { report: report.clone() });
        self.context.secrets.mask(report)
    }

    /// Runs a stage with all its iterations.
    async fn stage(&self, stage: &Stage, prior: End) -> End {
        if !self.context.options.stages.is_empty() && !self.context.options.stages.contains(&stage.id) {
            let message = "not among the stages asked for".to_owned();
            return self.not_run(stage, &stage.id, None, Status::Skipped, message);
        }
        let Some(strategy) = &stage.strategy else {
            return self.one(stage, &stage.id, None, prior).await;
        };
        let place = Place { stage: Some((stage, &stage.id)), failed: prior == End::Failed, ..Place::default() };
        let expansion = match expand(strategy, &self.context.scope(&place)) {
            Ok(expansion) => expansion,
            Err(error) => return self.not_expanded(stage, prior, error_chain(&error)),
        };
        let siblings = &Siblings::new(&expansion);
        let runs = expansion.iterations.iter().map(|iteration| async move {
            let id = format!("{}{}", stage.id, iteration.postfix);
            match siblings.skips() {
                Some(why) => self.not_run(stage, &id, Some(iteration), Status::Skipped, why.to_owned()),
                None => siblings.ended(self.one(stage, &id, Some((iteration, siblings)), prior).await),
            }
        });
        let ends = futures::stream::iter(runs).buffer_unordered(expansion.max_concurrency);
        ends.fold(End::Clear, |sum, end| async move { sum.and(end) }).await
    }

    /// Runs one iteration of a stage, if its conditions are met.
    async fn one(&self, stage: &Stage, id: &str, among: Option<(&Iteration, &Siblings)>, prior: End) -> End {
        let iteration = among.map(|(iteration, _)| iteration);
        if self.context.cancel.is_cancelled() {
            let message = self.context.why().before_its_turn();
            return self.not_run(stage, id, iteration, Status::Cancelled, message);
        }
        self.context.describe_stage(stage, id);
        let failed = prior == End::Failed;
        let place = Place { stage: Some((stage, id)), stage_run: iteration, failed, ..Place::default() };
        match decide(&stage.when, prior.into(), &self.context.scope(&place), &self.context.options.facts) {
            Err(error) => {
                let message = format!("its condition has no value: {}", error_chain(&error));
                return self.not_run(stage, id, iteration, Status::Failed, message);
            }
            Ok(Verdict::Skip(why)) => return self.not_run(stage, id, iteration, Status::Skipped, why),
            Ok(Verdict::Run) => {}
        }
        let report = StageRun::new(&self.context, stage, id, among).carry_out().await;
        self.end(report)
    }

    /// Records a stage whose iterations could not be worked out. What would not have run anyway has not failed.
    fn not_expanded(&self, stage: &Stage, prior: End, error: String) -> End {
        let (status, message) = match unmet_status(&stage.when, prior.into()) {
            _ if self.context.cancel.is_cancelled() => (Status::Cancelled, self.context.why().before_its_turn()),
            Some(why) => (Status::Skipped, why.to_owned()),
            None => (Status::Failed, error),
        };
        self.not_run(stage, &stage.id, None, status, message)
    }

    /// Records an iteration of a stage that was not started.
    fn not_run(&self, stage: &Stage, id: &str, iteration: Option<&Iteration>, status: Status, message: String) -> End {
        self.end(StageReport {
            id: id.to_owned(),
            name: self.context.stage_name(stage, id, iteration),
            status,
            message: Some(message),
            instance: None,
            duration: Duration::ZERO,
            steps: Vec::new(),
        })
    }

    /// Records how a stage ended, and tells the sink.
    fn end(&self, report: StageReport) -> End {
        let end = status::end(report.status);
        self.context.record_stage(&report.id, status::word(report.status));
        if end == End::Failed {
            self.context.record_failure(&report.name);
        }
        self.context.tell(Event::StageFinished { report: report.clone() });
        lock(&self.reports).push(report);
        end
    }
}
