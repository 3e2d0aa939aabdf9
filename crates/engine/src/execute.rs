//! How each action is carried out. What is to be done was decided; here it is only done, and its outcome written down.

use std::sync::Arc;

use futures::FutureExt as _;
use kiln_driver::{Driver, DriverError, ErrorClass, Labels, LaunchRequest, Launched};
use kiln_pool::plan::{Action, streak_key};
use kiln_pool::{Candidate, Cause, Code, Config, Instance, InstanceId, Stage, StageId, State};

use crate::world::{Limits, StoreError};
use crate::{Engine, INSTALLATION_LABEL, POOL_LABEL, RUNNER_LABEL, chain};

/// An orphan is not asked again to end within this.
const ORPHAN_PAUSE_MS: i64 = 10_000;
/// The same for one that a listing shows as ended already.
const ENDED_ORPHAN_PAUSE_MS: i64 = 10 * 60_000;
/// A console that is not shown within this is left out of the evidence.
const CONSOLE_WITHIN_MS: i64 = 10_000;

/// An instance is busy while this lives.
struct Busy {
    engine: Arc<Engine>,
    id: InstanceId,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.engine.memory().busy.remove(&self.id);
        // What came of it may lead to the next action.
        self.engine.host.signal();
    }
}

impl Engine {
    /// Writes the intent; the launch itself is the next pass's.
    pub(crate) async fn create(
        self: &Arc<Self>,
        config: &Config,
        candidate: &Candidate,
        reason: &str,
    ) -> Result<(), StoreError> {
        let Some((pool, flavor)) = config.flavor(&candidate.flavor) else { return Ok(()) };
        let now = self.host.now_ms();
        let row = Instance {
            id: self.host.new_instance_id(),
            pool: pool.name.clone(),
            flavor: flavor.key.clone(),
            driver: pool.driver.clone(),
            image: candidate.image.clone(),
            digest: flavor.launch.digest(),
            state: State::Intended,
            generation: 1,
            runner: self.me.name.clone(),
            stage: None,
            created_ms: now,
            since_ms: now,
            ready_ms: None,
            claimed_ms: None,
            deadline_ms: None,
            hold_until_ms: None,
            retry_ms: None,
            attempts: 0,
            address: None,
            server_name: None,
            needs_claim: false,
            cause: None,
        };
        let limits = Limits { pool: pool.limit, flavor: flavor.limit };
        if self.store.insert_instance(&row, limits, reason).await? {
            let (id, generation) = (row.id.clone(), row.generation);
            self.spawn_work(Action::Launch { id, generation }, row);
        }
        Ok(())
    }

