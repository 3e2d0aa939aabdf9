//! What the instance has to do for a step of each kind. Nothing else in this crate asks for a step's kind to decide that.
//!
//! ```text
//! StepKind ──work──► Work::Start     a request with which the agent starts a process, and its reports
//!             ├────► Work::Sources   a directory that the working tree is sent to
//!             ├────► Work::Keep      files move between the instance and a store
//!             └────► a message      the kind, or this step of it, cannot be carried out
//! ```
//! Values are worked out here too: what an expression stands for is known when the step's turn has come.

mod build;
mod build_script;
mod checkout;
mod container;
mod credentials;
mod environment;
mod run;
mod shell;
#[cfg(test)]
mod tests;

use kiln_pipeline::expr::{Scope, Template};
use kiln_pipeline::plan::{Step, StepKind};
use kiln_wire::agent::StartStepRequest;

use crate::caches::Keeping;
use crate::fleet::error_chain;
use crate::nest::Nest;
use crate::stage_context::StageContext;

pub use credentials::{Login, logins};
pub use environment::fits;

/// What the instance has to do for a step.
pub(crate) enum Work<'a> {
    /// The agent starts a process and supervises it.
    Start(Box<Prepared>),
    /// The working tree is sent once more.
    Sources {
        /// Where it is put.
        directory: String,
    },
    /// Files move between the instance and a store.
    Keep(Keeping<'a>),
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
pub(crate) fn work<'t>(turn: &Turn<'t, '_>) -> Result<Work<'t>, String> {
    match &turn.step.kind {
        StepKind::Run(run) | StepKind::Background(run) | StepKind::RunTests(run) => start(run::prepare(turn, run)),
        StepKind::Plugin(plugin) => start(run::plugin(turn, plugin)),
        StepKind::GitClone(clone) => checkout::work(turn, clone),
        StepKind::BuildImage(build) => start(build::prepare(turn, build)),
        StepKind::SaveCache(save) => Ok(Work::Keep(Keeping::Save(save))),
        StepKind::RestoreCache(restore) => Ok(Work::Keep(Keeping::Restore(restore))),
        StepKind::Upload(upload) => Ok(Work::Keep(Keeping::Upload(upload))),
    }
}

fn start<'t>(prepared: Result<Prepared, String>) -> Result<Work<'t>, String> {
    prepared.map(|prepared| Work::Start(Box::new(prepared)))
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
}
