//! The instance and the agent that serve a stage, and the answers to callers when they are lost.

use axum::http::StatusCode;
use kiln_agent_client::{Agent, AgentError};
use kiln_pool::{Instance, InstanceId, Stage, StageId, StageState, State};
use kiln_wire::agent::PollStepResponse;

use super::Api;
use super::reply::Refusal;
use crate::over;
use crate::stages::Lost;

/// A stage, the instance that serves it, and that instance's agent.
pub(super) struct Place {
    pub(super) stage: Stage,
    pub(super) instance: Instance,
    pub(super) agent: Agent,
}

/// Returns the answer for a caller that waits for a step whose stage lost its instance.
fn lost_during(lost: &Lost, step: &str) -> Refusal {
    let Lost { stage, instance, cause, .. } = lost;
    let what = format!("step {step} of stage {stage} ended with its instance {instance}");
    match cause {
        Some(cause) => Refusal::new(StatusCode::CONFLICT, format!("{what} ({cause})")).because(cause.clone()),
        None => Refusal::new(StatusCode::CONFLICT, what),
    }
}

fn why(stage: &Stage) -> String {
    stage.why.as_ref().map_or_else(|| "no pass has looked at it yet".to_owned(), ToString::to_string)
}

impl Api {
    /// Returns the place of a stage that is set up.
    ///
    /// # Errors
    /// 404 for an unknown stage, 409 for one that waits, is not prepared or has ended, 503 when the store fails.
    pub(super) async fn place(&self, id: &StageId) -> Result<Place, Refusal> {
        let store = self.engine.store();
        let conflict = |message: String| Refusal::new(StatusCode::CONFLICT, message);
        let Some(stage) = store.stage(id).await? else {
            let message = format!("there is no stage {id}; set it up first");
            return Err(Refusal::new(StatusCode::NOT_FOUND, message));
        };
        match (stage.state, &stage.cause) {
            (StageState::Ended, Some(cause)) => {
                return Err(conflict(format!("stage {id} has ended ({cause})")).because(cause.clone()));
            }
            (StageState::Ended, None) => return Err(conflict(format!("stage {id} has ended"))),
            (StageState::Waiting, _) => {
                return Err(conflict(format!("stage {id} has no instance yet: {}", why(&stage))));
            }
            (StageState::Assigned, _) if !stage.set_up => {
                return Err(conflict(format!("the instance of stage {id} is not prepared yet; wait for its setup")));
            }
            (StageState::Assigned, _) => {}
        }
        let instance = match &stage.instance {
            Some(instance) => store.instance(instance).await?,
            None => None,
        };
        let serves = |row: &Instance| row.state == State::Claimed && row.stage.as_ref() == Some(id);
        match instance {
            Some(instance) if serves(&instance) => {
                let agent = self.agents.agent(&instance)?;
                Ok(Place { stage, instance, agent })
            }
            Some(instance) => {
                let is = format!("instance {} of stage {id} is {}", instance.id, instance.state);
                Err(match instance.cause {
                    Some(cause) => conflict(format!("{is} ({cause})")).because(cause),
                    None => conflict(is),
                })
            }
            None => Err(conflict(format!("the instance of stage {id} has no row any more"))),
        }
    }

    /// Returns an agent's answer. An agent that refuses because its stage is over ends the instance with that cause.
    ///
    /// # Errors
    /// The agent's refusal, or the reason why it did not answer.
    pub(super) fn heard<T>(&self, instance: &InstanceId, answer: Result<T, AgentError>) -> Result<T, Refusal> {
        answer.map_err(|error| match over::cause_in(&error) {
            Some(cause) => {
                self.engine.agent_is_over(instance, cause.clone());
                Refusal::from(error).because(cause)
            }
            None => error.into(),
        })
    }

    /// Returns a step's result, like [`Api::heard`]. A result that says that the stage is over ends the instance with
    /// that cause.
    ///
    /// # Errors
    /// The agent's refusal, or the reason why it did not answer.
    pub(super) fn heard_of_step(
        &self,
        instance: &InstanceId,
        answer: Result<PollStepResponse, AgentError>,
    ) -> Result<PollStepResponse, Refusal> {
        let result = self.heard(instance, answer)?;
        if let Some(cause) = over::cause_of_step(&result) {
            self.engine.agent_is_over(instance, cause);
        }
        Ok(result)
    }

    /// Returns the result of `work`.
    ///
    /// # Errors
    /// The error of `work`, or 409 with the cause when the stage loses its instance first.
    pub(super) async fn while_served<T>(
        &self,
        stage: &StageId,
        instance: &InstanceId,
        step: &str,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let failed = tokio::select! {
            biased;
            done = work => match done {
                Ok(done) => return Ok(done),
                Err(refusal) => refusal,
            },
            lost = self.stages.until_lost(stage, instance) => return Err(lost_during(&lost, step)),
        };
        // An agent usually breaks off because its instance ended, and that is the better answer.
        match self.stages.lost(stage, instance).await {
            Ok(Some(lost)) => Err(lost_during(&lost, step)),
            _ => Err(failed),
        }
    }
}
