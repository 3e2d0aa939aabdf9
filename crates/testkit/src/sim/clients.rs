//! Clients: each asks for an instance for its stage, sets it up, runs, and ends the stage, with more or less good
//! manners.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, select};
use kiln_engine::{Assigned, Demand, Engine, SetupError};
use kiln_pool::{Cause, Code, InstanceId, Stage};

use super::clock::{Owner, TaskId};
use super::executor::Engines;
use super::fault::Fault;
use super::invariant;
use super::world::Shared;

/// One client and its behaviour.
#[derive(Clone)]
pub struct Client {
    /// The world.
    pub shared: Arc<Shared>,
    /// The runners that can be called.
    pub engines: Arc<Engines>,
    /// Its demand.
    pub demand: Demand,
    /// Time for which it uses its instance.
    pub run_ms: i64,
    /// Its deviations from good behaviour.
    pub manners: Manners,
}

/// Deviations of a client from good behaviour.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// It never comes back for its instance.
    pub forgets_setup: bool,
    /// It never ends its stage.
    pub forgets_end: bool,
    /// Time after which it ends its stage in any state.
    pub cancels_after_ms: Option<i64>,
    /// It ends its stage twice.
    pub ends_twice: bool,
    /// Number of times that it reports a failed set-up of the agent.
    pub fails_setup: u32,
}

/// The result of a stage for its client.
enum Got {
    Instance(Box<Assigned>),
    Nothing,
}

impl Client {
    /// Runs the client's whole life.
    pub async fn live(mut self) {
        if let Some(after) = self.manners.cancels_after_ms {
            let other = self.clone();
            let cancel = async move {
                other.shared.clock.sleep(after).await;
                other.end(Code::Cancelled).await;
            };
            self.shared.clock.spawn(Owner::World, cancel.boxed());
        }
        loop {
            let Got::Instance(assigned) = self.acquire().await else { return };
            if self.manners.forgets_setup {
                return;
            }
            let id = assigned.instance.id.clone();
            if !self.sets_up(&assigned).await {
                self.report_failed_setup(&id).await;
                continue;
            }
            // A client that gets no confirmation asks again.
            if !self.note_set_up(&assigned.stage).await {
                continue;
            }
            self.shared.clock.sleep(self.run_ms).await;
            if self.manners.forgets_end {
                return;
            }
            self.end(Code::Destroyed).await;
            if self.manners.ends_twice {
                self.end(Code::Destroyed).await;
            }
            return;
        }
    }

