//! Carries out the actions of a plan: changes of rows at once, slow work beside the pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_pool::instance::Batch;
use kiln_pool::plan::{Action, Planned, WaitReason};
use kiln_pool::{Candidate, Cause, Code, Config, Instance, InstanceId, Stage, StageId, State};

use crate::work::Work;
use crate::world::{Limits, StoreError};
use crate::{Assigned, Engine};

impl Engine {
    /// Carries out one action. Does nothing when the row has changed since the plan read it.
    pub(crate) async fn act(
        self: &Arc<Self>,
        step: &Planned,
        config: &Config,
        rows: &BTreeMap<&InstanceId, &Instance>,
        stages: &[Stage],
    ) -> Result<(), StoreError> {
        if !matches!(step.action, Action::Explain { .. }) {
            let (action, instance) = (step.action.name(), step.action.instance().map(InstanceId::as_str));
            tracing::debug!(action, instance, reason = step.reason, "planned");
        }
        let row = |id: &InstanceId, generation: i64| rows.get(id).copied().filter(|row| row.generation == generation);
        let stage = |id: &StageId, generation: i64| {
            stages.iter().find(|stage| stage.id == *id).filter(|stage| stage.generation == generation)
        };
        let work = |work: Work, id: &InstanceId, generation: i64| {
            if let Some(row) = row(id, generation) {
                self.spawn_work(work, vec![row.clone()]);
            }
            Ok(())
        };
        match &step.action {
            Action::Create { candidate, place, count } => {
                self.create(config, candidate, place, *count, &step.reason).await
            }
            Action::Adopt { id, generation } => match row(id, *generation) {
                Some(row) => self.adopt(row, &step.reason).await,
                None => Ok(()),
            },
            Action::Launch { id, generation } => {
                if let Some(row) = row(id, *generation) {
                    self.spawn_work(Work::Launch, batch_of(row, rows));
                }
                Ok(())
            }
            Action::Boot { id, generation } => work(Work::Boot, id, *generation),
            Action::Hibernate { id, generation } => work(Work::Hibernate, id, *generation),
            Action::Resume { id, generation } => work(Work::Resume, id, *generation),
            Action::Destroy { id, generation } => work(Work::Destroy, id, *generation),
            Action::DestroyOrphan { site, id } => {
                self.spawn_orphan(site, id);
                Ok(())
            }
            Action::Terminate { id, generation, cause } => match row(id, *generation) {
                Some(row) => self.end(row, cause).await,
                None => Ok(()),
            },
            Action::Release { id, generation, stage } => match row(id, *generation) {
                Some(row) => self.release(row, stage).await,
                None => Ok(()),
            },
            Action::Assign { id, generation } => match stage(id, *generation) {
                Some(stage) => self.assign(stage).await,
                None => Ok(()),
            },
            Action::EndStage { id, generation, cause } => match stage(id, *generation) {
                Some(stage) => self.end_row(stage, cause.clone()).await.map(drop),
                None => Ok(()),
            },
            Action::LoseStage { id, generation, instance } => match stage(id, *generation) {
                Some(stage) => self.lose_stage(stage, instance).await,
                None => Ok(()),
            },
            Action::Explain { id, generation, why } => match stage(id, *generation) {
                Some(stage) => self.explain(stage, why).await,
                None => Ok(()),
            },
        }
    }

    /// Writes the rows of a batch as intended, then spawns its launch.
    async fn create(
        self: &Arc<Self>,
        config: &Config,
        candidate: &Candidate,
        place: &str,
        count: u32,
        reason: &str,
    ) -> Result<(), StoreError> {
        let Some((pool, flavor)) = config.flavor(&candidate.flavor) else { return Ok(()) };
        let batch = Batch {
            token: self.host.new_token(),
            size: count,
            pool: pool.name.clone(),
            flavor: flavor.key.clone(),
            site: pool.site.clone(),
            place: place.to_owned(),
            image: candidate.image.clone(),
            digest: flavor.launch.digest(),
            runner: self.me.name.clone(),
        };
        let rows = batch.intended(self.host.now_ms());
        let limits = Limits { pool: pool.limit, flavor: flavor.limit };
        if self.store.insert_instances(&rows, limits, reason).await? {
            self.spawn_work(Work::Launch, rows);
        }
        Ok(())
    }

    async fn adopt(&self, row: &Instance, reason: &str) -> Result<(), StoreError> {
        match self.listed_launch(row) {
            Some(launched) => self.launched(row, &launched, reason).await.map(drop),
            None => Ok(()),
        }
    }

    /// Marks an instance as terminating. If it was lost or failed to start, the end of its console is fetched first as
    /// evidence, beside the pass. An instance that could still be claimed is marked at once.
    async fn end(self: &Arc<Self>, row: &Instance, cause: &Cause) -> Result<(), StoreError> {
        if row.state != State::Ready && (cause.is_failed_start() || cause.is_loss()) {
            self.spawn_loss(row.clone(), cause.clone());
            return Ok(());
        }
        self.terminate(row, cause.clone()).await.map(drop)
    }

    async fn release(&self, row: &Instance, stage: &StageId) -> Result<(), StoreError> {
        let ended = self.store.stage(stage).await?;
        let cause = ended.and_then(|stage| stage.cause);
        let cause = cause.unwrap_or_else(|| Cause::new(Code::Destroyed, "its stage has no row any more"));
        self.terminate(row, cause).await.map(drop)
    }

    async fn assign(&self, stage: &Stage) -> Result<(), StoreError> {
        if let Some((stage, instance)) = self.store.claim(stage, self.host.now_ms()).await? {
            let id = stage.id.clone();
            self.waiters.tell(&id, &Some(Assigned { stage, instance }));
            self.host.signal();
        }
        Ok(())
    }

    /// Ends a stage's row and returns whether this call did. The next pass ends its instance.
    pub(crate) async fn end_row(&self, stage: &Stage, cause: Cause) -> Result<bool, StoreError> {
        let Some(next) = stage.ended(cause, self.host.now_ms()) else { return Ok(false) };
        let changed = self.store.update_stage(&next).await?;
        self.waiters.tell(&stage.id, &None);
        self.losers.tell(&stage.id, &None);
        self.host.signal();
        Ok(changed)
    }

    /// Ends a stage whose instance no longer serves it, after reading that instance's row again.
    async fn lose_stage(&self, stage: &Stage, instance: &InstanceId) -> Result<(), StoreError> {
        let row = self.store.instance(instance).await?;
        let cause = match row {
            Some(row) if row.state == State::Claimed => return Ok(()),
            Some(row) => {
                row.cause.unwrap_or_else(|| Cause::new(Code::Died, format!("instance {instance} is {}", row.state)))
            }
            None => Cause::new(Code::Died, format!("instance {instance} has no row any more")),
        };
        self.end_row(stage, cause).await.map(drop)
    }

    async fn explain(&self, stage: &Stage, why: &WaitReason) -> Result<(), StoreError> {
        let mut next = stage.clone();
        next.generation += 1;
        next.why = Some(why.clone());
        self.store.update_stage(&next).await.map(drop)
    }
}

/// Returns the rows of an instance's batch that have not been launched yet.
fn batch_of(row: &Instance, rows: &BTreeMap<&InstanceId, &Instance>) -> Vec<Instance> {
    let same =
        |other: &&&Instance| other.token == row.token && matches!(other.state, State::Intended | State::Launching);
    if row.batch_size == 1 { vec![row.clone()] } else { rows.values().filter(same).map(|row| (*row).clone()).collect() }
}
