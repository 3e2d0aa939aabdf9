//! What the parts of one stage's run share.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use kiln_pipeline::plan::{Limit, Stage};
use kiln_pipeline::strategy::Iteration;
use kiln_wire::run::{Event, StepReport};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, lock};
use crate::gone::Gone;
use crate::loops::Siblings;
use crate::why::Why;

/// Work that goes on beside the steps.
pub(crate) type Beside<'a> = BoxFuture<'a, ()>;

/// One iteration of a stage, as its steps see it.
pub(crate) struct StageContext<'a> {
    pub(crate) run: &'a Context<'a>,
    pub(crate) stage: &'a Stage,
    /// The stage's id with the number of its iteration.
    pub(crate) id: &'a str,
    pub(crate) iteration: Option<&'a Iteration>,
    /// All iterations of the stage.
    pub(crate) siblings: Option<&'a Siblings>,
    /// When it began.
    pub(crate) started: SystemTime,
    /// Tells when the instance ends.
    pub(crate) gone: Gone,
    /// Tells that this stage ends before its end: the run does, the stage's time was up, or a step's failure ends it.
    pub(crate) cancel: CancellationToken,
    /// The step's failure that ends it.
    pub(crate) ended: OnceLock<Why>,
    /// Why the steps that have not begun are skipped: one of them ended the stage well.
    pub(crate) over: OnceLock<String>,
    pub(crate) steps: Mutex<Vec<StepReport>>,
    /// Takes work that goes on beside the steps, such as reading the output of background steps.
    pub(crate) beside: mpsc::UnboundedSender<Beside<'a>>,
}

impl StageContext<'_> {
    /// Returns what people call the stage.
    pub(crate) fn stage_name(&self) -> String {
        self.run.stage_name(self.stage, self.id, self.iteration)
    }

    /// Returns why the stage ends before its end, if it does.
    pub(crate) fn why(&self) -> Option<Why> {
        if self.run.cancel.is_cancelled() {
            return Some(self.run.why());
        }
        let why = || self.ended.get().cloned().or_else(|| self.stage.timeout.clone().map(Why::StageTimeout));
        self.cancel.is_cancelled().then(why).flatten()
    }

    /// Ends the stage before its end, for the failure of a step.
    pub(crate) fn end(&self, step: &str) {
        if !self.cancel.is_cancelled() {
            self.ended.get_or_init(|| Why::StepFailed(step.to_owned()));
        }
        self.cancel.cancel();
    }

    /// Tells the sink.
    pub(crate) fn tell(&self, event: Event) {
        self.run.tell(event);
    }

    /// Tells how a step ended, and keeps it for the stage's report, in the place of what was kept when its group ran before.
    pub(crate) fn finish(&self, mut report: StepReport) {
        report.attempts += self.attempts_before(&report.id);
        self.tell(Event::StepFinished { stage: self.id.to_owned(), report: report.clone() });
        let mut steps = lock(&self.steps);
        steps.retain(|earlier| earlier.id != report.id);
        steps.push(report);
    }

    /// Returns how often a step was started when its group ran before.
    pub(crate) fn attempts_before(&self, id: &str) -> u32 {
        lock(&self.steps).iter().find(|report| report.id == id).map_or(0, |report| report.attempts)
    }

    /// Waits before something runs again. Returns false when the stage ends meanwhile.
    pub(crate) async fn pause(&self, wait: Option<&Limit>) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait.map_or(Duration::ZERO, |wait| wait.time)) => true,
            () = self.cancel.cancelled() => false,
        }
    }

    /// Tells something that holds for every stage of the run, unless another stage told it.
    pub(crate) fn note_once(&self, message: String) {
        if self.run.is_new(&message) {
            self.note(message);
        }
    }

    /// Tells something that holds for every stage of the run, unless another stage told it in these or other words.
    pub(crate) fn note_once_about(&self, what: &str, message: String) {
        if self.run.is_new(what) {
            self.note(message);
        }
    }

    /// Tells a remark about the stage.
    pub(crate) fn note(&self, message: String) {
        self.tell(Event::Note { stage: self.id.to_owned(), message });
    }
}
