//! What expressions see: the plan's own names, the caller's values, and what has happened so far.
//!
//! ```text
//! Book ──record_step, record_stage──► Book        (grows while the run goes on)
//!   └──scope(Place)──► expr::Scope                (what one stage or step sees)
//! ```

use crate::expr::{Map, Scope, Template, Value};
use crate::facts::Facts;
use crate::plan::{Dialect, Plan, Stage, Variable};
use crate::strategy::Iteration;

/// Returns the value of a secret, or none when it is not known.
type Secrets = std::sync::Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Everything that expressions may ever see, and what has been recorded so far.
#[derive(Clone)]
pub struct Book {
    root: Value,
    secrets: Secrets,
}

/// Where an expression stands.
#[derive(Clone, Default)]
pub struct Place<'a> {
    /// The stage and its id with its iteration.
    pub stage: Option<(&'a Stage, &'a str)>,
    /// Ids of the groups around it, outermost first.
    pub groups: Vec<String>,
    /// Variables of those groups.
    pub variables: Vec<&'a Variable>,
    /// Id and name of the step.
    pub step: Option<(&'a str, &'a str)>,
    /// The run of the stage's own strategy.
    pub stage_run: Option<&'a Iteration>,
    /// The runs of the strategies within the stage around it, outermost first.
    pub runs: Vec<Looped<'a>>,
    /// Whether another run of the innermost strategy has failed.
    pub run_failed: bool,
    /// Whether something before it has failed.
    pub failed: bool,
}

/// A run of a strategy within a stage.
#[derive(Debug, Clone, Copy)]
pub struct Looped<'a> {
    /// Identifier of the step or group that has the strategy.
    pub id: &'a str,
    /// Whether it is a group.
    pub group: bool,
    /// The run.
    pub run: &'a Iteration,
}

/// How an item ended, in the words of `<+stage.status>`.
pub const SUCCEEDED: &str = "SUCCEEDED";
/// It failed.
pub const FAILED: &str = "FAILED";
/// It was skipped.
pub const SKIPPED: &str = "SKIPPED";
/// It failed, and that was ignored.
pub const IGNORE_FAILED: &str = "IGNORE_FAILED";
/// It was ended before its own end.
pub const ABORTED: &str = "ABORTED";

impl Book {
    /// Returns the book of a plan before anything ran. `given` are the caller's values for variables (`name`) and for
    /// other places (`pipeline.variables.name`, `codebase.tag`); `run_id` and `started_unix_ms` tell this run from
    /// others.
    #[must_use]
    pub fn new(plan: &Plan, facts: &Facts, given: &[(String, String)], run_id: &str, started_unix_ms: i64) -> Self {
        let mut root = Value::Map(Map::new());
        root.set(&["pipeline", "name"], plan.name.as_str());
        root.set(&["pipeline", "identifier"], plan.id.as_str());
        root.set(&["pipeline", "executionId"], run_id);
        root.set(&["pipeline", "sequenceId"], number_or(facts.get("build_number"), 1.0));
        root.set(&["pipeline", "startTs"], started_unix_ms as f64);
        root.set(&["pipeline", "variables"], variables(&plan.variables));
        for node in &plan.stages.nodes {
            describe_stage(&mut root, &node.item, &node.item.id);
        }
        describe_codebase(&mut root, facts);
        if plan.dialect == Dialect::Drone {
            let build: Map = crate::drone::environment(facts).into_iter().collect();
            root.set(&["drone"], build);
        }
        for (path, value) in given {
            let segments: Vec<&str> = path.split('.').collect();
            match segments.as_slice() {
                [name] => root.set(&["pipeline", "variables", name], value.as_str()),
                segments => root.set(segments, value.as_str()),
            }
        }
        Self { root, secrets: std::sync::Arc::new(|_| None) }
    }

    /// Gives the book its secrets.
    #[must_use]
    pub fn with_secrets(mut self, secrets: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.secrets = std::sync::Arc::new(secrets);
        self
    }

    /// Makes an iteration of a stage known under its own id.
    pub fn describe_stage(&mut self, stage: &Stage, id: &str) {
        if self.root.get(&["pipeline", "stages", id]).is_none() {
            describe_stage(&mut self.root, stage, id);
        }
    }

    /// Records a stage's end.
    pub fn record_stage(&mut self, id: &str, status: &str) {
        for field in ["status", "currentStatus"] {
            self.root.set(&["pipeline", "stages", id, field], status);
        }
    }

    /// Records a step's end and what it left behind.
    pub fn record_step(
        &mut self,
        stage: &str,
        groups: &[String],
        step: &str,
        outputs: &[(String, String)],
        status: &str,
    ) {
        let mut path = vec!["pipeline", "stages", stage, "spec", "execution"];
        for group in groups {
            path.extend(["steps", group.as_str()]);
        }
        path.extend(["steps", step]);
        let mut at = |fields: &[&str], value: Value| {
            let whole: Vec<&str> = path.iter().chain(fields).copied().collect();
            self.root.set(&whole, value);
        };
        at(&["status"], status.into());
        at(&["identifier"], step.into());
        let outputs: Map = outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        at(&["output", "outputVariables"], outputs.into());
    }

