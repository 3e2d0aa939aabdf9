//! Callers' requests: an instance for a stage, and the stage's end.

use kiln_pool::request::{NoMatch, Request};
use kiln_pool::{Cause, Code, Instance, InstanceId, Stage, StageId, StageState, candidates};

use crate::Engine;
use crate::world::StoreError;

/// A stage that wants an instance.
#[derive(Debug, Clone)]
pub struct Demand {
    /// The stage's id. A repeated demand with the same id gets the instance of the first one.
    pub id: StageId,
    /// The stage's requirements.
    pub request: Request,
    /// How long the stage may wait for an instance, in milliseconds.
    pub wait_ms: i64,
    /// How long the stage may keep its instance, in milliseconds; 0 for the pool's own limit.
    pub run_ms: i64,
}

/// A stage with its instance.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// The stage.
    pub stage: Stage,
    /// The instance.
    pub instance: Instance,
}

/// Why a stage has no instance.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No pool can ever serve the stage.
    #[error(transparent)]
    NoMatch(#[from] NoMatch),
    /// The stage has ended.
    #[error("stage {id} has ended ({cause})")]
    Ended {
        /// The stage.
        id: StageId,
        /// The cause of its end.
        cause: Cause,
    },
    /// The store failed. The demand may have been written; asking again with the same id is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Poll interval of a waiting caller for its stage's row, in milliseconds. It bounds the wait when no change is
/// signalled.
const LOOK_EVERY_MS: i64 = 5_000;
/// Most instances that are tried for a stage when their agents cannot be set up.
pub const SETUP_ATTEMPTS: i64 = 3;

impl Engine {
    /// Stores the demand and returns when the stage has an instance. Dropping the future loses nothing: the demand
    /// stays until it is served, has ended, or has run out of time.
    ///
    /// # Errors
    /// When no pool can serve the stage, or the stage has ended.
    pub async fn acquire(&self, demand: &Demand) -> Result<Assigned, SetupError> {
        self.refuse_forestalled(&demand.id)?;
        match self.wait_for_instance(demand).await {
            // A caller is told only what a power cut cannot undo. The rows were visible before, so that the pass went on.
            outcome @ (Ok(_) | Err(SetupError::Ended { .. })) => {
                self.store.flush().await?;
                outcome
            }
            // Nothing was written that such a caller relies on, and a flush that fails too would hide the reason.
            outcome @ Err(SetupError::NoMatch(_) | SetupError::Store(_)) => outcome,
        }
    }

    async fn wait_for_instance(&self, demand: &Demand) -> Result<Assigned, SetupError> {
        // Expected before the row is written, so that no news is missed.
        let mut news = self.waiters.expect(&demand.id);
        let (mut stage, mut instance) = match self.demand_row(demand) {
            Ok(row) => self.store.begin_stage(&row, self.host.now_ms()).await?,
            // A stage that has an instance keeps it even if the pool file no longer has its pool.
            Err(no_match) => self.look(&demand.id).await?.ok_or(no_match)?,
        };
        // An end that came while the row was being written did not find it.
        if let Err(SetupError::Ended { cause, .. }) = self.refuse_forestalled(&demand.id) {
            self.end_stage(&demand.id, cause.code, &cause.evidence).await?;
        }
        if stage.state == StageState::Waiting {
            self.memory().demand = true;
        }
        // The taken instance may need a replacement, or the stage needs a new one.
        self.host.signal();
        loop {
            match (stage.state, instance) {
                (StageState::Ended, _) => {
                    let cause = stage.cause.unwrap_or_else(|| Cause::new(Code::Destroyed, ""));
                    return Err(SetupError::Ended { id: stage.id, cause });
                }
                (StageState::Assigned, Some(instance)) => return Ok(Assigned { stage, instance }),
                _ => {}
            }
            if let Some(Ok(Some(assigned))) = self.within(LOOK_EVERY_MS, &mut news).await {
                return Ok(assigned);
            }
            news = self.waiters.expect(&demand.id);
            let Some(found) = self.look(&demand.id).await? else {
                return Err(SetupError::Ended { id: demand.id.clone(), cause: Cause::new(Code::Destroyed, "") });
            };
            (stage, instance) = found;
        }
    }

    /// Refuses a demand whose stage was ended before the demand arrived.
    fn refuse_forestalled(&self, id: &StageId) -> Result<(), SetupError> {
        match self.memory().forestalled.cause(id, self.host.uptime_ms()) {
            Some(cause) => {
                let evidence = format!("{} before it was set up", cause.evidence);
                Err(SetupError::Ended { id: id.clone(), cause: Cause::new(cause.code, evidence) })
            }
            None => Ok(()),
        }
    }

    /// Returns a future that ends when the stage may have lost its instance, or after some seconds without news. The
    /// caller then reads the stage's row. Changes are noticed from this call on.
    pub fn stage_moves<'a>(&'a self, stage: &StageId) -> impl Future<Output = ()> + Send + 'a {
        let news = self.losers.expect(stage);
        async move { drop(self.within(LOOK_EVERY_MS, news).await) }
    }

    async fn look(&self, id: &StageId) -> Result<Option<(Stage, Option<Instance>)>, StoreError> {
        let Some(stage) = self.store.stage(id).await? else { return Ok(None) };
        let instance = match &stage.instance {
            Some(id) => self.store.instance(id).await?,
            None => None,
        };
        Ok(Some((stage, instance)))
    }

    fn demand_row(&self, demand: &Demand) -> Result<Stage, NoMatch> {
        let config = self.config();
        let candidates = candidates(&config, &demand.request)?;
        let now = self.host.now_ms();
        let busy = config.pools.get(&demand.request.pool).map_or(0, |pool| i64::from(pool.ages.busy_max_age_s) * 1000);
        Ok(Stage {
            id: demand.id.clone(),
            pool: demand.request.pool.clone(),
            candidates,
            account: demand.request.account.clone(),
            state: StageState::Waiting,
            generation: 1,
            instance: None,
            created_ms: now,
            wait_until_ms: now + demand.wait_ms,
            run_ms: if demand.run_ms > 0 { demand.run_ms } else { busy },
            assigned_ms: None,
            set_up: false,
            attempts: 0,
            why: None,
            cause: None,
            ended_ms: None,
        })
    }

    /// Records that a caller has prepared the agent for the stage. Returns whether this call made the change: several
    /// callers may come for the same stage at the same time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_set_up(&self, assigned: &Stage) -> Result<bool, StoreError> {
        let mut known = Some(assigned.clone());
        let awaits =
            |stage: &Stage| stage.state == StageState::Assigned && stage.instance == assigned.instance && !stage.set_up;
        while let Some(stage) = known.filter(awaits) {
            let mut next = stage;
            next.generation += 1;
            next.set_up = true;
            if self.store.update_stage(&next).await? {
                return Ok(true);
            }
            // Another change came first.
            known = self.store.stage(&assigned.id).await?;
        }
        Ok(false)
    }

    /// Ends an instance whose agent could not be prepared, with that cause. The stage then waits for another one, a few
    /// times.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_up_failed(&self, id: &StageId, instance: &InstanceId, cause: Cause) -> Result<(), StoreError> {
        let Some(stage) = self.store.stage(id).await? else { return Ok(()) };
        if stage.state != StageState::Assigned || stage.instance.as_ref() != Some(instance) {
            return Ok(());
        }
        if stage.attempts + 1 >= SETUP_ATTEMPTS {
            return self.end_row(&stage, cause).await.map(drop);
        }
        let mut next = stage;
        next.generation += 1;
        next.attempts += 1;
        (next.state, next.instance, next.assigned_ms) = (StageState::Waiting, None, None);
        if self.store.update_stage(&next).await?
            && let Some(row) = self.store.instance(instance).await?
        {
            // If this call is not reached, the next pass finds an instance whose stage no longer uses it.
            self.terminate(&row, cause).await?;
        }
        self.losers.tell(id, &None);
        self.host.signal();
        Ok(())
    }

    /// Ends a stage durably; its instance follows. Returns whether there was such a stage. If there was none, a demand
    /// with that id is refused for [`FORESTALLED_FOR_MS`](crate::FORESTALLED_FOR_MS).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_stage(&self, id: &StageId, code: Code, evidence: &str) -> Result<bool, StoreError> {
        // Remembered before the row is read, so that a demand that is written meanwhile sees it.
        self.memory().forestalled.remember(id, Cause::new(code, evidence), self.host.uptime_ms());
        loop {
            let Some(stage) = self.store.stage(id).await? else { return Ok(false) };
            if stage.state == StageState::Ended || self.end_row(&stage, Cause::new(code, evidence)).await? {
                self.memory().forestalled.forget(id);
                self.store.flush().await?;
                return Ok(true);
            }
        }
    }
}
