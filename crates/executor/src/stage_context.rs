//! What the parts of one stage's run share.

use std::sync::Mutex;

use futures::future::BoxFuture;
use kiln_pipeline::plan::Stage;
use kiln_pipeline::strategy::Iteration;
use kiln_wire::run::{Event, StepReport};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::gone::Gone;

/// Something that goes on beside the steps.
pub(crate) type Beside<'a> = BoxFuture<'a, ()>;

/// One iteration of a stage, as its steps see it.
pub(crate) struct StageContext<'a> {
    pub(crate) run: &'a Context<'a>,
    pub(crate) stage: &'a Stage,
    /// The stage's id with the number of its iteration.
    pub(crate) id: &'a str,
    pub(crate) iteration: Option<&'a Iteration>,
    /// Tells when the instance ends.
    pub(crate) gone: Gone,
    /// Ends this stage: the run ends, or its own time is up.
    pub(crate) cancel: CancellationToken,
    pub(crate) steps: Mutex<Vec<StepReport>>,
    /// What goes on beside the steps: the output of background ones.
    pub(crate) beside: mpsc::UnboundedSender<Beside<'a>>,
}

impl StageContext<'_> {
    /// Tells whoever watches the run.
    pub(crate) fn tell(&self, event: Event) {
        (self.run.sink)(event);
    }

    /// Tells something that holds for every stage of the run, with the first that finds it.
    pub(crate) fn note_once(&self, message: String) {
        if self.run.is_new(&message) {
            self.note(message);
        }
    }

    /// Tells something about the stage in words.
    pub(crate) fn note(&self, message: String) {
        self.tell(Event::Note { stage: self.id.to_owned(), message });
    }
}
