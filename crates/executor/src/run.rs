//! A whole run: stages in their order, each on an instance of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use kiln_pipeline::condition::{Prior, Verdict, decide};
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Plan, PoolRequest, Stage};
use kiln_pipeline::scope::{self, Book, Place};
use kiln_pipeline::strategy::{Iteration, expand};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Sink};
use crate::fleet::{Fleet, error_chain};
use crate::report::{RunReport, StageReport, Status};
use crate::stage::StageRun;
use crate::walk::{End, walk};

/// What the caller of a run decides.
pub struct Options {
    /// The directory whose tree the stages get.
    pub workspace: std::path::PathBuf,
    /// Environment for every step, over the file's.
    pub env: Vec<(String, String)>,
    /// Secrets by name.
    pub secrets: Vec<(String, String)>,
    /// Values for variables and inputs, by name or path.
    pub given: Vec<(String, String)>,
    /// Only these stages; all when empty.
    pub stages: Vec<String>,
    /// What is known about the build.
    pub facts: Facts,
    /// A failed stage's instance is kept this long for a look.
    pub keep_on_failure: Option<Duration>,
}

/// Chooses the image for a stage's pool.
pub type Images<'a> = &'a (dyn Fn(&PoolRequest) -> Result<String, String> + Send + Sync);

/// One run.
pub struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a Options,
    pub(crate) fleet: &'a dyn Fleet,
    pub(crate) images: Images<'a>,
    pub(crate) sink: Sink<'a>,
    /// Ends the run: somebody cancelled, a strategy said abort, or its time was up.
    pub(crate) cancel: CancellationToken,
    pub(crate) id: String,
    book: Mutex<Book>,
    reports: Mutex<Vec<StageReport>>,
    /// Values that became secret while the run went on: secret outputs.
    masked: Mutex<Vec<String>>,
}

