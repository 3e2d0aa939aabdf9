//! A pass: it observes, plans, changes rows and spawns slow work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use kiln_pool::plan::{Health, Input, MISSING_AFTER_MS, Planned, plan, pool_lease, queue_lease, sweep_lease};
use kiln_pool::{Config, Instance, InstanceId, SiteId, Stage, StageState, Subject};

use crate::Engine;
use crate::world::StoreError;

/// Pause before the next pass when no signal comes, in milliseconds.
pub const PASS_EVERY_MS: i64 = 5_000;

/// Pause between two passes while a stage waits, in milliseconds.
const GAP_MS: i64 = 5;
/// Ratio of the pause after a pass to the time that the pass took, while no stage waits.
const IDLE_GAP_SHARE: i64 = 4;
/// Upper limit of that pause, in milliseconds.
const IDLE_GAP_MAX_MS: i64 = 500;
/// How long the time of a row's end is remembered, in milliseconds.
const REMEMBER_WENT_MS: i64 = 60 * 60_000;
/// After passes have failed to read or write for longer than this, the watch of the rows starts anew: starts and
/// callers that the rows do not show may be ones that could not be written down.
const WATCH_BREAK_MS: i64 = 30_000;

/// The work of one pass, for logs and tests.
#[derive(Debug, Default, Clone)]
pub struct PassReport {
    /// All actions of the plan.
    pub planned: Vec<Planned>,
    /// The sites of the pool file and of the rows, each with the trouble that keeps it from being used or listed.
    pub sites: BTreeMap<SiteId, Option<String>>,
}

/// The time since which the rows have been watched, in milliseconds of uptime.
#[derive(Debug, Default)]
pub(crate) struct RowWatch {
    began_ms: i64,
    /// When the current series of passes that could not read or write everything began; none when the latest pass
    /// could.
    failing_since_ms: Option<i64>,
}

impl RowWatch {
    /// Returns for how long the rows have been watched without a break.
    fn lasts_ms(&mut self, uptime_ms: i64) -> i64 {
        if self.failing_since_ms.is_some_and(|since| uptime_ms - since > WATCH_BREAK_MS) {
            self.began_ms = uptime_ms;
        }
        uptime_ms - self.began_ms
    }
}

/// The rows that one pass read from the store.
struct Rows {
    instances: Vec<Instance>,
    stages: Vec<Stage>,
}

impl Engine {
    /// Runs passes until a later process of this runner's name is started. `note` is called with the outcome of each.
    pub async fn run(self: Arc<Self>, note: impl Fn(&Result<PassReport, StoreError>) + Send + Sync) {
        loop {
            let (seen, began_ms) = (self.host.signals(), self.host.uptime_ms());
            let passed = self.pass().await;
            if let Err(error) = &passed {
                tracing::warn!(%error, "this pass was not finished; the next one continues");
            }
            note(&passed);
            drop(passed);
            if self.is_superseded() {
                return;
            }
            self.rest(self.host.uptime_ms() - began_ms).await;
            self.host.wait(seen, self.site_due_in_ms(PASS_EVERY_MS)).await;
        }
    }

    /// Waits between two passes: briefly while a stage waits, longer otherwise.
    async fn rest(&self, passed_ms: i64) {
        let until = self.host.uptime_ms() + (passed_ms * IDLE_GAP_SHARE).clamp(GAP_MS, IDLE_GAP_MAX_MS);
        self.host.wait(u64::MAX, GAP_MS).await;
        let mut seen = self.host.signals();
        while !self.is_urgent() && self.host.uptime_ms() < until {
            self.host.wait(seen, until - self.host.uptime_ms()).await;
            seen = self.host.signals();
        }
    }

    fn is_urgent(&self) -> bool {
        self.memory().demand
    }

    /// Runs one pass.
    ///
    /// # Errors
    /// When the store fails. The changes made so far stay, and the next pass continues from there.
    pub async fn pass(self: &Arc<Self>) -> Result<PassReport, StoreError> {
        let began_ms = self.host.uptime_ms();
        let passed = self.observe_and_act().await;
        let failed = passed.is_err() || self.store.write_trouble().is_some();
        let mut memory = self.memory();
        let since_ms = memory.watch.failing_since_ms.unwrap_or(began_ms);
        memory.watch.failing_since_ms = failed.then_some(since_ms);
        drop(memory);
        passed
    }

