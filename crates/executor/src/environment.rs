//! The environment variables that say where a step runs.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_pipeline::Dialect;
use kiln_pipeline::drone::{self, Progress};
use kiln_pipeline::expr::Scope;
use kiln_pipeline::plan::{EnvVar, StepNode};
use kiln_pipeline::scope::Place;
use kiln_pipeline::strategy::Iteration;
use kiln_wire::run::{Status, StepReport};

use crate::context::lock;
use crate::kinds::fits;
use crate::stage_context::StageContext;

impl StageContext<'_> {
    /// Returns the variables that steps of either dialect look for. A variable of the file replaces one of the same name. `own` is the
    /// innermost iteration around the step within its stage; whoever splits work looks at that, or at the stage's
    /// (`HARNESS_NODE_INDEX`).
    pub(crate) fn facts(&self, own: Option<&Iteration>) -> BTreeMap<String, String> {
        let run = self.run;
        let facts = &run.facts;
        let index = |iteration: Option<&Iteration>| iteration.map_or(0, |i| i.index).to_string();
        let total = |iteration: Option<&Iteration>| iteration.map_or(1, |i| i.total).to_string();
        let node = own.or(self.iteration);
        let mut out: BTreeMap<String, String> = [
            ("CI", "true"),
            ("KILN", "true"),
            ("KILN_RUN_ID", &run.id),
            ("HARNESS_BUILD_ID", &run.id),
            ("HARNESS_EXECUTION_ID", &run.id),
            ("HARNESS_PIPELINE_ID", &run.plan.id),
            ("HARNESS_STAGE_ID", self.id),
            ("HARNESS_STAGE_NAME", &self.stage.name),
            ("HARNESS_WORKSPACE", &self.stage.workspace_dir),
            ("HARNESS_STAGE_INDEX", &index(self.iteration)),
            ("HARNESS_STAGE_TOTAL", &total(self.iteration)),
            ("HARNESS_STEP_INDEX", &index(own)),
            ("HARNESS_STEP_TOTAL", &total(own)),
            ("HARNESS_NODE_INDEX", &index(node)),
            ("HARNESS_NODE_TOTAL", &total(node)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let build = drone::environment(facts);
        match run.plan.dialect {
            // Harness leaves out what the build does not have.
            Dialect::Harness => out.extend(build.into_iter().filter(|(_, value)| !value.is_empty())),
            Dialect::Drone => {
                out.extend(build);
                out.extend(drone::git_environment(facts));
                out.insert("DRONE_STAGE_NAME".into(), self.stage.name.clone());
                for name in ["DRONE_WORKSPACE", "DRONE_HOME"] {
                    out.insert(name.into(), self.stage.workspace_dir.clone());
                }
            }
        }
        out.extend(self.progress().variables());
        out
    }

    /// Lets `${DRONE_BUILD_STATUS}` and its like stand for what they are now, unless the caller gave them a value.
    pub(crate) fn tell_progress(&self, scope: &mut Scope) {
        if self.run.plan.dialect != Dialect::Drone {
            return;
        }
        for (name, value) in self.progress().variables() {
            let path = format!("drone.{name}");
            if !self.run.options.given.iter().any(|(given, _)| *given == path) {
                scope.set(&["drone", &name], value);
            }
        }
    }

    /// Returns what has happened so far, for a step whose turn has come.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            failed_stages: self.run.failed(),
            failed_steps: self.failed_steps(),
            stage_started_unix_s: unix_s(self.started),
            now_unix_s: unix_s(SystemTime::now()),
        }
    }

    /// Refuses a stage of which a step could not be started for its environment, as far as that is known before the
    /// stage has an instance: what earlier steps of it leave is not.
    ///
    /// # Errors
    /// In one line for people.
    pub(crate) fn environment_fits(&self) -> Result<(), String> {
        let place = Place { stage: Some((self.stage, self.id)), stage_run: self.iteration, ..Place::default() };
        let scope = self.run.scope(&place);
        let known = |list: &[EnvVar], into: &mut BTreeMap<String, String>| {
            let values = list.iter().filter_map(|env| Some((env.name.clone(), env.value.render(&scope).ok()?)));
            into.extend(values);
        };
        let mut shared = self.facts(None);
        known(&self.stage.env, &mut shared);
        let mut open: Vec<&StepNode> = self.stage.steps.nodes.iter().map(|node| &node.item).collect();
        while let Some(node) = open.pop() {
            match node {
                StepNode::Group(group) => open.extend(group.steps.nodes.iter().map(|node| &node.item)),
                StepNode::Step(step) => {
                    let mut own = shared.clone();
                    known(step.kind.env(), &mut own);
                    own.extend(self.run.options.env.iter().cloned());
                    fits(&own).map_err(|why| format!("the step {} cannot be started: {why}", step.name))?;
                }
            }
        }
        Ok(())
    }

    fn failed_steps(&self) -> Vec<String> {
        let failed = |report: &&StepReport| matches!(report.status, Status::Failed | Status::Cancelled);
        lock(&self.steps).iter().filter(failed).map(|report| report.name.clone()).collect()
    }
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
