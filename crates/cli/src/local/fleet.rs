//! Instances for a run's stages from the engine in this process.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::{Assigned, Change, Demand, Engine, Host as _, StoreError};
use kiln_executor::{Fleet, FleetError, Lease, Want};
use kiln_pool::plan::Streak;
use kiln_pool::plan::WaitReason;
use kiln_pool::{Code, Instance, InstanceId, Request, Stage, StageId, StageState, State};
use kiln_runner::agents::PooledAgents;
use kiln_runner::core::Core;
use kiln_runner::host::TokioHost;
use kiln_runner::stages::Stages;
use kiln_wire::run::Phase;

use crate::progress::Tasks;

/// Time for which a stage waits for room. It is practically unlimited, because the run has limits of its own.
const WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Poll interval for a row that is being waited for.
const LOOK_EVERY_MS: i64 = 500;
/// Longest wait for a released instance to be gone. If it takes longer, it still goes.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// Number of failed launches in a row that ends the wait, unless room may come back. Without that, nothing would
/// improve by itself.
const HOPELESS_AFTER: u32 = 2;
/// Entries of the timeline that are read for the phases.
const TIMELINE_ENTRIES: u32 = 50;

/// The engine as a fleet.
pub struct LocalFleet {
    engine: Arc<Engine>,
    agents: Arc<PooledAgents>,
    host: Arc<TokioHost>,
    stages: Arc<Stages>,
    pool: String,
    tasks: Tasks,
}

impl LocalFleet {
    /// Creates a fleet whose stages get their instances from this pool of the core, and may wait for the driver's
    /// tasks.
    #[must_use]
    pub fn new(core: &Core, pool: &str, tasks: Tasks) -> Self {
        let (engine, agents, host) = (Arc::clone(&core.engine), Arc::clone(&core.agents), Arc::clone(&core.host));
        Self { engine, agents, host, stages: Arc::new(core.stages()), pool: pool.to_owned(), tasks }
    }

    async fn set_up(&self, want: &Want<'_>, waiting: &(dyn Fn(&str) + Send + Sync)) -> Result<Assigned, FleetError> {
        let request = Request { pool: self.pool.clone(), image: want.image.clone(), ..Request::default() };
        let run_ms = want.timeout.map_or(0, millis);
        let demand = Demand { id: StageId::new(&want.stage), request, wait_ms: millis(WAIT), run_ms };
        let (id, stages, setup) = (demand.id.clone(), Arc::clone(&self.stages), want.setup.clone());
        // This is a task of its own. If it were cut off while its row is written, it would leave a stage that nothing
        // ends.
        let work = tokio::spawn(async move { stages.set_up(&demand, &setup).await });
        tokio::select! {
            assigned = work => match assigned {
                Ok(assigned) => assigned.map_err(|error| FleetError::Refused(kiln_engine::chain(&error))),
                Err(defect) => Err(FleetError::Runner(Box::new(defect))),
            },
            hopeless = self.follow(&id, waiting) => Err(hopeless),
        }
    }

    /// Reports why the stage waits, and returns when waiting has become pointless.
    async fn follow(&self, id: &StageId, waiting: &(dyn Fn(&str) + Send + Sync)) -> FleetError {
        let (mut told, mut free_since_ms) = (String::new(), None);
        loop {
            let seen = self.host.signals();
            match self.hopeless(&mut free_since_ms).await {
                Ok(Some(why)) => return FleetError::Refused(why),
                Ok(None) => {}
                Err(error) => return FleetError::Runner(Box::new(error)),
            }
            if let Ok(Some(stage)) = self.engine.store().stage(id).await
                && stage.state == StageState::Waiting
            {
                let why = match stage.why {
                    Some(WaitReason::PoolLimit { limit, .. } | WaitReason::FlavorLimit { limit, .. }) => {
                        format!("{limit} run already, and no more run at once")
                    }
                    _ => self.tasks.borrow().join(", "),
                };
                if why != told {
                    waiting(&why);
                    told = why;
                }
            }
            self.host.wait(seen, LOOK_EVERY_MS).await;
        }
    }

    /// Returns the reason why waiting is pointless: launches fail, and have also failed since the last stage freed its
    /// room.
    async fn hopeless(&self, free_since_ms: &mut Option<i64>) -> Result<Option<String>, StoreError> {
        let streaks = self.engine.store().streaks().await?;
        let instances = self.engine.store().live_instances().await?;
        // Instances that are ending still occupy memory and disk.
        if instances.iter().any(|i| i.stage.is_some()) {
            *free_since_ms = None;
            return Ok(None);
        }
        if instances.iter().any(|i| i.state != State::Terminating) {
            return Ok(None);
        }
        let since = *free_since_ms.get_or_insert(self.host.now_ms());
        let fails = |streak: &&Streak| streak.failures >= HOPELESS_AFTER && streak.at_ms > since;
        Ok(streaks.values().find(fails).map(|streak| streak.evidence.clone()))
    }

    async fn gone(&self, id: &InstanceId) {
        loop {
            let seen = self.host.signals();
            if is_gone(self.engine.store().instance(id).await) {
                return;
            }
            self.host.wait(seen, LOOK_EVERY_MS).await;
        }
    }

