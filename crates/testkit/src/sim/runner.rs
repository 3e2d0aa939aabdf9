//! A runner's process: the real engine on the simulated world.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_driver::Driver;
use kiln_engine::{Engine, Host, Parts};
use kiln_pool::{Config, SiteId};

use super::agents::SimAgents;
use super::clock::{Clock, Owner, Sleep};
use super::driver::SimDriver;
use super::store::SimStore;
use super::trouble::Refused;
use super::world::Shared;

/// The process around an engine.
struct SimHost {
    shared: Arc<Shared>,
    clock: Arc<Clock>,
    runner: usize,
    started_ms: i64,
    epoch_ms: Arc<AtomicI64>,
    signals: Arc<Mutex<Signals>>,
}

#[derive(Default)]
struct Signals {
    count: u64,
    waiting: Vec<Waker>,
}

/// Starts the engine of a runner with an empty memory.
pub fn start(shared: &Arc<Shared>, runner: usize, config: &Config) -> Arc<Engine> {
    let clock = Arc::clone(&shared.clock);
    let now = clock.now_ms();
    let mut world = shared.world();
    world.say(&format!("r{runner} starts"));
    let names: Vec<String> = world.clouds.keys().cloned().collect();
    let (name, incarnation, skew_ms, epoch_ms) = match world.processes.get_mut(runner) {
        Some(process) => {
            process.incarnation += 1;
            (process.up, process.started_ms, process.leased) = (true, now, false);
            process.refused = Refused::default();
            (process.name.clone(), process.incarnation, process.skew_ms, Arc::clone(&process.epoch_ms))
        }
        None => (format!("runner{runner}"), 0, 0, Arc::default()),
    };
    // In true time the host booted at 0.
    epoch_ms.store(world.rows.anchor(&format!("boot{runner}"), skew_ms), Ordering::Relaxed);
    world.marks.clocks_differ |= epoch_ms.load(Ordering::Relaxed) != 0;
    drop(world);
    let driver = |name: String| {
        let driver = SimDriver { shared: Arc::clone(shared), runner, incarnation, name: name.clone() };
        (SiteId::new(name), Arc::new(driver) as Arc<dyn Driver>)
    };
    let drivers: BTreeMap<SiteId, Arc<dyn Driver>> = names.into_iter().map(driver).collect();
    let host = SimHost {
        shared: Arc::clone(shared),
        clock: Arc::clone(&clock),
        runner,
        started_ms: now,
        epoch_ms,
        signals: Arc::default(),
    };
    let engine = Engine::new(Parts {
        me: name,
        process: format!("r{runner}.{incarnation}"),
        installation: super::driver::INSTALLATION.to_owned(),
        store: Arc::new(SimStore { shared: Arc::clone(shared), runner }),
        agents: Arc::new(SimAgents { shared: Arc::clone(shared), runner, incarnation }),
        drivers: Arc::new(drivers),
        host: Arc::new(host),
        config: config.clone(),
    });
    let (passes, world) = (Arc::clone(&engine).run(|_| ()), Arc::clone(shared));
    let until_superseded = async move {
        passes.await;
        let mut world = world.world();
        if let Some(process) = world.processes.get_mut(runner) {
            process.superseded = true;
        }
        world.crashes.insert(runner);
    };
    clock.spawn(Owner::Runner(runner), until_superseded.boxed());
    clock.spawn(Owner::Runner(runner), Arc::clone(&engine).probe_for_ever().boxed());
    engine
}

impl Host for SimHost {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms() + self.epoch_ms.load(Ordering::Relaxed)
    }

    fn uptime_ms(&self) -> i64 {
        self.clock.now_ms() - self.started_ms
    }

    fn new_token(&self) -> String {
        self.shared.world().new_token()
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.clock.spawn(Owner::Runner(self.runner), work);
    }

    fn signals(&self) -> u64 {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    fn wait(&self, seen: u64, limit_ms: i64) -> BoxFuture<'static, ()> {
        Wait { sleep: self.clock.sleep(limit_ms), signals: Arc::clone(&self.signals), seen }.boxed()
    }

    fn signal(&self) {
        let waiting = {
            let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
            signals.count += 1;
            std::mem::take(&mut signals.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }
}

struct Wait {
    sleep: Sleep,
    signals: Arc<Mutex<Signals>>,
    seen: u64,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
            if signals.count > self.seen {
                return Poll::Ready(());
            }
            signals.waiting.push(cx.waker().clone());
        }
        Pin::new(&mut self.sleep).poll(cx)
    }
}
