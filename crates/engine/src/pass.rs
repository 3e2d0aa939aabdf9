//! One pass: observe, plan, change rows, spawn the slow work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_driver::Listed;
use kiln_pool::plan::{Action, Cloud, Health, Input, MISSING_AFTER_MS, Planned, Seen, driver_lease, plan};
use kiln_pool::{Config, Instance, InstanceId, Stage};

use crate::world::StoreError;
use crate::{Engine, INSTALLATION_LABEL};

/// Without a signal, the next pass begins after this.
pub const PASS_EVERY_MS: i64 = 5_000;

/// A driver that does not list its instances within this has failed to.
const LIST_WITHIN_MS: i64 = 60_000;
/// The pause after a pass is this many times as long as the pass was,
const PASS_SHARE: i64 = 4;
/// but not shorter than this,
const GAP_MIN_MS: i64 = 5;
/// nor longer than this.
const GAP_MAX_MS: i64 = 2_000;

/// What one pass did, for logs and tests.
#[derive(Debug, Default, Clone)]
pub struct PassReport {
    /// Everything that was decided.
    pub planned: Vec<Planned>,
    /// Drivers that could not be listed, and why.
    pub unlisted: Vec<(String, String)>,
}

impl Engine {
    /// Passes until a later process of this runner's name was started; `note` is told how each went.
    pub async fn run(self: Arc<Self>, note: impl Fn(&Result<PassReport, StoreError>) + Send + Sync) {
        loop {
            let (seen, began_ms) = (self.host.signals(), self.host.uptime_ms());
            let passed = self.pass().await;
            if let Err(error) = &passed {
                tracing::warn!(%error, "this pass was not finished; the next one goes on");
            }
            note(&passed);
            drop(passed);
            if self.is_superseded() {
                return;
            }
            // However many signals there are, most of the time is left to others.
            let gap_ms = ((self.host.uptime_ms() - began_ms) * PASS_SHARE).clamp(GAP_MIN_MS, GAP_MAX_MS);
            self.host.wait(u64::MAX, gap_ms).await;
            self.host.wait(seen, PASS_EVERY_MS).await;
        }
    }

    /// One pass.
    ///
    /// # Errors
    /// When the store failed; what was done so far stays done, and the next pass goes on from there.
    pub async fn pass(self: &Arc<Self>) -> Result<PassReport, StoreError> {
        let config = self.config();
        let Some(leases) = self.leases(&config).await? else { return Ok(PassReport::default()) };
        // What is worked on while clouds and rows are read may have changed when they are judged.
        let mut busy = self.busy_now();
        // The clouds first: what they show had its row before.
        let (listed, unlisted) = self.list_clouds().await;
        let instances = self.store.live_instances().await?;
        let stages = self.store.open_stages().await?;
        let (streaks, drained) = (self.store.streaks().await?, self.store.drained().await?);
        let missing_ms = self.missing(&config, &instances, &stages);
        let clouds = self.clouds(&listed, &instances);
        busy.extend(self.memory().busy.iter().cloned());
        let health = self.health_now();
        let input = Input {
            now_ms: self.host.now_ms(),
            uptime_ms: self.host.uptime_ms(),
            me: &self.me.name,
            config: &config,
            instances: &instances,
            stages: &stages,
            streaks: &streaks,
            clouds: &clouds,
            health: &health,
            busy: &busy,
            leases: &leases,
            drained: &drained,
            missing_ms: &missing_ms,
        };
        let planned = plan(&input);
        self.watch_ends(&instances);
        let rows: BTreeMap<&InstanceId, &Instance> = instances.iter().map(|i| (&i.id, i)).collect();
        for step in &planned {
            self.act(step, &config, &rows, &listed, &stages).await?;
        }
        Ok(PassReport { planned, unlisted })
    }