impl<'a> Run<'a> {
    /// Prepares a run of `plan`. `cancel` ends it.
    #[must_use]
    pub fn new(
        plan: &'a Plan,
        options: &'a Options,
        fleet: &'a dyn Fleet,
        images: Images<'a>,
        sink: Sink<'a>,
        cancel: &CancellationToken,
    ) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let secrets = options.secrets.clone();
        let book = Book::new(plan, &options.facts, &options.given, &id, now_ms).with_secrets(move |name| {
            // `account.token` and `org.token` name the same local secret as `token`, unless given in full.
            let bare = name.strip_prefix("account.").or_else(|| name.strip_prefix("org.")).unwrap_or(name);
            let find = |wanted: &str| secrets.iter().find(|(n, _)| n == wanted).map(|(_, v)| v.clone());
            find(name).or_else(|| find(bare))
        });
        Self {
            plan,
            options,
            fleet,
            images,
            sink,
            cancel: cancel.child_token(),
            id,
            book: Mutex::new(book),
            reports: Mutex::default(),
            masked: Mutex::default(),
        }
    }

    /// Carries the plan out and tells how it ended.
    pub async fn carry_out(self) -> RunReport {
        let since = Instant::now();
        (self.sink)(Event::RunStarted { name: self.plan.name.clone(), run_id: self.id.clone() });
        let walked = walk(&self.plan.stages, End::Clear, |stage, prior| self.stage(stage, prior));
        let mut timed_out = false;
        let end = match self.plan.timeout {
            None => walked.await,
            Some(limit) => {
                let mut walked = std::pin::pin!(walked);
                match tokio::time::timeout(limit, &mut walked).await {
                    Ok(end) => end,
                    Err(_) => {
                        // Everything is told to end, and is waited for, so that no instance stays.
                        timed_out = true;
                        self.cancel.cancel();
                        walked.await
                    }
                }
            }
        };
        let status = match end {
            _ if timed_out => Status::Failed,
            _ if self.cancel.is_cancelled() => Status::Cancelled,
            End::Failed => Status::Failed,
            End::Clear => Status::Passed,
        };
        let stages = std::mem::take(&mut *lock(&self.reports));
        let name = self.plan.name.clone();
        let report = RunReport { name, run_id: self.id.clone(), status, duration: since.elapsed(), stages };
        (self.sink)(Event::RunFinished { report: report.clone() });
        report
    }

    /// A stage and all its iterations.
    async fn stage(&self, stage: &Stage, prior: End) -> End {
        if !self.options.stages.is_empty() && !self.options.stages.contains(&stage.id) {
            return self.skip(stage, &stage.id, "not among the stages asked for");
        }
        let Some(strategy) = &stage.strategy else {
            return self.one(stage, &stage.id, None, prior).await;
        };
        let place = Place { stage: Some((stage, &stage.id)), failed: prior == End::Failed, ..Place::default() };
        let expansion = match expand(strategy, &self.scope(&place)) {
            Ok(expansion) => expansion,
            Err(error) => return self.fail(stage, &stage.id, error_chain(&error)),
        };
        let runs = expansion.iterations.iter().map(|iteration| async move {
            let id = format!("{}_{}", stage.id, iteration.index);
            self.one(stage, &id, Some(iteration), prior).await
        });
        let ends = futures::stream::iter(runs).buffer_unordered(expansion.max_concurrency);
        ends.fold(End::Clear, |sum, end| async move { sum.and(end) }).await
    }

    /// One iteration of a stage: does it run, and then on an instance.
    async fn one(&self, stage: &Stage, id: &str, iteration: Option<&Iteration>, prior: End) -> End {
        if self.cancel.is_cancelled() {
            return self.end(blank(
                stage,
                id,
                iteration,
                Status::Cancelled,
                Some("the run was ended before its turn".into()),
            ));
        }
        lock(&self.book).describe_stage(stage, id);
        let iterations = iteration.into_iter().collect();
        let failed = prior == End::Failed;
        let place = Place { stage: Some((stage, id)), iterations, failed, ..Place::default() };
        let before = if failed { Prior::Failure } else { Prior::Success };
        match decide(&stage.when, before, &self.scope(&place), &self.options.facts) {
            Err(error) => return self.fail(stage, id, format!("its condition has no value: {}", error_chain(&error))),
            Ok(Verdict::Skip(why)) => return self.skip(stage, id, &why),
            Ok(Verdict::Run) => {}
        }
        let report = StageRun::new(self, stage, id, iteration).carry_out().await;
        self.end(report)
    }

    fn fail(&self, stage: &Stage, id: &str, message: String) -> End {
        self.end(blank(stage, id, None, Status::Failed, Some(message)))
    }

    fn skip(&self, stage: &Stage, id: &str, why: &str) -> End {
        self.end(blank(stage, id, None, Status::Skipped, Some(why.to_owned())))
    }

    /// Records a stage's end and tells of it.
    fn end(&self, report: StageReport) -> End {
        let (word, end) = match report.status {
            Status::Passed => (scope::SUCCEEDED, End::Clear),
            Status::Skipped => (scope::SKIPPED, End::Clear),
            Status::Ignored => (scope::IGNORE_FAILED, End::Clear),
            Status::Failed => (scope::FAILED, End::Failed),
            Status::Cancelled => (scope::ABORTED, End::Failed),
        };
        lock(&self.book).record_stage(&report.id, word);
        (self.sink)(Event::StageFinished { report: report.clone() });
        lock(&self.reports).push(report);
        end
    }

    pub(crate) fn scope(&self, place: &Place<'_>) -> kiln_pipeline::expr::Scope {
        lock(&self.book).scope(place)
    }

    pub(crate) fn record_step(
        &self,
        stage: &str,
        groups: &[String],
        step: &str,
        outputs: &[(String, String)],
        word: &str,
    ) {
        lock(&self.book).record_step(stage, groups, step, outputs, word);
    }

    /// From now on these values are masked in every step's output.
    pub(crate) fn mask(&self, values: impl IntoIterator<Item = String>) {
        lock(&self.masked).extend(values);
    }

    /// Every value that is to be masked.
    pub(crate) fn masked(&self) -> Vec<String> {
        let given = self.options.secrets.iter().map(|(_, value)| value.clone());
        given.chain(lock(&self.masked).iter().cloned()).filter(|value| !value.is_empty()).collect()
    }
}

fn blank(
    stage: &Stage,
    id: &str,
    iteration: Option<&Iteration>,
    status: Status,
    message: Option<String>,
) -> StageReport {
    StageReport {
        id: id.to_owned(),
        name: name_of(&stage.name, iteration),
        status,
        message,
        instance: None,
        duration: Duration::ZERO,
        steps: Vec::new(),
    }
}

/// A name with its iteration's title.
pub(crate) fn name_of(name: &str, iteration: Option<&Iteration>) -> String {
    match iteration {
        Some(iteration) if !iteration.title.is_empty() => format!("{name} ({})", iteration.title),
        _ => name.to_owned(),
    }
}

/// A lock whose holder cannot have left things half done: every critical section here is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
