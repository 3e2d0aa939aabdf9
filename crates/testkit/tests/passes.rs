//! Passes rest when there is nothing to do.

use kiln_pool::Config;
use kiln_testkit::sim::clock::Clock;
use kiln_testkit::sim::executor::Executor;
use kiln_testkit::sim::rng::Rng;
use kiln_testkit::sim::setting::{self, START_MS};
use kiln_testkit::sim::world::{Pace, Shared, World};

const MINUTE_MS: i64 = 60_000;

/// Returns a runner with this pool file.
fn runner(config: Config) -> Executor {
    let mut world = World::new(&Clock::new(START_MS), Rng::new(1), config, 1);
    world.pace = Pace::Steady;
    setting::clouds(&mut world);
    let mut executor = Executor::new(Shared::new(world));
    executor.start(0);
    executor
}

/// Lets this many minutes pass, and returns the number of the scheduler's decisions.
fn minutes(executor: &mut Executor, count: i64) -> u32 {
    let until = executor.shared.clock.now_ms() + count * MINUTE_MS;
    let mut decisions = 0;
    while executor.shared.clock.now_ms() < until {
        assert!(executor.step(), "nobody waits for anything any more");
        decisions += 1;
    }
    decisions
}

/// A site that could not be opened was once due for ever after its pool left the file.
#[test]
fn a_site_that_nobody_needs_any_more_does_not_keep_passes_from_resting() {
    let near = setting::pool("linux", "cloud", 1, 1);
    let far = setting::pool("far", "nowhere", 1, 1);
    let only_near = Config { pools: [("linux".to_owned(), near.clone())].into(), ..Config::default() };
    let both = Config { pools: [("linux".to_owned(), near), ("far".to_owned(), far)].into(), ..Config::default() };
    let mut never_had_it = runner(only_near.clone());
    let mut had_it = runner(both);
    minutes(&mut never_had_it, 5);
    minutes(&mut had_it, 5);
    for (engine, config) in had_it.engines().lock().expect("no panic").values_mut() {
        *config = only_near.clone();
        engine.set_config(only_near.clone());
    }
    minutes(&mut never_had_it, 2);
    minutes(&mut had_it, 2);
    let (usual, after) = (minutes(&mut never_had_it, 10), minutes(&mut had_it, 10));
    assert!(after <= 2 * usual, "{after} decisions in ten minutes; without the site that was there, {usual}");
}
