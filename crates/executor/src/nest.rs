//! What is around a step: groups and iterations.

use std::sync::Arc;

use kiln_pipeline::plan::{FailureStrategy, Group, Variable};
use kiln_pipeline::scope::{Looped, Place};
use kiln_pipeline::strategy::Iteration;

use crate::loops::Siblings;
use crate::stage_context::StageContext;
use crate::walk::End;

/// The groups and iterations around a step.
#[derive(Clone, Default)]
pub(crate) struct Nest<'n> {
    pub(crate) groups: Vec<String>,
    pub(crate) variables: Vec<&'n Variable>,
    pub(crate) runs: Vec<Run<'n>>,
    /// Failure strategies of the groups, innermost first.
    pub(crate) failure: Vec<&'n [FailureStrategy]>,
}

/// A run of a strategy.
#[derive(Clone)]
pub(crate) struct Run<'n> {
    /// Identifier of the step or group that has the strategy.
    pub(crate) id: &'n str,
    /// Whether it is a group.
    pub(crate) group: bool,
    pub(crate) iteration: Iteration,
    /// All runs of the strategy.
    pub(crate) siblings: Arc<Siblings>,
}

impl<'n> Nest<'n> {
    /// Adds a group within those that are there.
    pub(crate) fn enter(&mut self, group: &'n Group, id: String) {
        self.groups.push(id);
        self.variables.extend(&group.variables);
        self.failure.insert(0, &group.failure);
    }

    /// Returns a step's id with those of its groups: `group.step`.
    pub(crate) fn key(&self, id: &str) -> String {
        self.groups.iter().map(String::as_str).chain([id]).collect::<Vec<_>>().join(".")
    }
}

impl StageContext<'_> {
    /// Returns what people call a step or a group there.
    pub(crate) fn name(&self, name: &str, nest: &Nest<'_>, prior: End) -> String {
        self.run.name(name, &self.place(nest, prior), nest.runs.last().map(|run| &run.iteration))
    }

    /// Returns the place of an expression there. `prior` says how the items before it ended.
    pub(crate) fn place<'p>(&'p self, nest: &'p Nest<'_>, prior: End) -> Place<'p> {
        Place {
            stage: Some((self.stage, self.id)),
            groups: nest.groups.clone(),
            variables: nest.variables.clone(),
            step: None,
            stage_run: self.iteration,
            runs: nest.runs.iter().map(|run| Looped { id: run.id, group: run.group, run: &run.iteration }).collect(),
            run_failed: nest.runs.last().map(|run| &*run.siblings).or(self.siblings).is_some_and(Siblings::has_failed),
            failed: prior == End::Failed,
        }
    }
}
