//! What a plan needs from the caller before it can run: secrets, and values for `<+input>`.

use kiln_document::diagnostic::Location;

use crate::expr::Template;
use crate::plan::{
    Axis, AxisValue, Condition, EnvVar, Graph, Plan, Run, Step, StepNode, Strategy, StrategyKind, Variable, When,
};

/// One thing that the caller is to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The secret's name, or the path by which [`crate::Options::inputs`] takes the value.
    pub name: String,
    /// Where it is first needed.
    pub location: Location,
}

impl Plan {
    /// Returns the secrets that the plan refers to by name, each once. Names that an expression computes are not known
    /// before the run.
    #[must_use]
    pub fn secrets(&self) -> Vec<Requirement> {
        let mut found: Vec<Requirement> = Vec::new();
        self.visit(&mut |template, at| {
            for name in template.secrets() {
                if !found.iter().any(|other| other.name == name) {
                    found.push(Requirement { name, location: at.location.clone() });
                }
            }
        });
        found
    }

    /// Returns the values that are still to be given: `<+input>`s without a value or a default, where the run needs
    /// one.
    #[must_use]
    pub fn inputs(&self) -> Vec<Requirement> {
        let mut found: Vec<Requirement> = Vec::new();
        self.visit(&mut |template, at| {
            if template.inputs() && !found.iter().any(|other| other.name == at.path) {
                found.push(Requirement { name: at.path.clone(), location: at.location.clone() });
            }
        });
        found
    }

    fn visit(&self, visitor: &mut dyn FnMut(&Template, &At)) {
        let mut walk = Walk { visitor };
        walk.variables(&self.variables, "pipeline");
        for node in &self.stages.nodes {
            let stage = &node.item;
            let path = format!("pipeline.stages.{}", stage.id);
            let at = At { path: path.clone(), location: stage.location.clone() };
            walk.variables(&stage.variables, &path);
            walk.when(&stage.when, &at);
            walk.strategy(stage.strategy.as_ref(), &at);
            // Most of a stage's environment repeats its variables, which have better places.
            let env = stage.env.iter().filter(|env| stage.variables.iter().all(|variable| variable.name != env.name));
            walk.env(env, &at.below("envVariables"));
            walk.graph(&stage.steps, &format!("{path}.spec.execution.steps"));
        }
    }
}

/// A place, by the caller's name for it and in the file.
#[derive(Clone)]
struct At {
    path: String,
    location: Location,
}

impl At {
    fn below(&self, key: &str) -> At {
        At { path: format!("{}.{key}", self.path), location: self.location.clone() }
    }
}

struct Walk<'a> {
    visitor: &'a mut dyn FnMut(&Template, &At),
}

impl Walk<'_> {
    fn one(&mut self, template: &Template, at: &At) {
        (self.visitor)(template, at);
    }

    fn variables(&mut self, variables: &[Variable], path: &str) {
        for variable in variables {
            let at = At { path: format!("{path}.variables.{}", variable.name), location: variable.location.clone() };
            if variable.secret && variable.value.is_literal() && !variable.value.text().is_empty() {
                // The text of a secret variable is the name of a secret.
                self.one(&Template::secret(variable.value.text()), &at);
            }
            self.one(&variable.value, &at);
        }
    }

    fn env<'e>(&mut self, env: impl IntoIterator<Item = &'e EnvVar>, at: &At) {
        for variable in env {
            self.one(&variable.value, &at.below(&variable.name));
        }
    }

    fn when(&mut self, when: &When, at: &At) {
        for condition in &when.conditions {
            if let Condition::Expr(template) = condition {
                self.one(template, &at.below("when.condition"));
            }
        }
    }

    fn strategy(&mut self, strategy: Option<&Strategy>, at: &At) {
        let Some(strategy) = strategy else { return };
        let at = At { path: format!("{}.strategy", at.path), location: strategy.location.clone() };
        match &strategy.kind {
            StrategyKind::Matrix { axes, .. } => {
                for (name, axis) in axes {
                    self.axis(axis, &at.below(&format!("matrix.{name}")));
                }
            }
            StrategyKind::Input { what: "matrix", value } => self.one(value, &at.below("matrix")),
            StrategyKind::Input { value, .. } => self.one(value, &at),
            StrategyKind::Parallelism(count) => self.one(count, &at.below("parallelism")),
            StrategyKind::Times(count) => self.one(count, &at.below("repeat.times")),
            StrategyKind::Items(axis) => self.axis(axis, &at.below("repeat.items")),
        }
    }

    fn axis(&mut self, axis: &Axis, at: &At) {
        match axis {
            Axis::Expr(template) => self.one(template, at),
            Axis::List(values) => values
                .iter()
                .enumerate()
                .for_each(|(index, value)| self.axis_value(value, &at.below(&index.to_string()))),
        }
    }

    fn axis_value(&mut self, value: &AxisValue, at: &At) {
        match value {
            AxisValue::Scalar(template) => self.one(template, at),
            AxisValue::Object(fields) => {
                fields.iter().for_each(|(name, field)| self.axis_value(field, &at.below(name)))
            }
        }
    }

    fn graph(&mut self, graph: &Graph<StepNode>, path: &str) {
        for node in &graph.nodes {
            match &node.item {
                StepNode::Step(step) => self.step(step, path),
                StepNode::Group(group) => {
                    let at = At { path: format!("{path}.{}", group.id), location: group.location.clone() };
                    self.variables(&group.variables, &at.path);
                    self.when(&group.when, &at);
                    self.strategy(group.strategy.as_ref(), &at);
                    self.graph(&group.steps, &format!("{}.steps", at.path));
                }
            }
        }
    }

    fn step(&mut self, step: &Step, path: &str) {
        let at = At { path: format!("{path}.{}", step.id), location: step.location.clone() };
        self.when(&step.when, &at);
        self.strategy(step.strategy.as_ref(), &at);
        self.run(&step.run, &at.below("spec"));
    }

    fn run(&mut self, run: &Run, at: &At) {
        self.one(&run.script, &at.below("command"));
        self.env(&run.env, &at.below("envVariables"));
        if let Some(container) = &run.container {
            self.one(&container.image, &at.below("image"));
            self.env(&container.settings, &at.below("settings"));
        }
        for report in &run.reports {
            self.one(report, &at.below("reports"));
        }
        if let Some(directory) = &run.working_dir {
            self.one(directory, &at.below("workingDirectory"));
        }
    }
}