    /// Runs the slow work of an action beside the pass, unless something works on that instance already.
    pub(crate) fn spawn_work(self: &Arc<Self>, action: Action, row: Instance) {
        let Some(busy) = self.busy(&row.id) else { return };
        let engine = Arc::clone(self);
        let work = async move {
            let name = action.name();
            let doing = async {
                match action {
                    Action::Launch { .. } => engine.launch(row).await,
                    Action::Boot { .. } => engine.boot(row).await,
                    Action::Hibernate { .. } => engine.hibernate(row).await,
                    Action::Resume { .. } => engine.resume(row).await,
                    _ => engine.destroy(row).await,
                }
            };
            // A call that never returns must not keep its instance from being judged, or ended.
            match engine.within(engine.config().timing.launch_timeout_ms, doing).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(action = name, instance = %busy.id, %error, "the outcome could not be written down");
                }
                None => tracing::warn!(action = name, instance = %busy.id, "no answer came; the next pass goes on"),
            }
            drop(busy);
        };
        self.host.spawn(work.boxed());
    }

    pub(crate) fn spawn_orphan(self: &Arc<Self>, driver: &str, id: &InstanceId, running: bool) {
        let (Some(driver), Some(busy)) = (self.drivers.get(driver).cloned(), self.busy(id)) else { return };
        let work = async move {
            tracing::warn!(instance = %busy.id, "an instance that no row knows is ended");
            let limit = busy.engine.config().timing.launch_timeout_ms;
            let pause = match busy.engine.within(limit, driver.destroy(busy.id.as_str())).await {
                Some(Ok(())) if running => ORPHAN_PAUSE_MS,
                // Some clouds show for an hour what has ended.
                Some(Ok(())) => ENDED_ORPHAN_PAUSE_MS,
                None => {
                    tracing::warn!(instance = %busy.id, "no answer came; the orphan is ended again");
                    ORPHAN_PAUSE_MS
                }
                Some(Err(error)) => {
                    tracing::warn!(instance = %busy.id, %error, "the orphan could not be ended; it is tried again");
                    ORPHAN_PAUSE_MS
                }
            };
            let until = busy.engine.host.uptime_ms() + pause;
            busy.engine.memory().orphans_ms.insert(busy.id.clone(), until);
            drop(busy);
        };
        self.host.spawn(work.boxed());
    }

    fn busy(self: &Arc<Self>, id: &InstanceId) -> Option<Busy> {
        let free = self.memory().busy.insert(id.clone());
        free.then(|| Busy { engine: Arc::clone(self), id: id.clone() })
    }

    fn driver(&self, row: &Instance) -> Option<Arc<dyn Driver>> {
        self.drivers.get(&row.driver).cloned()
    }

    async fn launch(&self, row: Instance) -> Result<(), StoreError> {
        let config = self.config();
        let (Some(driver), Some((pool, flavor))) = (self.driver(&row), config.flavor(&row.flavor)) else {
            return Ok(());
        };
        let Some(mut launching) = row.become_(State::Launching, self.host.now_ms()) else { return Ok(()) };
        launching.runner.clone_from(&self.me.name);
        if !self.store.update_instance(&launching, "the cloud is asked for it").await? {
            return Ok(());
        }
        let labels = Labels::from([
            (INSTALLATION_LABEL.to_owned(), self.installation.clone()),
            (POOL_LABEL.to_owned(), pool.name.clone()),
            (RUNNER_LABEL.to_owned(), self.me.name.clone()),
        ]);
        let request = LaunchRequest {
            id: row.id.to_string(),
            image: row.image.clone(),
            cpus: flavor.launch.cpus,
            memory_mib: flavor.launch.memory_mib,
            disk_gib: flavor.launch.disk_gib,
            labels,
        };
        match driver.launch(&request).await {
            Ok(launched) => self.launched(&launching, &launched, "the cloud made it").await.map(drop),
            Err(error) => self.launch_failed(&launching, &error).await,
        }
    }

    /// Writes down that an instance exists and where its agent is.
    pub(crate) async fn launched(&self, row: &Instance, launched: &Launched, why: &str) -> Result<bool, StoreError> {
        let Some(mut next) = row.become_(State::Booting, self.host.now_ms()) else { return Ok(false) };
        next.runner.clone_from(&self.me.name);
        next.address = Some(launched.agent.to_string());
        next.server_name = Some(launched.server_name.clone());
        next.needs_claim = launched.needs_claim;
        let phases: Vec<String> =
            launched.phases.iter().map(|(name, took)| format!("{name} {} ms", took.as_millis())).collect();
        let why = if phases.is_empty() { why.to_owned() } else { format!("{why} ({})", phases.join(", ")) };
        let changed = self.store.update_instance(&next, &why).await?;
        self.host.signal();
        Ok(changed)
    }

    async fn launch_failed(&self, row: &Instance, error: &DriverError) -> Result<(), StoreError> {
        let text = chain(error);
        match error.class {
            // Whether it was made is not known, or it may be made later: the same id is tried again.
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::Ambiguous => {
                let why = format!("the launch is tried again: {text}");
                self.store.update_instance(&row.failed_once(self.host.now_ms()), &why).await.map(drop)
            }
            ErrorClass::Capacity | ErrorClass::Quota => {
                self.terminate(row, Cause::new(Code::NoRoom, text)).await.map(drop)
            }
            ErrorClass::Auth | ErrorClass::Invalid | ErrorClass::NotFound => {
                self.terminate(row, Cause::new(Code::LaunchFailed, text)).await.map(drop)
            }
        }
    }

    async fn boot(&self, row: Instance) -> Result<(), StoreError> {
        match self.agents.boot(&row).await {
            Ok(()) => {
                let now = self.host.now_ms();
                let Some(mut next) = row.become_(State::Ready, now) else { return Ok(()) };
                next.ready_ms.get_or_insert(now);
                next.server_name = Some(row.id.to_string());
                next.needs_claim = false;
                if self.store.update_instance(&next, "its agent answers under its own name").await? {
                    self.answered(&row.id, now);
                    self.host.signal();
                    self.store.note_start(&streak_key(&row.flavor, &row.image), now, None).await?;
                }
                Ok(())
            }
            Err(why) => {
                let why = format!("its agent does not answer yet: {why}");
                tracing::info!(instance = %row.id, pool = row.pool, why, "an instance is not ready");
                self.store.update_instance(&row.failed_once(self.host.now_ms()), &why).await.map(drop)
            }
        }
    }

    /// Writes down that an instance is to end; whether it was us who did.
    pub(crate) async fn terminate(&self, row: &Instance, mut cause: Cause) -> Result<bool, StoreError> {
        let unexpected =
            cause.is_failed_start() || matches!(cause.code, Code::Died | Code::Vanished | Code::Unreachable);
        if unexpected && let Some(driver) = self.driver(row) {
            // It is worth a moment, and not more: a pass waits for it.
            let limit = self.config().timing.launch_timeout_ms.min(CONSOLE_WITHIN_MS);
            let console = self.within(limit, driver.console_tail(row.id.as_str())).await.unwrap_or_default();
            if !console.is_empty() {
                cause = Cause::new(cause.code, format!("{}\nits console ends with:\n{console}", cause.evidence));
            }
        }
        let now = self.host.now_ms();
        let Some(next) = row.terminating(cause.clone(), now) else { return Ok(false) };
        let changed = self.store.update_instance(&next, &cause.to_string()).await?;
        if changed {
            if unexpected {
                let why = cause.to_string();
                tracing::warn!(instance = %row.id, pool = row.pool, why, "an instance ends that should not");
            }
            if cause.is_failed_start() {
                self.store.note_start(&streak_key(&row.flavor, &row.image), now, Some(&cause)).await?;
            }
            self.host.signal();
        }
        Ok(changed)
    }

    async fn destroy(&self, row: Instance) -> Result<(), StoreError> {
        // A driver that is not configured any more cannot be asked; the row stays until it is again.
        let Some(driver) = self.driver(&row) else {
            let why = format!("there is no driver {} to end it with", row.driver);
            return self.store.update_instance(&row.failed_once(self.host.now_ms()), &why).await.map(drop);
        };
        let now = self.host.now_ms();
        match driver.destroy(row.id.as_str()).await {
            Ok(()) => match row.become_(State::Gone, now) {
                Some(next) => self.store.update_instance(&next, "the cloud ended it").await.map(drop),
                None => Ok(()),
            },
            Err(error) => {
                let why = format!("it could not be ended yet: {}", chain(&error));
                self.store.update_instance(&row.failed_once(now), &why).await.map(drop)
            }
        }
    }

    async fn hibernate(&self, row: Instance) -> Result<(), StoreError> {
        let Some(driver) = self.driver(&row) else { return Ok(()) };
        // Before the cloud is told, so that no stage gets it any more.
        let Some(sleeping) = self.turn(&row, State::Hibernating, "it is put to sleep").await? else { return Ok(()) };
        match driver.hibernate(sleeping.id.as_str()).await {
            Ok(()) => match sleeping.become_(State::Hibernated, self.host.now_ms()) {
                Some(next) => self.store.update_instance(&next, "it sleeps").await.map(drop),
                None => Ok(()),
            },
            Err(error) => self.turn_failed(&sleeping, &error).await,
        }
    }

    async fn resume(&self, row: Instance) -> Result<(), StoreError> {
        let Some(driver) = self.driver(&row) else { return Ok(()) };
        let Some(waking) = self.turn(&row, State::Resuming, "it is woken").await? else { return Ok(()) };
        match driver.resume(waking.id.as_str()).await {
            Ok(launched) => {
                // It kept its identity: its own name, and nothing to claim.
                let launched = Launched { server_name: waking.id.to_string(), needs_claim: false, ..launched };
                self.launched(&waking, &launched, "it woke").await.map(drop)
            }
            Err(error) => self.turn_failed(&waking, &error).await,
        }
    }

    /// Writes down that it is about to fall asleep or to wake, also when that is tried again: a call that follows from a row
    /// that has changed meanwhile would put to sleep what serves a stage by now.
    async fn turn(&self, row: &Instance, state: State, why: &str) -> Result<Option<Instance>, StoreError> {
        let next = if row.state == state {
            Some(Instance { generation: row.generation + 1, ..row.clone() })
        } else {
            row.become_(state, self.host.now_ms())
        };
        let Some(mut next) = next else { return Ok(None) };
        next.runner.clone_from(&self.me.name);
        Ok(self.store.update_instance(&next, why).await?.then_some(next))
    }

    async fn turn_failed(&self, row: &Instance, error: &DriverError) -> Result<(), StoreError> {
        let text = chain(error);
        if matches!(error.class, ErrorClass::Invalid | ErrorClass::NotFound | ErrorClass::Auth) {
            return self.terminate(row, Cause::new(Code::HibernateFailed, text)).await.map(drop);
        }
        self.store.update_instance(&row.failed_once(self.host.now_ms()), &text).await.map(drop)
    }

    pub(crate) async fn release(&self, row: &Instance, stage: &StageId) -> Result<(), StoreError> {
        let ended = self.store.stage(stage).await?;
        let cause = ended.and_then(|stage| stage.cause);
        let cause = cause.unwrap_or_else(|| Cause::new(Code::Destroyed, "its stage has no row any more"));
        self.terminate(row, cause).await.map(drop)
    }

    pub(crate) async fn assign(&self, stage: &Stage) -> Result<(), StoreError> {
        if self.store.claim(stage, self.host.now_ms()).await?.is_some() {
            self.host.signal();
        }
        Ok(())
    }

    /// Ends a stage's row; whether it was us who did. Its instance follows with the next pass.
    pub(crate) async fn end_row(&self, stage: &Stage, cause: Cause) -> Result<bool, StoreError> {
        let Some(next) = stage.ended(cause, self.host.now_ms()) else { return Ok(false) };
        let changed = self.store.update_stage(&next).await?;
        self.host.signal();
        Ok(changed)
    }

    /// Ends a stage whose instance does not serve it any more, after making sure of that.
    pub(crate) async fn lose_stage(&self, stage: &Stage, instance: &InstanceId) -> Result<(), StoreError> {
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

    pub(crate) async fn explain(&self, stage: &Stage, why: &str) -> Result<(), StoreError> {
        let mut next = stage.clone();
        next.generation += 1;
        why.clone_into(&mut next.why);
        self.store.update_stage(&next).await.map(drop)
    }
}
