//! What the instance has to do for a step of each kind. Nothing else in this crate asks for a step's kind to decide that.
//!
//! ```text
//! StepKind ──work──► Work::Start     a request with which the agent starts a process, and its reports
//!             └────► a message      the kind, or this step of it, cannot be carried out
//! ```
//! Values are worked out here too: what an expression stands for is known when the step's turn has come.

mod environment;
mod run;

use kiln_pipeline::expr::{Scope, Template};
use kiln_pipeline::plan::{Step, StepKind};
use kiln_wire::agent::StartStepRequest;

use crate::fleet::error_chain;
use crate::nest::Nest;
use crate::stage_context::StageContext;

pub use environment::fits;

/// What the instance has to do for a step.
pub(crate) enum Work {
    /// The agent starts a process and supervises it.
    Start(Box<Prepared>),
}

/// A step in which every expression has its value.
pub(crate) struct Prepared {
    /// The request to the agent.
    pub request: StartStepRequest,
    /// Globs of its reports, relative to its working directory.
    pub reports: Vec<String>,
}

/// Works out what the instance has to do for a step.
///
/// # Errors
/// In one line for people: an expression has no value, or the step cannot be run.
pub(crate) fn work(turn: &Turn<'_, '_>) -> Result<Work, String> {
    match &turn.step.kind {
        StepKind::Run(run) | StepKind::Background(run) => Ok(Work::Start(Box::new(run::prepare(turn, run)?))),
        StepKind::Plugin(plugin) => Err(turn.in_container(&plugin.container)),
        StepKind::RunTests(_) => Err(turn.not_yet("tests")),
        StepKind::GitClone(_) => Err(turn.not_yet("the clone of a repository")),
        StepKind::BuildImage(_) => Err(turn.not_yet("the build of an image")),
        StepKind::SaveCache(_) | StepKind::RestoreCache(_) => Err(turn.not_yet("caches")),
        StepKind::Upload(_) => Err(turn.not_yet("uploads")),
    }
}

/// A step whose turn has come.
pub(crate) struct Turn<'t, 's> {
    pub stage: &'t StageContext<'s>,
    pub step: &'t Step,
    /// Its id with the number of its iteration.
    pub id: &'t str,
    pub nest: &'t Nest<'t>,
    pub scope: &'t Scope,
}

impl Turn<'_, '_> {
    /// Returns the text of a template.
    fn text(&self, what: &str, template: &Template) -> Result<String, String> {
        let line = self.step.location.line;
        template.render(self.scope).map_err(|e| format!("line {line}: `{what}` has no value: {}", error_chain(&e)))
    }

    fn in_container(&self, container: &kiln_pipeline::plan::Container) -> String {
        match self.text("image", &container.image) {
            Ok(image) => format!("line {}: steps in containers ({image}) cannot be run yet", container.location.line),
            Err(error) => error,
        }
    }

    fn not_yet(&self, what: &str) -> String {
        format!("line {}: {what} cannot be run yet", self.step.location.line)
    }
}
