//! The environment variables that say where a step runs.

use std::collections::BTreeMap;

use kiln_pipeline::plan::{EnvVar, StepNode};
use kiln_pipeline::scope::Place;
use kiln_wire::run::{Status, StepReport};

use crate::context::lock;
use crate::request::fits;
use crate::stage_context::StageContext;

impl StageContext<'_> {
    /// Returns the variables that steps of either dialect look for. A variable of the file replaces one of the same name.
    pub(crate) fn facts(&self) -> BTreeMap<String, String> {
        let run = self.run;
        let facts = &run.options.facts;
        let iteration = |pick: fn(&kiln_pipeline::strategy::Iteration) -> u32, otherwise: u32| {
            self.iteration.map_or(otherwise, pick).to_string()
        };
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
            ("HARNESS_STAGE_INDEX", &iteration(|i| i.index, 0)),
            ("HARNESS_STAGE_TOTAL", &iteration(|i| i.total, 1)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        out.extend(kiln_pipeline::drone::environment(facts));
        if run.plan.dialect == kiln_pipeline::Dialect::Drone {
            out.insert("DRONE_STAGE_NAME".into(), self.stage.name.clone());
            out.insert("DRONE_WORKSPACE".into(), self.stage.workspace_dir.clone());
            out.extend(self.failures());
        }
        out
    }

    /// Refuses a stage of which a step could not be started for its environment, as far as that is known before the
    /// stage has an instance: what earlier steps of it leave is not.
    ///
    /// # Errors
    /// In one line for people.
    pub(crate) fn environment_fits(&self) -> Result<(), String> {
        let place = Place { stage: Some((self.stage, self.id)), stage_iteration: self.iteration, ..Place::default() };
        let scope = self.run.scope(&place);
        let known = |list: &[EnvVar], into: &mut BTreeMap<String, String>| {
            let values = list.iter().filter_map(|env| Some((env.name.clone(), env.value.render(&scope).ok()?)));
            into.extend(values);
        };
        let mut shared = self.facts();
        known(&self.stage.env, &mut shared);
        let mut open: Vec<&StepNode> = self.stage.steps.nodes.iter().map(|node| &node.item).collect();
        while let Some(node) = open.pop() {
            match node {
                StepNode::Group(group) => open.extend(group.steps.nodes.iter().map(|node| &node.item)),
                StepNode::Step(step) => {
                    let mut own = shared.clone();
                    known(&step.run.env, &mut own);
                    own.extend(self.run.options.env.iter().cloned());
                    fits(&own).map_err(|why| format!("the step {} cannot be started: {why}", step.name))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the variables that tell a Drone step about failures before it. As in Drone, one failure anywhere sets both statuses.
    fn failures(&self) -> impl Iterator<Item = (String, String)> {
        let (stages, steps) = (self.run.failed(), self.failed_steps());
        let status = if stages.is_empty() && steps.is_empty() { "success" } else { "failure" };
        let statuses = ["DRONE_BUILD_STATUS", "DRONE_STAGE_STATUS"].map(|name| (name.to_owned(), status.to_owned()));
        let lists = [("DRONE_FAILED_STAGES", stages), ("DRONE_FAILED_STEPS", steps)];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        statuses.into_iter().chain(lists.map(|(name, names)| (name.to_owned(), names.join(","))))
    }

    fn failed_steps(&self) -> Vec<String> {
        let failed = |report: &&StepReport| matches!(report.status, Status::Failed | Status::Cancelled);
        lock(&self.steps).iter().filter(failed).map(|report| report.name.clone()).collect()
    }
}