    async fn observe_and_act(self: &Arc<Self>) -> Result<PassReport, StoreError> {
        let config = self.config();
        let Some(leases) = self.leases(&config).await? else { return Ok(PassReport::default()) };
        // The flag is cleared before the rows are read, so that a stage that is written meanwhile sets it again.
        self.memory().demand = false;
        // An instance that is worked on while the rows are read may have changed by the time it is judged.
        let mut busy = self.busy_now();
        // The listings are taken first, so that every instance in them already had its row.
        let snapshots = self.snapshots();
        let rows = self.read().await?;
        // Rows that cannot be read are left alone, and so are the instances that serve such stages.
        let unreadable = self.store.unreadable();
        let ids = |kind| unreadable.keys().filter(move |(of, _)| *of == kind).map(|(_, id)| id.as_str());
        let stages: BTreeSet<&str> = ids(Subject::Stage).collect();
        let serves = |row: &&Instance| row.stage.as_ref().is_some_and(|stage| stages.contains(stage.as_str()));
        busy.extend(rows.instances.iter().filter(serves).map(|row| row.id.clone()));
        let unreadable = ids(Subject::Instance).map(InstanceId::new).collect();
        let (streaks, drained) = (self.store.streaks().await?, self.store.drained().await?);
        self.tend_sites(&config, &rows.instances);
        self.notice(&rows);
        self.note_contacts(&rows.instances);
        let missing_ms = self.missing(&config, &rows);
        let views = self.views(&snapshots, &rows.instances);
        busy.extend(self.memory().busy.iter().cloned());
        let health = self.health_now();
        let (noticed, ends) = {
            let memory = self.memory();
            (memory.noticed.clone(), memory.ends.clone())
        };
        let uptime_ms = self.host.uptime_ms();
        let watched_ms = self.memory().watch.lasts_ms(uptime_ms);
        let decided = plan(&Input {
            now_ms: self.host.now_ms(),
            uptime_ms,
            watched_ms,
            me: &self.me.name,
            config: &config,
            instances: &rows.instances,
            unreadable: &unreadable,
            stages: &rows.stages,
            streaks: &streaks,
            sites: &views,
            closed: &snapshots.closed,
            noticed: &noticed,
            ends: &ends,
            health: &health,
            busy: &busy,
            leases: &leases,
            drained: &drained,
            missing_ms: &missing_ms,
        });
        self.memory().targets = decided.targets;
        self.watch_ends(&rows.instances);
        let by_id: BTreeMap<&InstanceId, &Instance> = rows.instances.iter().map(|i| (&i.id, i)).collect();
        // The actions run together so that they share transactions.
        let acts = decided.actions.iter().map(|step| self.act(step, &config, &by_id, &rows.stages));
        join_all(acts).await.into_iter().collect::<Result<(), _>>()?;
        Ok(PassReport { planned: decided.actions, sites: self.sites() })
    }

    async fn read(&self) -> Result<Rows, StoreError> {
        let instances = self.store.live_instances().await?;
        let stages = self.store.open_stages().await?;
        Ok(Rows { instances, stages })
    }

    /// Renews and takes the leases of all pools and sites, including pools that are no longer in the file but still
    /// have to be emptied.
    async fn leases(&self, config: &Config) -> Result<Option<BTreeSet<String>>, StoreError> {
        let mut own = leases_of(config);
        let left = {
            let (memory, uptime) = (self.memory(), self.host.uptime_ms());
            own.extend(memory.sites.keys().map(sweep_lease));
            let gone = memory.pools_missing.iter().filter(|(_, since)| uptime - **since > MISSING_AFTER_MS);
            gone.map(|(name, _)| name.clone()).collect()
        };
        self.lease(&own, &left).await
    }