    /// Returns what the stage runs on, once it is set up.
    async fn lease(&self, stage: &Stage, instance: &Instance) -> Result<Lease, FleetError> {
        self.engine.note_set_up(stage).await.map_err(|error| FleetError::Runner(Box::new(error)))?;
        let mut phases = phases(self.engine.store().timeline(instance.id.as_str(), TIMELINE_ENTRIES).await)?;
        phases.push(Phase { name: "setup".to_owned(), duration: self.since(stage.assigned_ms) });
        let (agent, address) = (self.agents.agent(instance)?, instance.address.clone());
        Ok(Lease { stage: stage.id.to_string(), id: instance.id.to_string(), agent, address, phases })
    }

    fn since(&self, at_ms: Option<i64>) -> Duration {
        let now_ms = self.host.now_ms();
        Duration::from_millis(u64::try_from(now_ms - at_ms.unwrap_or(now_ms)).unwrap_or(0))
    }

    async fn end(&self, stage: &str) -> Result<(), FleetError> {
        let ended = self.engine.end_stage(&StageId::new(stage), Code::Destroyed, "the stage is over").await;
        ended.map(drop).map_err(|error| FleetError::Runner(Box::new(error)))
    }
}

impl Fleet for LocalFleet {
    fn acquire<'a>(
        &'a self,
        want: &'a Want<'a>,
        waiting: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Lease, FleetError>> {
        async move {
            let lease = match self.set_up(want, waiting).await {
                Ok(Assigned { stage, instance }) => self.lease(&stage, &instance).await,
                Err(error) => Err(error),
            };
            if lease.is_err() {
                self.end(&want.stage).await?;
            }
            lease
        }
        .boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>> {
        async move {
            self.end(&lease.stage).await?;
            // An instance that takes longer still goes, because its row says so.
            drop(tokio::time::timeout(GONE_WITHIN, self.gone(&InstanceId::new(&lease.id))).await);
            Ok(())
        }
        .boxed()
    }

    fn abandon<'a>(&'a self, stage: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.end(stage).await {
                tracing::warn!(stage, %error, "the wait for an instance could not be given up in order");
            }
        }
        .boxed()
    }

    /// Returns false: instances live in this process, so keeping one means keeping the process.
    fn hold<'a>(&'a self, _lease: &'a Lease, _duration: Duration) -> BoxFuture<'a, Result<bool, FleetError>> {
        async { Ok(false) }.boxed()
    }

    fn ended<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, String> {
        async move {
            let id = InstanceId::new(&lease.id);
            loop {
                let seen = self.host.signals();
                match self.engine.store().instance(&id).await {
                    Ok(Some(row)) if row.state == State::Claimed => {}
                    Ok(Some(row)) => return row.cause.map_or_else(|| row.state.to_string(), |cause| cause.to_string()),
                    Ok(None) => return "it has no row any more".to_owned(),
                    // The next look may succeed.
                    Err(error) => tracing::warn!(%error, "the instance's row could not be read"),
                }
                self.host.wait(seen, LOOK_EVERY_MS).await;
            }
        }
        .boxed()
    }
}

/// Whether an instance is gone, as its row says. Nothing follows from a row that cannot be read: the next look may succeed.
fn is_gone(row: Result<Option<Instance>, StoreError>) -> bool {
    match row {
        Ok(row) => row.is_none_or(|row| row.state == State::Gone),
        Err(error) => {
            tracing::warn!(%error, "the row of an instance that is ending could not be read");
            false
        }
    }
}

/// Returns how long an instance was in each state, in order. A state that it entered again counts anew.
fn phases(changes: Result<Vec<Change>, StoreError>) -> Result<Vec<Phase>, FleetError> {
    let changes = changes.map_err(|error| FleetError::Runner(Box::new(error)))?;
    let phase = |pair: &[Change]| Phase {
        name: pair[0].state.clone(),
        duration: Duration::from_millis(u64::try_from(pair[1].at_ms - pair[0].at_ms).unwrap_or(0)),
    };
    Ok(changes.windows(2).map(phase).collect())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use kiln_pool::instance::Batch;
    use kiln_pool::{SiteId, Subject};

    use super::*;

    fn fault() -> StoreError {
        StoreError { message: "the disk is full".into(), ambiguous: false }
    }

    #[test]
    fn an_instance_whose_row_cannot_be_read_is_not_gone() {
        let batch = Batch {
            token: "i-1".into(),
            pool: "p".into(),
            flavor: "p".into(),
            site: SiteId::new("fake"),
            place: String::new(),
            image: "debian".into(),
            digest: String::new(),
            size: 1,
            runner: "r".into(),
        };
        let in_state = |state| Instance { state, ..batch.intended(1)[0].clone() };
        assert!(!is_gone(Err(fault())));
        assert!(!is_gone(Ok(Some(in_state(State::Terminating)))));
        assert!(is_gone(Ok(Some(in_state(State::Gone)))) && is_gone(Ok(None)));
    }

    #[test]
    fn phases_that_cannot_be_read_are_an_error() {
        let change = |at_ms, state: &str| Change {
            seq: at_ms,
            at_ms,
            subject: Subject::Instance,
            id: "i-1".into(),
            pool: "p".into(),
            state: state.into(),
            reason: String::new(),
        };
        let read = phases(Ok(vec![change(0, "launching"), change(200, "booting"), change(500, "ready")]));
        let read: Vec<(String, u128)> =
            read.expect("phases").into_iter().map(|phase| (phase.name, phase.duration.as_millis())).collect();
        assert_eq!(read, [("launching".to_owned(), 200), ("booting".to_owned(), 300)]);
        assert!(matches!(phases(Err(fault())), Err(FleetError::Runner(_))));
    }
}
