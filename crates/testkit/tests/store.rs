//! The simulated store keeps the same contract as the databases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::{Store, conformance};
use kiln_pool::Config;
use kiln_testkit::sim::clock::{Clock, Owner};
use kiln_testkit::sim::executor::Executor;
use kiln_testkit::sim::rng::Rng;
use kiln_testkit::sim::setting::START_MS;
use kiln_testkit::sim::store::SimStore;
use kiln_testkit::sim::world::{Shared, World};

/// Runners of a world. They are never started.
const RUNNERS: usize = 3;

struct Simulated {
    shared: Arc<Shared>,
    opened: std::sync::atomic::AtomicUsize,
}

impl conformance::Backend for Simulated {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        let runner = self.opened.fetch_add(1, Ordering::Relaxed) % RUNNERS;
        let store: Arc<dyn Store> = Arc::new(SimStore { shared: Arc::clone(&self.shared), runner });
        std::future::ready(store).boxed()
    }
}

/// Plays a check in a world without faults, in which calls overtake each other as the seed decides.
fn play(seed: u64, check: conformance::Check) {
    let clock = Clock::new(START_MS);
    let shared = Shared::new(World::new(&clock, Rng::new(seed), Config::default(), RUNNERS));
    let backend = Arc::new(Simulated { shared: Arc::clone(&shared), opened: 0.into() });
    let mut executor = Executor::new(shared);
    let done = Arc::new(AtomicBool::new(false));
    let (checked, checking) = (Arc::clone(&done), check(backend));
    clock.spawn(
        Owner::World,
        async move {
            checking.await;
            checked.store(true, Ordering::Relaxed);
        }
        .boxed(),
    );
    while !done.load(Ordering::Relaxed) {
        assert!(executor.step(), "nobody waits for anything any more");
    }
}

#[test]
fn the_simulated_store_keeps_the_contract() {
    for (name, check) in conformance::CHECKS {
        for seed in 1..=3 {
            println!("{name}, seed {seed}");
            play(seed, *check);
        }
    }
}
