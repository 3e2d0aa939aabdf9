//! Carries out the slow work of actions beside the passes, and writes down the outcome. It decides nothing.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::join_all;
use kiln_driver::{DriverError, ErrorClass, Labels, LaunchRequest, Launched};
use kiln_pool::plan::{room_key, streak_key, streak_of};
use kiln_pool::{Cause, Code, Instance, InstanceId, SiteId, State};

use crate::world::StoreError;
use crate::{Engine, INSTALLATION_LABEL, POOL_LABEL, RUNNER_LABEL, chain};

/// Pause before an orphan is told to end again, in milliseconds.
const ORPHAN_PAUSE_MS: i64 = 10_000;
/// Pause after work whose outcome could not be written, in milliseconds. Its row still says that nobody has tried.
const UNWRITTEN_PAUSE_MS: i64 = 5_000;
/// Longest wait for the console of an instance, in milliseconds. After it the evidence has no console text.
const CONSOLE_WITHIN_MS: i64 = 10_000;

/// Slow work on instances that have rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Asks the site for the instance and the others of its batch.
    Launch,
    /// Finds the instance's agent, gives it its identity and lets it prove that it can run steps.
    Boot,
    /// Puts the instance to sleep.
    Hibernate,
    /// Wakes the instance.
    Resume,
    /// Ends the instance at its site.
    Destroy,
}

/// Keeps instances marked as busy until it is dropped.
struct Busy {
    engine: Arc<Engine>,
    ids: Vec<InstanceId>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut memory = self.engine.memory();
        memory.busy.retain(|id| !self.ids.contains(id));
        drop(memory);
        // The outcome may lead to the next action.
        self.engine.host.signal();
    }
}

