//! The one way to give a stage an instance whose agent is prepared for it.
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

/// An agent that is prepared for a stage answers within this, over all tries, if nothing else is set.
pub const PREPARED_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two tries to prepare an agent.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// Statuses of an agent that refuses what is asked of it: bad request, too large, cannot be carried out.
const REFUSALS: [u16; 3] = [400, 413, 422];

/// Stages and what they need of the runner.
pub struct Stages {
    engine: Arc<Engine>,
    agents: Arc<dyn StageAgents>,
    prepared_within: Duration,
}

/// How a stage lost its instance.
#[derive(Debug)]
pub struct Lost {
    /// The stage.
    pub stage: StageId,
    /// The instance that it had.
    pub instance: InstanceId,
    /// Why the stage or the instance ended, where that is known.
    pub cause: Option<Cause>,
    /// Whether the stage ended with it.
    pub stage_ended: bool,
}

impl Stages {
    /// The stages of an engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>, agents: Arc<dyn StageAgents>, prepared_within: Duration) -> Self {
        Self { engine, agents, prepared_within }
    }

    /// Returns when the stage has an instance whose agent is prepared. Safe to repeat. Whoever tells the stage's caller notes
    /// that with [`Engine::note_set_up`].
    ///
    /// # Errors
    /// When no pool would do, the stage ended, its agent refuses the request, or the store failed.
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
                    // Its instance went; the stage may wait for another one.
                    failed("the instance went while its agent was prepared".to_owned())
                }
            };
            self.engine.set_up_failed(&demand.id, id, cause).await?;
        }
    }

    /// Another instance would refuse it as well, so none is spent on that.
    async fn give_up(&self, demand: &Demand, id: &InstanceId, error: &AgentError) -> Result<SetupError, StoreError> {
        let cause = Cause::new(Code::SetupFailed, format!("the agent of {id} refuses the request: {}", chain(error)));
        self.engine.end_stage(&demand.id, cause.code, &cause.evidence).await?;
        Ok(SetupError::Ended { id: demand.id.clone(), cause })
    }

    /// Returns when an instance does not serve a stage any more. That it does now was just read by the caller, and most
    /// calls end before a first look.
    pub async fn until_lost(&self, stage: &StageId, instance: &InstanceId) -> Lost {
        loop {
            self.engine.stage_moves(stage).await;
            match self.lost(stage, instance).await {
                Ok(Some(lost)) => return lost,
                Ok(None) => {}
                // Whoever waits goes on waiting: nothing is known to be lost.
                Err(error) => tracing::warn!(%stage, %error, "a stage could not be looked at"),
            }
        }
    }

    /// How a stage lost its instance, if it did.
    ///
    /// # Errors
    /// When the store failed.
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

/// Whether the agent refuses what is asked of it, so that every other agent would.
fn is_fault_of_request(error: &AgentError) -> bool {
    matches!(error, AgentError::Refused { status, .. } if REFUSALS.contains(status))
}

/// Asks until the agent is prepared; an agent that only just started may need some tries.
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
