//! The environment of a step's process.

use std::collections::BTreeMap;

use kiln_pipeline::environment;
use kiln_pipeline::plan::EnvVar;

use super::Turn;

/// Makes the agent set variables whose value is empty.
const KEEP_EMPTY: &str = "CI_USE_LESS_STRICT_EVALUATION_FOR_MAP_VARS";

impl Turn<'_, '_> {
    /// Returns the facts of the run, the stage's and the step's variables, and the caller's; each replaces those before it.
    pub(super) fn environment<'e>(
        &self,
        own: impl IntoIterator<Item = &'e EnvVar>,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut environment = self.stage.facts(self.nest.runs.last().map(|run| &run.iteration));
        let mut set = |variable: &EnvVar| {
            let value = self.text(&variable.name, &variable.value)?;
            environment.insert(variable.name.clone(), value);
            Ok::<_, String>(())
        };
        self.stage.stage.env.iter().try_for_each(&mut set)?;
        own.into_iter().try_for_each(set)?;
        environment.extend(self.stage.run.options.env.iter().cloned());
        // Without this the agent leaves out variables whose value is empty.
        environment.insert(KEEP_EMPTY.into(), "true".into());
        Ok(environment)
    }
}

/// Refuses an environment that no program can be started with.
pub fn fits(environment: &BTreeMap<String, String>) -> Result<(), String> {
    environment::fits(environment.iter().map(|(name, value)| (name.as_str(), value.len())))
        .map_err(|problem| format!("{problem}: {}", environment::WAY_OUT))
}
