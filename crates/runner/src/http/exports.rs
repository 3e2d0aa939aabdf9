//! The environment that a stage's steps pass to later ones.
//!
//! The agent keeps each step's result until the stage ends, so it is read from there, even by a restarted runner.
//! Results that were read are remembered. With an agent that cannot list its steps (lite-engine), only the memory is
//! used.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_agent_client::{Agent, AgentError};
use kiln_pool::InstanceId;
use kiln_wire::agent::kiln::StepState;

/// Greatest number of instances whose steps are remembered.
const KEPT: usize = 20_000;
/// Time limit for a result that the agent already has.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Status of a missing route.
const NOT_FOUND: u16 = 404;

type Environment = BTreeMap<String, String>;

/// The steps of each instance and their exported variables, in the order in which they ended.
#[derive(Default)]
pub(super) struct Exports {
    kept: Mutex<HashMap<InstanceId, Vec<(String, Environment)>>>,
}

impl Exports {
    /// Remembers the variables that a step exported.
    pub(super) fn note(&self, instance: &InstanceId, step: &str, envs: &Environment) {
        let mut kept = self.kept();
        if kept.len() >= KEPT && !kept.contains_key(instance) {
            kept.clear();
        }
        let steps = kept.entry(instance.clone()).or_default();
        if !steps.iter().any(|(known, _)| known == step) {
            steps.push((step.to_owned(), envs.clone()));
        }
    }

    /// Forgets an instance that ended.
    pub(super) fn forget(&self, instance: &InstanceId) {
        self.kept().remove(instance);
    }

    /// Returns the variables for a step that starts now. Where two steps exported the same variable, the later one
    /// wins.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub(super) async fn so_far(&self, instance: &InstanceId, agent: &Agent) -> Result<Environment, AgentError> {
        let steps = match agent.steps().await {
            Ok(list) => list.steps,
            Err(AgentError::Refused { status: NOT_FOUND, .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut ended: Vec<_> = steps.into_iter().filter(|step| step.state == StepState::Ended).collect();
        ended.sort_by_key(|step| step.ended_unix_ms);
        for step in ended {
            let known = self.kept().get(instance).is_some_and(|steps| steps.iter().any(|(id, _)| *id == step.id));
            if !known {
                let result = agent.poll_step(&step.id, TOLD_WITHIN).await?;
                self.note(instance, &step.id, &result.envs);
            }
        }
        let kept = self.kept();
        Ok(kept.get(instance).into_iter().flatten().flat_map(|(_, envs)| envs.clone()).collect())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<InstanceId, Vec<(String, Environment)>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
