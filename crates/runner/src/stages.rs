//! The only way to give a stage an instance whose agent is prepared for it.
//!
//! ```text
//! acquire ─► prepare ─► prepared
//!    ▲          ├─► the agent refuses the request ─► the stage ends: every instance would
//!    └──────────┴─► it cannot be prepared, or its instance goes ─► the next instance, a few times
//! ```

use std::sync::Arc;
use std::time::Duration;

use kiln_agent_client::{Agent, AgentError};
use kiln_engine::{Assigned, Demand, Engine, SetupError, StoreError};
use kiln_pool::{Cause, Code, InstanceId, StageId, StageState, State};
use kiln_wire::agent::SetupRequest;
use tokio::time::Instant;

use crate::agents::{StageAgents, chain};
use crate::over;

/// Default time within which an agent must be prepared for a stage, over all attempts.
pub const PREPARED_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two attempts to prepare an agent.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// Statuses with which an agent refuses a request: bad request, too large, cannot be carried out.
const REFUSALS: [u16; 3] = [400, 413, 422];

/// Prepares stages, with the parts of the runner that this needs.
pub struct Stages {
    engine: Arc<Engine>,
    agents: Arc<dyn StageAgents>,
    prepared_within: Duration,
}

/// A stage's loss of its instance.
#[derive(Debug)]
pub struct Lost {
    /// The stage.
    pub stage: StageId,
    /// The instance that it had.
    pub instance: InstanceId,
    /// The cause of the end of the stage or the instance, if known.
    pub cause: Option<Cause>,
    /// Whether the stage ended with it.
    pub stage_ended: bool,
}

impl Stages {
    /// Creates the preparation of stages on an engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>, agents: Arc<dyn StageAgents>, prepared_within: Duration) -> Self {
        Self { engine, agents, prepared_within }
    }

    /// Returns once the stage has an instance whose agent is prepared. Safe to repeat. The code that answers the
    /// stage's caller then records that with [`Engine::note_set_up`].
    ///
    /// # Errors
    /// When no pool fits, the stage ended, its agent refuses the request, or the store fails.
    pub async fn set_up(&self, demand: &Demand, setup: &SetupRequest) -> Result<Assigned, SetupError> {
        loop {
            let assigned = self.engine.acquire(demand).await?;
            if assigned.stage.set_up {
                return Ok(assigned);
            }
            let id = &assigned.instance.id;
            let prepared = async {
                let agent = self.agents.agent(&assigned.instance)?;
                prepare(&agent, setup, self.prepared_within).await
            };
            let failed = |evidence| Cause::new(Code::SetupFailed, evidence);
            let cause = tokio::select! {
                prepared = prepared => match prepared {
                    Ok(()) => return Ok(assigned),
                    Err(error) if is_fault_of_request(&error) => return Err(self.give_up(demand, id, &error).await?),
                    Err(error) => over::cause_in(&error).unwrap_or_else(|| failed(chain(&error))),
                },
                lost = self.until_lost(&demand.id, id) => {
                    if lost.stage_ended {
                        let cause = lost.cause.unwrap_or_else(|| Cause::new(Code::Destroyed, ""));
                        return Err(SetupError::Ended { id: lost.stage, cause });
                    }
                    // Its instance went away; the stage may get another one.
                    failed("the instance went away while its agent was being prepared".to_owned())
                }
            };
            self.engine.set_up_failed(&demand.id, id, cause).await?;
        }
    }

    /// Ends the stage. Another instance would refuse the request as well, so none is spent on it.
    async fn give_up(&self, demand: &Demand, id: &InstanceId, error: &AgentError) -> Result<SetupError, StoreError> {
        let cause = Cause::new(Code::SetupFailed, format!("the agent of {id} refuses the request: {}", chain(error)));
        self.engine.end_stage(&demand.id, cause.code, &cause.evidence).await?;
        Ok(SetupError::Ended { id: demand.id.clone(), cause })
    }

    /// Returns when an instance no longer serves a stage. The caller has just read that it does, and most calls end
    /// before the first look.
    pub async fn until_lost(&self, stage: &StageId, instance: &InstanceId) -> Lost {
        loop {
            self.engine.stage_moves(stage).await;
            match self.lost(stage, instance).await {
                Ok(Some(lost)) => return lost,
                Ok(None) => {}
                // The caller keeps waiting, because nothing is known to be lost.
                Err(error) => tracing::warn!(%stage, %error, "a stage could not be read"),
            }
        }
    }

    /// Returns how a stage lost its instance, if it did.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lost(&self, stage: &StageId, instance: &InstanceId) -> Result<Option<Lost>, StoreError> {
        let store = self.engine.store();
        let lost = |cause, stage_ended| Lost { stage: stage.clone(), instance: instance.clone(), cause, stage_ended };
        let row = store.stage(stage).await?;
        match row {
            None => return Ok(Some(lost(None, true))),
            Some(row) if row.state == StageState::Ended => return Ok(Some(lost(row.cause, true))),
            Some(row) if row.instance.as_ref() != Some(instance) => return Ok(Some(lost(None, false))),
            Some(_) => {}
        }
        Ok(match store.instance(instance).await? {
            Some(row) if row.state == State::Claimed => None,
            Some(row) => Some(lost(row.cause, false)),
            None => Some(lost(None, false)),
        })
    }
}

/// Returns whether the agent refuses the request, so that every other agent would too.
fn is_fault_of_request(error: &AgentError) -> bool {
    matches!(error, AgentError::Refused { status, .. } if REFUSALS.contains(status))
}

/// Repeats the request until the agent is prepared. An agent that has just started may need some attempts.
async fn prepare(agent: &Agent, setup: &SetupRequest, within: Duration) -> Result<(), AgentError> {
    let deadline = Instant::now() + within;
    loop {
        let error = match agent.setup(setup).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if is_fault_of_request(&error) || error.over().is_some() || Instant::now() + TRY_PAUSE >= deadline {
            return Err(error);
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
}