    /// Records which rows changed or went, wakes callers whose stage no longer waits, and forgets what belongs to rows
    /// that went.
    fn notice(&self, rows: &Rows) {
        let waiting = rows.stages.iter().filter(|stage| stage.state == StageState::Waiting);
        let waiting: BTreeSet<_> = waiting.map(|stage| &stage.id).collect();
        self.waiters.tell_others(&waiting);
        let assigned = rows.stages.iter().filter(|stage| stage.state == StageState::Assigned);
        self.losers.tell_others(&assigned.map(|stage| &stage.id).collect());
        let (uptime, mut memory) = (self.host.uptime_ms(), self.memory());
        memory.demand |= !waiting.is_empty();
        let generations: BTreeMap<InstanceId, i64> =
            rows.instances.iter().map(|row| (row.id.clone(), row.generation)).collect();
        for id in memory.generations.keys().filter(|id| !generations.contains_key(id)).cloned().collect::<Vec<_>>() {
            memory.noticed.went_ms.insert(id, uptime);
        }
        memory.noticed.went_ms.retain(|_, went| uptime - *went < REMEMBER_WENT_MS);
        memory.noticed.changed_ms.retain(|id, _| generations.contains_key(id));
        for (id, generation) in &generations {
            if memory.generations.get(id) != Some(generation) {
                memory.noticed.changed_ms.insert(id.clone(), uptime);
            }
        }
        memory.ends.retain(|id, _| generations.contains_key(id));
        memory.health.retain(|id, _| generations.contains_key(id));
        memory.failing_since.retain(|id, _| generations.contains_key(id));
        memory.watched.retain(|id, _| generations.contains_key(id));
        memory.generations = generations;
    }

    /// Returns for how long each flavor that a stage waits for has been missing from the pool file, in milliseconds.
    /// Also records missing pools.
    fn missing(&self, config: &Config, rows: &Rows) -> BTreeMap<String, i64> {
        let in_file = leases_of(config);
        let pools = rows.instances.iter().map(|row| pool_lease(&row.pool, &row.site));
        let pools = pools.chain(rows.stages.iter().map(|stage| queue_lease(&stage.pool)));
        let flavors = rows.stages.iter().flat_map(|stage| &stage.candidates).map(|candidate| candidate.flavor.clone());
        let (uptime, mut memory) = (self.host.uptime_ms(), self.memory());
        note_missing(&mut memory.pools_missing, pools.filter(|name| !in_file.contains(name)), uptime);
        note_missing(&mut memory.flavors_missing, flavors.filter(|key| config.flavor(key).is_none()), uptime);
        memory.flavors_missing.iter().map(|(key, since)| (key.clone(), uptime - since)).collect()
    }

    /// Returns the instances that an action works on, and those that are left alone for now.
    fn busy_now(&self) -> BTreeSet<InstanceId> {
        let (mut memory, uptime) = (self.memory(), self.host.uptime_ms());
        memory.resting_ms.retain(|_, until| *until > uptime);
        memory.busy.iter().chain(memory.resting_ms.keys()).cloned().collect()
    }

    /// Returns the health of all agents. The time for which an agent has failed is counted by uptime.
    fn health_now(&self) -> BTreeMap<InstanceId, Health> {
        let (now, uptime, memory) = (self.host.now_ms(), self.host.uptime_ms(), self.memory());
        let mut health = memory.health.clone();
        for (id, health) in &mut health {
            health.failing_since_ms = memory.failing_since.get(id).map(|since| now - (uptime - since));
        }
        health
    }
}

/// Returns the names of the leases of all pools.
fn leases_of(config: &Config) -> BTreeSet<String> {
    config.pools.values().flat_map(|pool| [queue_lease(&pool.name), pool_lease(&pool.name, &pool.site)]).collect()
}

/// Remembers the uptime at which each of these was first missing, and forgets the others.
fn note_missing(since: &mut BTreeMap<String, i64>, missing: impl Iterator<Item = String>, uptime_ms: i64) {
    let before = std::mem::take(since);
    since.extend(missing.map(|name| {
        let at = before.get(&name).copied().unwrap_or(uptime_ms);
        (name, at)
    }));
}
