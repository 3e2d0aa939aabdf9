//! What is around a step: groups and iterations.

use kiln_pipeline::plan::{FailureStrategy, Group, Variable};
use kiln_pipeline::scope::Place;
use kiln_pipeline::strategy::Iteration;

use crate::stage_context::StageContext;
use crate::walk::End;

/// The groups and iterations around a step.
#[derive(Clone, Default)]
pub(crate) struct Nest<'n> {
    pub(crate) groups: Vec<String>,
    pub(crate) variables: Vec<&'n Variable>,
    pub(crate) iterations: Vec<Iteration>,
    /// Failure strategies of the groups, innermost first.
    pub(crate) failure: Vec<&'n [FailureStrategy]>,
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
        self.run.name(name, &self.place(nest, prior), nest.iterations.last())
    }

    /// Returns the place of an expression there. `prior` says how the items before it ended.
    pub(crate) fn place<'p>(&'p self, nest: &'p Nest<'_>, prior: End) -> Place<'p> {
        Place {
            stage: Some((self.stage, self.id)),
            groups: nest.groups.clone(),
            variables: nest.variables.clone(),
            step: None,
            stage_iteration: self.iteration,
            iterations: nest.iterations.iter().collect(),
            failed: prior == End::Failed,
        }
    }
}
