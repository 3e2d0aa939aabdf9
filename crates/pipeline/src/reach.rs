//! What of a plan can run, as far as that is known before the run: stages that were not asked for cannot, nor can what stands under a
//! condition that facts of the build alone make false, nor kinds of steps that Kiln does not carry out yet.

use crate::condition::matches;
use crate::expr::{Path, Template};
use crate::facts::Facts;
use crate::plan::{Condition, Plan, Stage, StepKind, Store, Variable, When};
use crate::scope::{Book, Place};

/// Most variables that are looked through, each the value of the one before.
const MAX_VARIABLES: usize = 16;

/// Returns whether steps of that kind are carried out. What is not is planned all the same, and refused where it stands.
#[must_use]
pub fn carries_out(kind: &StepKind) -> bool {
    match kind {
        StepKind::Run(_)
        | StepKind::Background(_)
        | StepKind::Plugin(_)
        | StepKind::RunTests(_)
        | StepKind::GitClone(_)
        | StepKind::BuildImage(_)
        | StepKind::SaveCache(_)
        | StepKind::RestoreCache(_) => true,
        StepKind::Upload(upload) => !matches!(upload.store, Store::Artifactory { .. }),
    }
}

/// Tells what of a plan can run.
pub struct Reach<'a> {
    plan: &'a Plan,
    /// Ids of the stages that were asked for; all when empty.
    stages: &'a [String],
    facts: &'a Facts,
    given: &'a [(String, String)],
    book: Book,
}

impl<'a> Reach<'a> {
    /// Returns the reach of a run of these stages (of all when there are none), with these facts and these values for variables.
    #[must_use]
    pub fn new(plan: &'a Plan, stages: &'a [String], facts: &'a Facts, given: &'a [(String, String)]) -> Self {
        Self { plan, stages, facts, given, book: Book::new(plan, facts, given, "", 0) }
    }

    /// Returns whether no stage was left out by whoever asks.
    pub(crate) fn is_whole(&self) -> bool {
        self.stages.is_empty()
    }

    /// Returns whether the caller gave a value by that name.
    pub(crate) fn is_given(&self, path: &str) -> bool {
        self.given.iter().any(|(given, _)| given == path)
    }

    /// Returns whether a stage was asked for.
    #[must_use]
    pub fn is_asked(&self, stage: &Stage) -> bool {
        self.stages.is_empty() || self.stages.contains(&stage.id)
    }

    /// Returns whether a stage can run.
    #[must_use]
    pub fn stage(&self, stage: &Stage) -> bool {
        self.is_asked(stage) && self.item(stage, &stage.when)
    }

    /// Returns whether something in a stage that can run can run itself.
    pub(crate) fn item(&self, stage: &Stage, when: &When) -> bool {
        !when.conditions.iter().any(|condition| match condition {
            Condition::Match(wanted) => !matches(wanted, self.facts.get(&wanted.fact)),
            Condition::Expr(template) => self.is_known(template, stage, 0) && self.is_false(template, stage),
        })
    }

    fn is_false(&self, template: &Template, stage: &Stage) -> bool {
        let place = Place { stage: Some((stage, &stage.id)), ..Place::default() };
        // What has no value fails when its turn has come.
        matches!(template.truthy(&self.book.scope(&place)), Ok(false))
    }

    /// Returns whether a template has the same value whatever happens in the run.
    fn is_known(&self, template: &Template, stage: &Stage, depth: usize) -> bool {
        let is_fixed = |path: &Path| {
            let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
            match segments.as_slice() {
                ["codebase" | "trigger", _, ..] | ["pipeline", "name" | "identifier" | "triggerType"] => true,
                ["pipeline", "variables", name] => self.is_variable_known(&self.plan.variables, name, stage, depth),
                ["stage", "variables", name] => self.is_variable_known(&stage.variables, name, stage, depth),
                _ => false,
            }
        };
        !template.inputs() && template.secrets().is_empty() && template.references().iter().all(is_fixed)
    }

    fn is_variable_known(&self, variables: &[Variable], name: &str, stage: &Stage, depth: usize) -> bool {
        if depth == MAX_VARIABLES || self.given.iter().any(|(given, _)| given.ends_with(name)) {
            return false;
        }
        let variable = variables.iter().find(|variable| variable.name == name);
        variable.is_some_and(|variable| !variable.secret && self.is_known(&variable.value, stage, depth + 1))
    }
}