    /// Returns what an expression at that place sees.
    #[must_use]
    pub fn scope(&self, place: &Place<'_>) -> Scope {
        let mut root = self.root.clone();
        let now = if place.failed { FAILED } else { SUCCEEDED };
        root.set(&["pipeline", "currentStatus"], now);
        if let Some((stage, id)) = place.stage {
            let mut own = root.get(&["pipeline", "stages", id]).cloned().unwrap_or_default();
            own.set(&["currentStatus"], now);
            let steps = own.get(&["spec", "execution", "steps"]).cloned().unwrap_or_else(|| Map::new().into());
            root.set(&["execution", "steps"], steps.clone());
            root.set(&["steps"], steps_here(&steps, &place.groups));
            for variable in &stage.env {
                root.set(&["env", &variable.name], variable.value.clone());
            }
            root.set(&["stage"], own);
        }
        for variable in &place.variables {
            root.set(&["stepGroup", "variables", &variable.name], declared(variable));
        }
        if let Some(group) = place.groups.last() {
            root.set(&["stepGroup", "identifier"], group.as_str());
        }
        if let Some((id, name)) = place.step {
            root.set(&["step", "identifier"], id);
            root.set(&["step", "name"], name);
        }
        if let (Some(run), Some((stage, _))) = (place.stage_run, place.stage) {
            describe_run(&mut root, run, "stage", &stage.id);
        }
        for Looped { id, group, run } in &place.runs {
            // What is in a group is named as a step's too.
            if *group {
                describe_run(&mut root, run, "stepGroup", id);
            }
            describe_run(&mut root, run, "step", id);
        }
        if place.stage_run.is_some() || !place.runs.is_empty() {
            root.set(&["strategy", "currentStatus"], if place.run_failed { "FAILED" } else { "RUNNING" });
        }
        let secrets = std::sync::Arc::clone(&self.secrets);
        Scope::new(root).with_secrets(move |name| secrets(name))
    }
}

/// Returns the steps that can be named by their id alone, those of the surrounding groups included. Of two with one id,
/// the nearer is taken.
fn steps_here(steps: &Value, groups: &[String]) -> Value {
    let mut seen = steps.clone();
    let mut level = steps;
    for group in groups {
        let Some(inner) = level.get(&[group.as_str(), "steps"]) else { break };
        if let Value::Map(inner) = inner {
            for (id, step) in inner.iter() {
                seen.set(&[id], step.clone());
            }
        }
        level = inner;
    }
    seen
}

fn describe_stage(root: &mut Value, stage: &Stage, id: &str) {
    let mut own = Value::Map(Map::new());
    own.set(&["identifier"], id);
    own.set(&["name"], stage.name.as_str());
    own.set(&["type"], "CI");
    own.set(&["variables"], variables(&stage.variables));
    own.set(&["spec", "execution", "steps"], Map::new());
    root.set(&["pipeline", "stages", id], own);
}

fn describe_codebase(root: &mut Value, facts: &Facts) {
    let commit = facts.get("commit");
    let tag = facts.get("tag");
    let kind = if tag.is_empty() { "branch" } else { "tag" };
    let short: String = commit.chars().take(7).collect();
    let fields = [
        ("branch", facts.get("branch")),
        ("sourceBranch", facts.get("branch")),
        ("targetBranch", facts.get("target")),
        ("commitSha", commit),
        ("shortCommitSha", short.as_str()),
        ("commitMessage", facts.get("message")),
        ("commitRef", facts.get("ref")),
        ("repoUrl", facts.get("remote_url")),
        ("gitUserId", facts.get("author")),
        ("gitUser", facts.get("author")),
        ("tag", tag),
        ("prNumber", ""),
        ("prTitle", ""),
    ];
    for (name, value) in fields {
        // A fact that is not known is null, so that conditions on it can be asked.
        root.set(&["codebase", name], Some(value).filter(|v| !v.is_empty()));
    }
    root.set(&["codebase", "build", "type"], kind);
    for name in ["branch", "targetBranch", "sourceBranch", "commitSha", "tag"] {
        let value = root.get(&["codebase", name]).cloned();
        root.set(&["trigger", name], value);
    }
    root.set(&["trigger", "type"], "Manual");
    root.set(&["pipeline", "triggerType"], "MANUAL");
}

/// Describes a run of the strategy of the item `id`, which is a `stage`, a `stepGroup` or a `step`. Names without a level are
/// those of the innermost strategy that has them: an axis of the stage can be named in a step that has a matrix of its own.
fn describe_run(root: &mut Value, run: &Iteration, level: &str, id: &str) {
    let anywhere: [&[&str]; 4] = [&["strategy"], &[level, "strategy"], &["strategy", "node", id], &[level]];
    let mut set = |at: &[&str], fields: &[&str], value: Value| {
        let whole: Vec<&str> = at.iter().chain(fields).copied().collect();
        root.set(&whole, value);
    };
    for at in anywhere.into_iter().chain([&[] as &[&str]]) {
        run.matrix.iter().for_each(|(axis, value)| set(at, &["matrix", axis], value.clone()));
        for (field, value) in [("item", &run.item), ("partition", &run.partition)] {
            if *value != Value::Null {
                set(at, &["repeat", field], value.clone());
            }
        }
    }
    for at in anywhere {
        set(at, &["iteration"], run.index.into());
        set(at, &["iterations"], run.total.into());
        set(at, &["totalIterations"], run.total.into());
        set(at, &["identifierPostFix"], run.postfix.as_str().into());
    }
}

fn variables(list: &[Variable]) -> Value {
    list.iter().map(|variable| (variable.name.as_str(), declared(variable))).collect::<Map>().into()
}

/// Returns the value of a declared variable. The text of a secret one is the name of a secret, unless it is an
/// expression.
fn declared(variable: &Variable) -> Value {
    let names_a_secret = variable.secret && variable.value.is_literal() && !variable.value.text().is_empty();
    if names_a_secret { Template::secret(variable.value.text()).into() } else { variable.value.clone().into() }
}

fn number_or(text: &str, otherwise: f64) -> f64 {
    text.parse().unwrap_or(otherwise)
}
