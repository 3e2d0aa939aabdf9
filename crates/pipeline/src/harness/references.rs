//! Finds names in expressions that nothing declares, before the run and only where that is certain.
//!
//! The readers note every path that a template refers to and every name that the file declares. Parts of the file that
//! are not run may declare names that are not known, so paths into those are left to the run.

use std::collections::HashMap;
use std::rc::Rc;

use kiln_document::diagnostic::{Diagnostic, Findings, Location, Severity};
use kiln_document::schema::{closest, did_you_mean};

use crate::expr::Template;
use crate::plan::{Strategy, StrategyKind, Variable};

/// Names with which a path in an expression may begin.
const ROOTS: &[&str] = &[
    "pipeline",
    "stage",
    "stages",
    "step",
    "steps",
    "execution",
    "stepGroup",
    "matrix",
    "strategy",
    "repeat",
    "codebase",
    "trigger",
    "env",
    "variable",
    "secrets",
    "account",
    "org",
    "project",
    "infra",
    "service",
    "artifact",
    "artifacts",
    "manifest",
    "input",
    "inputSet",
    "serviceVariables",
    "configFile",
    "fileStore",
    "json",
    "xml",
    "regex",
    "eventPayload",
    "exportedVariables",
    "delegate",
    "lastPublished",
    "rollback",
    "parentStrategy",
    "spec",
    "output",
    "loop",
    "INFRA_KEY",
];

/// Most unknown first names that are compared with the known ones.
const MAX_GUESSES: usize = 1000;

/// Every path that templates refer to, and every name that the file declares.
#[derive(Debug, Default)]
pub(super) struct Uses {
    references: Vec<Reference>,
    pipeline_variables: Vec<String>,
    stages: Vec<StageNames>,
    /// The strategies around the current place.
    around: Around,
}

/// The strategies around a place, innermost first. They are shared: a file can have very many axes and references.
type Around = Option<Rc<Surrounding>>;

#[derive(Debug)]
struct Surrounding {
    /// Names of a matrix's axes; empty for other strategies.
    axes: Vec<String>,
    /// Whether it may have axes beyond the known ones.
    open: bool,
    outer: Around,
}

#[derive(Debug)]
struct Reference {
    path: Vec<String>,
    location: Location,
    stage: Option<usize>,
    around: Around,
}

#[derive(Debug, Default)]
struct StageNames {
    id: String,
    /// Whether nothing is known about its content.
    opaque: bool,
    /// Whether it may have steps beyond the known ones.
    more_steps: bool,
    variables: Vec<String>,
    steps: HashMap<String, StepNames>,
    /// Its own strategy.
    around: Around,
}

#[derive(Debug)]
struct StepNames {
    outputs: Vec<String>,
    /// Whether it may have outputs beyond the known ones.
    opaque: bool,
}

impl Uses {
    /// Notes what a template refers to.
    pub fn add(&mut self, template: &Template, location: &Location) {
        for path in template.references() {
            self.references.push(Reference {
                path: path.segments,
                location: location.clone(),
                stage: self.stages.len().checked_sub(1),
                around: self.around.clone(),
            });
        }
    }

    /// Adds the names of the pipeline's variables.
    pub fn pipeline_variables(&mut self, variables: &[Variable]) {
        self.pipeline_variables = variables.iter().map(|variable| variable.name.clone()).collect();
    }

    /// Begins a stage: what is added from now on is in it.
    pub fn stage(&mut self, id: &str) {
        self.stages.push(StageNames { id: id.to_owned(), ..StageNames::default() });
    }

    /// Notes that the current stage is of a kind whose content is not read.
    pub fn opaque_stage(&mut self) {
        if let Some(stage) = self.stages.last_mut() {
            stage.opaque = true;
        }
    }

    /// Tells whether there was a stage of that name whose content is not read.
    pub fn is_opaque_stage(&self, id: &str) -> bool {
        self.stages.iter().any(|stage| stage.opaque && stage.id == id)
    }

    /// Notes that some steps of the current stage are not written out.
    pub fn opaque_group(&mut self) {
        if let Some(stage) = self.stages.last_mut() {
            stage.more_steps = true;
        }
    }

    /// Adds the names of the current stage's variables.
    pub fn stage_variables(&mut self, variables: &[Variable]) {
        if let Some(stage) = self.stages.last_mut() {
            stage.variables = variables.iter().map(|variable| variable.name.clone()).collect();
        }
    }

    /// Adds a step of the current stage and its outputs.
    pub fn step(&mut self, id: &str, outputs: &[&str], opaque: bool) {
        if let Some(stage) = self.stages.last_mut() {
            let outputs = outputs.iter().map(|&output| output.to_owned()).collect();
            stage.steps.insert(id.to_owned(), StepNames { outputs, opaque });
        }
    }

    /// Begins a strategy: what is added from now on is inside it. Returns what [`Uses::leave`] takes.
    pub fn enter(&mut self, strategy: Option<&Strategy>) -> Outside {
        let outside = Outside(self.around.clone());
        let (axes, open) = match strategy.map(|strategy| &strategy.kind) {
            Some(StrategyKind::Matrix { axes, .. }) => (axes.iter().map(|(name, _)| name.clone()).collect(), false),
            Some(StrategyKind::Input { .. }) => (Vec::new(), true),
            None | Some(StrategyKind::Parallelism(_) | StrategyKind::Times(_) | StrategyKind::Items { .. }) => {
                return outside;
            }
        };
        self.around = Some(Rc::new(Surrounding { axes, open, outer: self.around.take() }));
        outside
    }