    /// The leases of the pool file's pools and of the drivers, and of pools that went from the file and are still to be emptied.
    async fn leases(&self, config: &Config) -> Result<Option<BTreeSet<String>>, StoreError> {
        let mut own: BTreeSet<String> = config.pools.keys().cloned().collect();
        own.extend(self.drivers.keys().map(|driver| driver_lease(driver)));
        let left = {
            let (memory, uptime) = (self.memory(), self.host.uptime_ms());
            let gone = memory.pools_missing.iter().filter(|(_, since)| uptime - **since > MISSING_AFTER_MS);
            gone.map(|(name, _)| name.clone()).collect()
        };
        self.lease(&own, &left).await
    }

    /// For how long flavors that stages wait for have not been in the pool file. Pools are remembered as well.
    fn missing(&self, config: &Config, instances: &[Instance], stages: &[Stage]) -> BTreeMap<String, i64> {
        let pools = instances.iter().map(|i| &i.pool).chain(stages.iter().map(|s| &s.pool));
        let flavors = stages.iter().flat_map(|stage| &stage.candidates).map(|candidate| &candidate.flavor);
        let (uptime, mut memory) = (self.host.uptime_ms(), self.memory());
        note_missing(&mut memory.pools_missing, pools.filter(|name| !config.pools.contains_key(*name)), uptime);
        note_missing(&mut memory.flavors_missing, flavors.filter(|key| config.flavor(key).is_none()), uptime);
        memory.flavors_missing.iter().map(|(key, since)| (key.clone(), uptime - since)).collect()
    }

    /// What is worked on now, and the orphans that rest.
    fn busy_now(&self) -> BTreeSet<InstanceId> {
        let (mut memory, uptime) = (self.memory(), self.host.uptime_ms());
        memory.orphans_ms.retain(|_, until| *until > uptime);
        memory.busy.iter().chain(memory.orphans_ms.keys()).cloned().collect()
    }

    /// What is known about agents. How long they have failed is counted by the clock that nobody sets.
    fn health_now(&self) -> BTreeMap<InstanceId, Health> {
        let (now, uptime, memory) = (self.host.now_ms(), self.host.uptime_ms(), self.memory());
        let mut health = memory.health.clone();
        for (id, health) in &mut health {
            health.failing_since_ms = memory.failing_since.get(id).map(|since| now - (uptime - since));
        }
        health
    }

    async fn list_clouds(&self) -> (BTreeMap<String, Vec<Listed>>, Vec<(String, String)>) {
        let (mut listed, mut unlisted) = (BTreeMap::new(), Vec::new());
        for (name, driver) in &self.drivers {
            let listing = self.within(LIST_WITHIN_MS, driver.list()).await;
            match listing
                .ok_or_else(|| format!("no answer within {} s", LIST_WITHIN_MS / 1000))
                .and_then(|l| l.map_err(|e| e.to_string()))
            {
                Ok(all) => {
                    let alone = !driver.abilities().lists_others;
                    let mine = |installation: &String| alone || *installation == self.installation;
                    let ours = |l: &Listed| l.labels.get(INSTALLATION_LABEL).is_none_or(mine);
                    listed.insert(name.clone(), all.into_iter().filter(ours).collect());
                }
                Err(error) => {
                    tracing::warn!(driver = name, %error, "the driver's instances could not be listed");
                    unlisted.push((name.clone(), error));
                }
            }
        }
        (listed, unlisted)
    }

