//! What every step is told about where it runs.

use std::collections::BTreeMap;

use crate::stage_context::StageContext;

impl StageContext<'_> {
    /// The variables that steps of either dialect look for. What the file sets stands over them.
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
        }
        out
    }
}