impl Engine {
    /// Spawns slow work, unless other work on one of the instances is under way. Only a launch has several instances.
    pub(crate) fn spawn_work(self: &Arc<Self>, work: Work, rows: Vec<Instance>) {
        let Some(busy) = self.busy(rows.iter().map(|row| row.id.clone()).collect()) else { return };
        let engine = Arc::clone(self);
        let working = async move {
            // A call that never returns must not keep its instance from being judged or ended.
            match engine.within(engine.config().timing.launch_timeout_ms, engine.work(work, rows)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(?work, instances = ?busy.ids, %error, "the outcome could not be written");
                    let until = engine.host.uptime_ms() + UNWRITTEN_PAUSE_MS;
                    engine.memory().resting_ms.extend(busy.ids.iter().map(|id| (id.clone(), until)));
                }
                None => tracing::warn!(?work, instances = ?busy.ids, "no answer; the next pass continues"),
            }
            drop(busy);
        };
        self.host.spawn(working.boxed());
    }

    async fn work(&self, work: Work, rows: Vec<Instance>) -> Result<(), StoreError> {
        if work == Work::Launch {
            return self.launch(rows).await;
        }
        self.store.flush().await?;
        let each = rows.into_iter().map(|row| async move {
            match work {
                Work::Launch => Ok(()),
                Work::Boot => self.boot(row).await,
                Work::Hibernate => self.hibernate(row).await,
                Work::Resume => self.resume(row).await,
                Work::Destroy => self.destroy(row).await,
            }
        });
        join_all(each).await.into_iter().collect()
    }

    /// Spawns the end of an instance's row, with the end of its console as evidence.
    pub(crate) fn spawn_loss(self: &Arc<Self>, row: Instance, cause: Cause) {
        let Some(busy) = self.busy(vec![row.id.clone()]) else { return };
        let engine = Arc::clone(self);
        let working = async move {
            let cause = engine.with_console(&row, cause).await;
            if let Err(error) = engine.terminate(&row, cause).await {
                tracing::warn!(instance = %row.id, %error, "its end could not be written; the next pass continues");
            }
            drop(busy);
        };
        self.host.spawn(working.boxed());
    }

    async fn with_console(&self, row: &Instance, cause: Cause) -> Cause {
        let Some(driver) = self.driver_of(&row.site) else { return cause };
        let limit = self.config().timing.launch_timeout_ms.min(CONSOLE_WITHIN_MS);
        let console = self.within(limit, driver.console_tail(row.id.as_str())).await.unwrap_or_default();
        if console.is_empty() || cause.evidence.contains(&console) {
            return cause;
        }
        Cause::new(cause.code, format!("{}\nits console ends with:\n{console}", cause.evidence))
    }

    pub(crate) fn spawn_orphan(self: &Arc<Self>, site: &SiteId, id: &InstanceId) {
        let (Some(driver), Some(busy)) = (self.driver_of(site), self.busy(vec![id.clone()])) else { return };
        let id = id.clone();
        let working = async move {
            tracing::warn!(instance = %id, "an instance without a row is ended");
            let limit = busy.engine.config().timing.launch_timeout_ms;
            match busy.engine.within(limit, driver.destroy(id.as_str())).await {
                Some(Ok(())) => {}
                None => tracing::warn!(instance = %id, "no answer; the orphan is ended again"),
                Some(Err(error)) => {
                    tracing::warn!(instance = %id, %error, "the orphan could not be ended; another attempt follows");
                }
            }
            let until = busy.engine.host.uptime_ms() + ORPHAN_PAUSE_MS;
            busy.engine.memory().resting_ms.insert(id, until);
            drop(busy);
        };
        self.host.spawn(working.boxed());
    }

    fn busy(self: &Arc<Self>, ids: Vec<InstanceId>) -> Option<Busy> {
        let mut memory = self.memory();
        if ids.iter().any(|id| memory.busy.contains(id)) {
            return None;
        }
        memory.busy.extend(ids.iter().cloned());
        drop(memory);
        Some(Busy { engine: Arc::clone(self), ids })
    }

    /// Asks a site for the instances of one batch.
    async fn launch(&self, rows: Vec<Instance>) -> Result<(), StoreError> {
        let config = self.config();
        let Some(first) = rows.first() else { return Ok(()) };
        let (Some(driver), Some((pool, flavor))) = (self.driver_of(&first.site), config.flavor(&first.flavor)) else {
            return Ok(());
        };
        let request = LaunchRequest {
            token: first.token.clone(),
            count: first.batch_size,
            place: first.place.clone(),
            image: first.image.clone(),
            cpus: flavor.launch.cpus,
            memory_mib: flavor.launch.memory_mib,
            disk_gib: flavor.launch.disk_gib,
            spec: flavor.launch.spec.clone(),
            network: flavor.launch.network.clone(),
            labels: Labels::from([
                (INSTALLATION_LABEL.to_owned(), self.installation.clone()),
                (POOL_LABEL.to_owned(), pool.name.clone()),
                (RUNNER_LABEL.to_owned(), self.me.name.clone()),
            ]),
        };
        let launching = join_all(rows.iter().map(|row| self.launching(row))).await;
        let launching: Vec<Instance> =
            launching.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        if launching.is_empty() {
            return Ok(());
        }
        self.store.flush().await?;
        let outcome = driver.launch(&request).await;
        let written = join_all(launching.iter().map(|row| self.launch_ended(row, &outcome))).await;
        if matches!(&outcome, Err(error) if error.class == ErrorClass::Ambiguous) {
            self.list_soon(&first.site);
        }
        written.into_iter().collect()
    }

    async fn launching(&self, row: &Instance) -> Result<Option<Instance>, StoreError> {
        let Some(mut next) = row.become_(State::Launching, self.host.now_ms()) else { return Ok(None) };
        next.runner.clone_from(&self.me.name);
        Ok(self.store.update_instance(&next, "its site is asked for it").await?.then_some(next))
    }

    async fn launch_ended(
        &self,
        row: &Instance,
        outcome: &Result<Vec<Launched>, DriverError>,
    ) -> Result<(), StoreError> {
        match outcome {
            Ok(all) => match all.iter().find(|launched| launched.id == row.id.as_str()) {
                Some(launched) => self.launched(row, launched, "its site made it").await.map(drop),
                None => {
                    let evidence =
                        format!("its site made {} of the {} instances of its batch", all.len(), row.batch_size);
                    self.terminate(row, Cause::new(Code::NoRoom, evidence)).await.map(drop)
                }
            },
            Err(error) => self.launch_failed(row, error).await,
        }
    }

    /// Marks an instance as booting: it exists, and has the address that its site reports, if any.
    pub(crate) async fn launched(&self, row: &Instance, launched: &Launched, why: &str) -> Result<bool, StoreError> {
        let Some(mut next) = row.become_(State::Booting, self.host.now_ms()) else { return Ok(false) };
        next.runner.clone_from(&self.me.name);
        next.address.clone_from(&launched.reach);
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
            // The instance may exist, or may still be made, so the launch is repeated with the same id.
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::Ambiguous => {
                let why = format!("the launch will be repeated:  {text}");
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
        let Some(driver) = self.driver_of(&row.site) else { return Ok(()) };
        let booted = match self.agents.boot(&row).await {
            Ok(()) => driver.before_ready(row.id.as_str()).await.map_err(|error| chain(&error)),
            Err(why) => Err(format!("its agent is not ready yet: {why}")),
        };
        match booted {
            Ok(()) => {
                let now = self.host.now_ms();
                let Some(mut next) = row.become_(State::Ready, now) else { return Ok(()) };
                next.ready_ms.get_or_insert(now);
                next.server_name = Some(row.id.to_string());
                next.needs_claim = false;
                if self.store.update_instance(&next, "its agent answers under its own name").await? {
                    self.answered(&row.id, now);
                    self.memory().contacts.insert(next.id.clone(), next);
                    self.host.signal();
                    self.note_success(&row, now).await?;
                }
                Ok(())
            }
            Err(why) => {
                tracing::info!(instance = %row.id, pool = row.pool, why, "an instance is not ready");
                self.store.update_instance(&row.failed_once(self.host.now_ms()), &why).await.map(drop)
            }
        }
    }

    async fn note_success(&self, row: &Instance, now_ms: i64) -> Result<(), StoreError> {
        self.store.note_start(&streak_key(&row.flavor, &row.image), now_ms, None).await?;
        if row.place.is_empty() {
            return Ok(());
        }
        self.store.note_start(&room_key(&row.site, &row.place), now_ms, None).await
    }

    /// Marks an instance as terminating, and returns whether this call did.
    pub(crate) async fn terminate(&self, row: &Instance, cause: Cause) -> Result<bool, StoreError> {
        let now = self.host.now_ms();
        let Some(next) = row.terminating(cause.clone(), now) else { return Ok(false) };
        let changed = self.store.update_instance(&next, &cause.to_string()).await?;
        if changed {
            if cause.is_failed_start() || cause.is_loss() {
                let why = cause.to_string();
                tracing::warn!(instance = %row.id, pool = row.pool, why, "an instance was lost");
            }
            if cause.is_failed_start() {
                self.store.note_start(&streak_of(row, &cause), now, Some(&cause)).await?;
            }
            self.host.signal();
        }
        Ok(changed)
    }

    async fn destroy(&self, row: Instance) -> Result<(), StoreError> {
        let Some(driver) = self.driver_of(&row.site) else { return Ok(()) };
        let now = self.host.now_ms();
        match driver.destroy(row.id.as_str()).await {
            Ok(()) => match row.become_(State::Gone, now) {
                Some(next) => self.store.update_instance(&next, "its site ended it").await.map(drop),
                None => Ok(()),
            },
            Err(error) => {
                let why = format!("it could not be ended yet:  {}", chain(&error));
                self.store.update_instance(&row.failed_once(now), &why).await.map(drop)
            }
        }
    }

    async fn hibernate(&self, row: Instance) -> Result<(), StoreError> {
        let Some(driver) = self.driver_of(&row.site) else { return Ok(()) };
        // The row changes before the cloud is called, so that no stage gets the instance any more.
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
        let Some(driver) = self.driver_of(&row.site) else { return Ok(()) };
        let Some(waking) = self.turn(&row, State::Resuming, "it is woken").await? else { return Ok(()) };
        match driver.resume(waking.id.as_str()).await {
            Ok(launched) => {
                // The instance kept its identity, so it has its own name and needs no claim.
                let launched = Launched { server_name: waking.id.to_string(), needs_claim: false, ..launched };
                self.launched(&waking, &launched, "it woke").await.map(drop)
            }
            Err(error) => self.turn_failed(&waking, &error).await,
        }
    }

    /// Marks an instance as falling asleep or waking, also when that is repeated. The driver is called only with the
    /// returned row. Otherwise an old row could put an instance to sleep that serves a stage by now.
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
}