    /// The listings as the plan wants them, with the memory of what was not seen before.
    fn clouds(&self, listed: &BTreeMap<String, Vec<Listed>>, instances: &[Instance]) -> BTreeMap<String, Cloud> {
        // Remembered by the clock that nobody sets: a wall clock that jumps makes nothing lost.
        let (now, uptime) = (self.host.now_ms(), self.host.uptime_ms());
        let mut memory = self.memory();
        let live: BTreeMap<&InstanceId, &str> = instances.iter().map(|i| (&i.id, i.driver.as_str())).collect();
        memory.unseen_since.retain(|id, _| live.contains_key(id));
        memory.health.retain(|id, _| live.contains_key(id));
        memory.failing_since.retain(|id, _| live.contains_key(id));
        memory.watched.retain(|id| live.contains_key(id));
        let mut clouds = BTreeMap::new();
        for (driver, listed) in listed {
            let seen: BTreeMap<InstanceId, Seen> = listed
                .iter()
                .map(|l| (InstanceId::new(&l.id), Seen { running: l.running, addressed: l.launched.is_some() }))
                .collect();
            for instance in instances.iter().filter(|i| i.driver == *driver) {
                if seen.contains_key(&instance.id) {
                    memory.unseen_since.remove(&instance.id);
                } else {
                    memory.unseen_since.entry(instance.id.clone()).or_insert(uptime);
                }
            }
            let unseen_since_ms = memory
                .unseen_since
                .iter()
                .filter(|(id, _)| live.get(*id) == Some(&driver.as_str()))
                .map(|(id, since)| (id.clone(), now - (uptime - since)))
                .collect();
            let can_hibernate = self.drivers.get(driver).is_some_and(|d| d.abilities().hibernate);
            clouds.insert(driver.clone(), Cloud { seen, unseen_since_ms, can_hibernate });
        }
        clouds
    }

    /// Carries out one action: rows at once, slow work beside.
    async fn act(
        self: &Arc<Self>,
        step: &Planned,
        config: &Config,
        rows: &BTreeMap<&InstanceId, &Instance>,
        listed: &BTreeMap<String, Vec<Listed>>,
        stages: &[kiln_pool::Stage],
    ) -> Result<(), StoreError> {
        let row = step.action.instance().and_then(|id| rows.get(id)).copied();
        let stage = step.action.stage().and_then(|id| stages.iter().find(|stage| stage.id == *id));
        if !matches!(step.action, Action::Explain { .. }) {
            let (action, instance) = (step.action.name(), step.action.instance().map(InstanceId::as_str));
            tracing::debug!(action, instance, reason = step.reason, "planned");
        }
        match (&step.action, row, stage) {
            (Action::Create { candidate }, _, _) => self.create(config, candidate, &step.reason).await,
            (Action::Adopt { id, .. }, Some(row), _) => {
                let of_driver = listed.get(&row.driver).into_iter().flatten();
                let launched = of_driver.filter(|l| l.id == id.as_str()).find_map(|l| l.launched.as_ref());
                match launched {
                    Some(launched) => self.launched(row, launched, &step.reason).await.map(drop),
                    None => Ok(()),
                }
            }
            (Action::Terminate { cause, .. }, Some(row), _) => self.terminate(row, cause.clone()).await.map(drop),
            (Action::Release { stage, .. }, Some(row), _) => self.release(row, stage).await,
            (Action::Assign { .. }, _, Some(stage)) => self.assign(stage).await,
            (Action::EndStage { cause, .. }, _, Some(stage)) => self.end_row(stage, cause.clone()).await.map(drop),
            (Action::LoseStage { instance, .. }, _, Some(stage)) => self.lose_stage(stage, instance).await,
            (Action::Explain { why, .. }, _, Some(stage)) => self.explain(stage, why).await,
            (Action::DestroyOrphan { driver, id }, _, _) => {
                let of_driver = listed.get(driver).into_iter().flatten();
                let running = of_driver.filter(|l| l.id == id.as_str()).any(|l| l.running);
                self.spawn_orphan(driver, id, running);
                Ok(())
            }
            (
                Action::Launch { .. }
                | Action::Boot { .. }
                | Action::Destroy { .. }
                | Action::Hibernate { .. }
                | Action::Resume { .. },
                Some(row),
                _,
            ) => {
                self.spawn_work(step.action.clone(), row.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Remembers since when each of these is missing, and forgets the others.
fn note_missing<'a>(since: &mut BTreeMap<String, i64>, missing: impl Iterator<Item = &'a String>, uptime_ms: i64) {
    let before = std::mem::take(since);
    since.extend(missing.map(|name| (name.clone(), before.get(name).copied().unwrap_or(uptime_ms))));
}
