//! Where a stage's steps run, and whether that is still so.

use axum::http::StatusCode;
use kiln_agent_client::Agent;
use kiln_engine::Waiter;
use kiln_pool::{Cause, Instance, InstanceId, Stage, StageId, StageState, State};

use super::Api;
use super::reply::Refusal;

/// Without a signal, the rows of a stage that somebody waits for are looked at this often,
const LOOK_EVERY_MS: i64 = 1_000;
/// and with signals not more often than this,
const PAUSE_MIN_MS: i64 = 200;
/// nor, when many wait, than all of them about a thousand times in a second together.
const PAUSE_MAX_MS: i64 = 5_000;

/// A stage, the instance that serves it, and that instance's agent.
pub(super) struct Place {
    pub(super) stage: Stage,
    pub(super) instance: Instance,
    pub(super) agent: Agent,
}

/// How a stage lost its instance.
#[derive(Debug)]
pub(super) struct Lost {
    stage: StageId,
    instance: InstanceId,
    cause: Option<Cause>,
    stage_ended: bool,
}

impl Lost {
    /// As an answer to somebody who waits for a step.
    pub(super) fn during(&self, step: &str) -> Refusal {
        let Self { stage, instance, .. } = self;
        self.refusal(format!("step {step} of stage {stage} ended with its instance {instance}"))
    }

    /// As an answer to somebody who waits for the stage, if that ended too.
    pub(super) fn ended(&self) -> Option<Refusal> {
        self.stage_ended.then(|| self.refusal(format!("stage {} has ended", self.stage)))
    }

    fn refusal(&self, what: String) -> Refusal {
        match &self.cause {
            Some(cause) => Refusal::new(StatusCode::CONFLICT, format!("{what} ({cause})")).because(cause.clone()),
            None => Refusal::new(StatusCode::CONFLICT, what),
        }
    }
}

impl Api {
    /// The place of a stage that is set up.
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
                return Err(conflict(format!("stage {id} has no instance yet: {}", stage.why)));
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
            None => Err(conflict(format!("the instance of stage {id} is forgotten"))),
        }
    }

    /// Returns when an instance does not serve a stage any more. That it does now was just read by the caller, and most
    /// calls end before a first look.
    pub(super) async fn until_lost(&self, stage: &StageId, instance: &InstanceId) -> Lost {
        let watcher = Waiter::new(&self.watchers);
        loop {
            self.host.wait(u64::MAX, watcher.pause_ms(PAUSE_MIN_MS, PAUSE_MAX_MS)).await;
            let seen = self.host.signals();
            match self.lost(stage, instance).await {
                Ok(Some(lost)) => return lost,
                Ok(None) => {}
                // Whoever waits goes on waiting: nothing is known to be lost.
                Err(error) => tracing::warn!(%stage, %error, "a stage could not be looked at"),
            }
            self.host.wait(seen, LOOK_EVERY_MS).await;
        }
    }

    async fn lost(&self, stage: &StageId, instance: &InstanceId) -> Result<Option<Lost>, kiln_engine::StoreError> {
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

    /// What `work` gives, unless the stage loses its instance before.
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
            lost = self.until_lost(stage, instance) => return Err(lost.during(step)),
        };
        // An agent that breaks off usually does because its instance ended, and that says more.
        match self.lost(stage, instance).await {
            Ok(Some(lost)) => Err(lost.during(step)),
            _ => Err(failed),
        }
    }
}