    async fn acquire(&self) -> Got {
        loop {
            let twice = self.shared.world().strikes(Fault::DuplicatedDelivery);
            let demand = self.demand.clone();
            if twice && let Some((_, answer)) = self.ask(acquiring(&self.shared, &demand)) {
                drop(answer);
            }
            let Some((task, answer)) = self.ask(acquiring(&self.shared, &demand)) else {
                self.rest(500, 4_000).await;
                continue;
            };
            let impatient = {
                let mut world = self.shared.world();
                world.strikes(Fault::Disconnect).then(|| world.rng.between(10, 8_000))
            };
            let answer = match impatient {
                None => answer.await,
                Some(ms) => match select(answer, self.shared.clock.sleep(ms)).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(_) => {
                        // The server drops its work for a caller that went away.
                        self.shared.world().dropped.push(task);
                        self.rest(100, 20_000).await;
                        continue;
                    }
                },
            };
            match answer {
                Ok(Ok(assigned)) => return Got::Instance(Box::new(assigned)),
                Ok(Err(SetupError::Ended { .. } | SetupError::NoMatch(_))) => return Got::Nothing,
                Ok(Err(SetupError::Store(_))) | Err(_) => self.rest(200, 3_000).await,
            }
        }
    }

    async fn sets_up(&mut self, assigned: &Assigned) -> bool {
        if self.manners.fails_setup > 0 {
            self.manners.fails_setup -= 1;
            self.rest(100, 2_000).await;
            return false;
        }
        for _ in 0..3 {
            self.rest(10, 500).await;
            if self.agent_answers(assigned) {
                return true;
            }
            self.rest(500, 5_000).await;
        }
        false
    }

    fn agent_answers(&self, assigned: &Assigned) -> bool {
        let mut world = self.shared.world();
        let runners = world.processes.len();
        let runner = world.rng.index(runners);
        world.agent_answers(runner, &assigned.instance, false).is_ok()
    }

    async fn report_failed_setup(&self, instance: &InstanceId) {
        self.shared.world().marks.setup_failed.insert(instance.clone());
        let (id, instance) = (self.demand.id.clone(), instance.clone());
        let refused = Cause::new(Code::SetupFailed, "the agent refused");
        // If this call is lost, the client will notice when it asks for the instance again.
        let asked = self.ask(move |engine| async move { engine.set_up_failed(&id, &instance, refused).await }.boxed());
        if let Some((_, answer)) = asked {
            drop(answer.await);
        }
        self.rest(10, 500).await;
    }

    async fn note_set_up(&self, assigned: &Stage) -> bool {
        for _ in 0..5 {
            let stage = assigned.clone();
            let asked = self.ask(move |engine| async move { engine.note_set_up(&stage).await.map(drop) }.boxed());
            if let Some((_, answer)) = asked
                && let Ok(Ok(())) = answer.await
            {
                return true;
            }
            self.rest(200, 4_000).await;
        }
        false
    }

    /// Ends the stage, and repeats that until it was heard.
    pub async fn end(&self, code: Code) {
        loop {
            let id = self.demand.id.clone();
            let shared = Arc::clone(&self.shared);
            shared.world().marks.asked_to_end.insert(id.clone());
            let twice = shared.world().strikes(Fault::DuplicatedDelivery);
            for _ in 0..i32::from(twice) {
                let id = id.clone();
                drop(self.ask(move |engine| async move { engine.end_stage(&id, code, "").await }.boxed()));
            }
            let asked = self.ask(move |engine| async move { engine.end_stage(&id, code, "").await }.boxed());
            if let Some((_, answer)) = asked
                && let Ok(Ok(_)) = answer.await
            {
                return;
            }
            self.rest(200, 4_000).await;
        }
    }

    async fn rest(&self, low_ms: i64, high_ms: i64) {
        let ms = {
            let mut world = self.shared.world();
            // A client that is refused again and again asks less often.
            let high_ms = if world.can_write() { high_ms } else { 8 * high_ms };
            if world.pace == super::world::Pace::Steady { low_ms } else { world.rng.between(low_ms, high_ms) }
        };
        self.shared.clock.sleep(ms).await;
    }

    fn ask<T: Send + 'static>(&self, request: impl FnOnce(Arc<Engine>) -> BoxFuture<'static, T>) -> Asked<T> {
        ask(&self.shared, &self.engines, request)
    }
}

type Asked<T> = Option<(TaskId, oneshot::Receiver<T>)>;

/// Sends a request to any runner that is up. The answer is cancelled when that runner ends.
pub fn ask<T: Send + 'static>(
    shared: &Arc<Shared>,
    engines: &Engines,
    request: impl FnOnce(Arc<Engine>) -> BoxFuture<'static, T>,
) -> Asked<T> {
    let up: Vec<(usize, Arc<Engine>)> = {
        let engines = engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.iter().map(|(runner, (engine, _))| (*runner, Arc::clone(engine))).collect()
    };
    let (runner, engine) = shared.world().rng.pick(&up).cloned()?;
    let (tell, told) = oneshot::channel();
    let work = request(engine);
    let serve = async move {
        // The caller may have gone away.
        drop(tell.send(work.await));
    };
    Some((shared.clock.spawn(Owner::Runner(runner), serve.boxed()), told))
}

type Acquired = BoxFuture<'static, Result<Assigned, SetupError>>;

fn acquiring(shared: &Arc<Shared>, demand: &Demand) -> impl FnOnce(Arc<Engine>) -> Acquired + use<> {
    let (shared, demand) = (Arc::clone(shared), demand.clone());
    move |engine| {
        async move {
            let got = engine.acquire(&demand).await;
            if let Ok(assigned) = &got {
                let mut world = shared.world();
                invariant::handed_out(&mut world, &demand.id, assigned.stage.attempts, &assigned.instance.id);
            }
            got
        }
        .boxed()
    }
}

/// Returns the ids of living instances, for a random choice.
#[must_use]
pub fn live(shared: &Shared) -> Vec<InstanceId> {
    let live: BTreeSet<InstanceId> = shared.world().rows.live.clone();
    live.into_iter().collect()
}