    /// Begins the strategy of the current stage, as [`Uses::enter`].
    pub fn enter_stage(&mut self, strategy: Option<&Strategy>) -> Outside {
        let outside = self.enter(strategy);
        if let Some(stage) = self.stages.last_mut() {
            stage.around = self.around.clone();
        }
        outside
    }

    /// Ends the strategy.
    pub fn leave(&mut self, outside: Outside) {
        self.around = outside.0;
    }
}

/// The strategies around a strategy, to return to when it ends.
pub(super) struct Outside(Around);

/// Reports every reference that certainly names nothing.
pub(super) fn check(uses: Uses, findings: &mut Findings) {
    // Names that only the platform knows are no mistakes; guessing what each was meant to be has its price.
    let mut guesses = MAX_GUESSES;
    for reference in &uses.references {
        if findings.is_full(Severity::Invalid) {
            break;
        }
        let path: Vec<&str> = reference.path.iter().map(String::as_str).collect();
        let stage = reference.stage.and_then(|index| uses.stages.get(index));
        let problem = match path.as_slice() {
            ["pipeline", "variables", name, ..] => unknown("variable of the pipeline", name, &uses.pipeline_variables),
            ["pipeline", "stages", id, rest @ ..] => in_stages(&uses, id, rest),
            ["stages", id, rest @ ..] => in_stages(&uses, id, rest),
            ["stage", "variables", name, ..] => stage
                .filter(|stage| !stage.opaque)
                .and_then(|stage| unknown("variable of the stage", name, &stage.variables)),
            ["stage", "spec", "execution", "steps", rest @ ..]
            | ["execution", "steps", rest @ ..]
            | ["steps", rest @ ..] => stage.and_then(|stage| in_steps(stage, rest)),
            ["matrix", name, ..] => in_matrix(name, &reference.around, "no matrix surrounds this place"),
            ["stage", "matrix", name, ..] => stage
                .filter(|stage| !stage.opaque)
                .and_then(|stage| in_matrix(name, &stage.around, "the stage has no matrix")),
            [root, _, ..] if guesses > 0 && !ROOTS.contains(root) => {
                guesses -= 1;
                unknown_root(root)
            }
            _ => None,
        };
        if let Some((message, help)) = problem {
            let message = format!("`<+{}>`: {message}", reference.path.join("."));
            let mut found = Diagnostic::invalid("unknown-name", &reference.location, message);
            found.help = help;
            findings.push(found);
        }
    }
}

type Problem = Option<(String, Option<String>)>;

fn unknown(what: &str, name: &str, known: &[String]) -> Problem {
    if known.iter().any(|other| other == name) {
        return None;
    }
    let help = match known.is_empty() {
        true => Some("declare it under `variables`".to_owned()),
        false => did_you_mean(name, known.iter().map(String::as_str)),
    };
    Some((format!("there is no {what} named `{name}`"), help))
}

fn unknown_root(root: &str) -> Problem {
    let near = closest(root, ROOTS.iter().copied())?;
    Some((format!("there is nothing named `{root}`"), Some(format!("did you mean `{near}`?"))))
}

fn in_matrix(name: &str, around: &Around, none: &str) -> Problem {
    let mut named: Vec<&str> = Vec::new();
    let mut at = around.as_deref();
    while let Some(matrix) = at {
        if matrix.open || matrix.axes.iter().any(|axis| axis == name) {
            return None;
        }
        named.extend(matrix.axes.iter().map(String::as_str));
        at = matrix.outer.as_deref();
    }
    if named.is_empty() {
        return Some((
            none.to_owned(),
            Some("give the step, its group or its stage a `strategy` with `matrix`".to_owned()),
        ));
    }
    Some((format!("the matrix has no axis `{name}`"), did_you_mean(name, named)))
}

fn in_stages(uses: &Uses, id: &str, rest: &[&str]) -> Problem {
    let Some(stage) = uses.stages.iter().find(|stage| stage.id == id) else {
        if uses.stages.iter().any(|stage| is_iteration_of(id, &stage.id)) {
            return None;
        }
        let help = did_you_mean(id, uses.stages.iter().map(|stage| stage.id.as_str()));
        return Some((format!("there is no stage `{id}`"), help));
    };
    match rest {
        _ if stage.opaque => None,
        ["variables", name, ..] => unknown(&format!("variable of the stage `{id}`"), name, &stage.variables),
        ["spec", "execution", "steps", rest @ ..] => in_steps(stage, rest),
        _ => None,
    }
}

fn in_steps(stage: &StageNames, rest: &[&str]) -> Problem {
    let [id, rest @ ..] = rest else { return None };
    if stage.opaque || stage.more_steps {
        return None;
    }
    let Some(step) = stage.steps.get(*id) else {
        if stage.steps.keys().any(|known| is_iteration_of(id, known)) {
            return None;
        }
        let mut known: Vec<&str> = stage.steps.keys().map(String::as_str).collect();
        known.sort_unstable();
        return Some((format!("the stage has no step `{id}`"), did_you_mean(id, known)));
    };
    match rest {
        ["steps", rest @ ..] => in_steps(stage, rest),
        ["output", "outputVariables", name, ..] if !step.opaque => {
            let known = step.outputs.iter().map(String::as_str);
            if step.outputs.iter().any(|output| output == name) {
                return None;
            }
            let help = match step.outputs.is_empty() {
                true => Some(format!("declare it in the step `{id}` under `outputVariables`")),
                false => did_you_mean(name, known),
            };
            Some((format!("the step `{id}` has no output variable `{name}`"), help))
        }
        _ => None,
    }
}

/// Tells whether `id` is a run of `item`'s strategy. Runs have the item's id with something appended: `build_0`.
fn is_iteration_of(id: &str, item: &str) -> bool {
    id.strip_prefix(item).is_some_and(|rest| rest.starts_with('_'))
}
