//! One seed, from beginning to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;

use super::clock::{Clock, Owner};
use super::crowd::{self, Habits};
use super::executor::Executor;
use super::fault::{Fault, Rates};
use super::rng::Rng;
use super::setting;
use super::settle::settled;
use super::world::{Process, Shared, Violation, World};

/// The plan of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Number of decisions with faults, before the calm.
    pub steps: u64,
    /// Whether all lines of the transcript are kept.
    pub verbose: bool,
}

/// The result of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The broken invariant, if any.
    pub violation: Option<Violation>,
    /// The fewest steps after which it breaks.
    pub at_step: u64,
    /// The last lines of the transcript, or all.
    pub lines: Vec<String>,
    /// Digest of the transcript.
    pub digest: u64,
    /// Virtual time that passed with faults, and in all.
    pub passed_ms: (i64, i64),
    /// Number of all decisions, including those of the calm.
    pub decisions: u64,
    /// Number of events of each kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// The faults of this seed.
    pub faults: String,
    /// Number of occurrences of each fault.
    pub struck: BTreeMap<Fault, u64>,
}

/// Lines that are shown of a failed run.
const TAIL_LINES: usize = 40;
/// Time within which everything must settle in a calm world.
const SETTLE_MS: i64 = 90 * 60_000;
/// Interval of the checks whether it has settled.
const LOOK_EVERY_MS: i64 = 3_000;

/// A seed's world in its run.
struct Run {
    executor: Executor,
    restarts_ms: BTreeMap<usize, i64>,
    decisions: u64,
}

/// Runs a seed.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    let (mut run, faults, calm_ms) = Run::begin(plan);
    let mut at_step = plan.steps;
    for step in 1..=plan.steps {
        if !run.step() || run.violation().is_some() {
            at_step = step;
            break;
        }
    }
    let with_faults = run.executor.shared.clock.now_ms() - setting::START_MS;
    if run.violation().is_none() {
        run.calm(calm_ms);
    }
    let world = run.executor.shared.world();
    Outcome {
        seed: plan.seed,
        violation: world.violation.clone(),
        at_step,
        lines: world.transcript.tail(if plan.verbose { usize::MAX } else { TAIL_LINES }),
        digest: world.transcript.digest(),
        passed_ms: (with_faults, world.now_ms() - setting::START_MS),
        decisions: run.decisions,
        counts: world.marks.counts.clone(),
        faults,
        struck: world.faults.struck().clone(),
    }
}

impl Run {
    fn begin(plan: &Plan) -> (Self, String, i64) {
        let mut rng = Rng::new(plan.seed);
        let clock = Clock::new(setting::START_MS);
        let config = setting::config(&mut rng);
        let runners = *rng.pick(&[1, 1, 2, 2, 3]).unwrap_or(&1);
        let faults = Rates::random(&mut rng);
        let (described, calm_ms) = (faults.describe(), *rng.pick(&[0, 0, 5, 20]).unwrap_or(&0) * 60_000);
        let mut world = World::new(&clock, rng, config, runners);
        world.transcript.all = plan.verbose;
        setting::clouds(&mut world);
        let (full, tells, full_place) = (world.rng.chance(100), world.rng.chance(300), world.rng.chance(300));
        for cloud in world.clouds.values_mut() {
            cloud.tells_ends = tells;
            cloud.full_for = if full { vec!["linux".to_owned()] } else { Vec::new() };
            cloud.full_places = if full_place { vec!["east".to_owned()] } else { Vec::new() };
        }
        let habits = Habits::random(&mut world);
        world.faults = faults;
        world.say(&format!("seed {}: {runners} runners, {habits:?}, faults {described}", plan.seed));
        let pools: Vec<String> = world.config.pools.values().map(describe).collect();
        for pool in pools {
            world.say(&pool);
        }
        let mut executor = Executor::new(Shared::new(world));
        for runner in 0..runners {
            executor.start(runner);
        }
        let restarts_ms = twin(&mut executor.shared.world());
        let (shared, engines) = (Arc::clone(&executor.shared), executor.engines());
        let stages = crowd::stages(Arc::clone(&shared), Arc::clone(&engines), habits);
        executor.shared.clock.spawn(Owner::World, stages.boxed());
        executor.shared.clock.spawn(Owner::World, crowd::operator(shared, engines, habits).boxed());
        (Self { executor, restarts_ms, decisions: 0 }, described, calm_ms)
    }

    fn violation(&self) -> Option<Violation> {
        self.executor.shared.world().violation.clone()
    }

    /// Makes one decision, and restarts runners that ended.
    fn step(&mut self) -> bool {
        self.decisions += 1;
        let went_on = self.executor.step();
        let mut due = Vec::new();
        {
            let mut world = self.executor.shared.world();
            let now = world.now_ms();
            for runner in 0..world.processes.len() {
                // A process without a store ends at once, and is started again.
                let down = world.trouble.is_down(now);
                if down || world.processes.get(runner).is_some_and(|p| p.up || p.superseded) {
                    continue;
                }
                let pause = if world.calm { 0 } else { world.rng.between(100, 60_000) };
                if *self.restarts_ms.entry(runner).or_insert(now + pause) <= now || world.calm {
                    due.push(runner);
                }
            }
        }
        for runner in due {
            self.restarts_ms.remove(&runner);
            self.executor.start(runner);
        }
        went_on
    }

    /// Stops all faults, and waits until everything has settled.
    fn calm(&mut self, at_least_ms: i64) {
        let shared = Arc::clone(&self.executor.shared);
        {
            let mut world = shared.world();
            world.say("no fault happens from here on");
            world.calm = true;
            world.faults.stop();
            world.trouble.end();
            // By then, hosts that share a store agree about the time. A single host need not be right.
            let shared_store = world.processes.len() > 1;
            for process in &mut world.processes {
                process.skew_ms = 0;
                if shared_store {
                    process.epoch_ms.store(0, Ordering::Relaxed);
                }
                (process.paused_ms, process.cut_off_ms) = (0, BTreeMap::new());
            }
            if shared_store {
                world.rows.boots.clear();
            }
            if world.rng.chance(500) {
                world.rows.drained.clear();
            }
        }
        let probes = crowd::probes(&shared, &self.executor.engines());
        let (begin, mut look) = (shared.clock.now_ms(), shared.clock.now_ms());
        loop {
            let went_on = self.step();
            if self.violation().is_some() {
                return;
            }
            let now = shared.clock.now_ms();
            if now < look && went_on {
                continue;
            }
            look = now + LOOK_EVERY_MS;
            let mut world = shared.world();
            match settled(&world, &probes) {
                Ok(()) if now - begin >= at_least_ms => return,
                Err((invariant, what)) if invariant == "demand_is_served" || now - begin > SETTLE_MS => {
                    return world
                        .violate(invariant, format!("{} s after the last fault: {what}", (now - begin) / 1000));
                }
                _ if !went_on => return world.violate("somebody_goes_on", "nobody waits for anything any more"),
                _ => {}
            }
        }
    }
}

/// In some seeds, adds a process with the first runner's name, and returns when it is started.
fn twin(world: &mut World) -> BTreeMap<usize, i64> {
    if !world.faults.has(Fault::EqualName) {
        return BTreeMap::new();
    }
    world.faults.note(Fault::EqualName);
    let starts_ms = world.now_ms() + world.rng.between(1_000, 90_000);
    world.processes.push(Process::of_runner(0));
    BTreeMap::from([(world.processes.len() - 1, starts_ms)])
}

fn describe(pool: &kiln_pool::Pool) -> String {
    let flavors: Vec<String> = pool
        .flavors
        .iter()
        .map(|f| format!("{} warm {} limit {:?} hibernate {}", f.key, f.warm, f.limit, f.hibernate))
        .collect();
    let (schedules, fallbacks) = (pool.schedules.len(), pool.fallbacks.join(" "));
    format!(
        "pool {} on {} limit {} [{}] schedules {schedules} fallbacks {fallbacks}",
        pool.name,
        pool.driver,
        pool.limit,
        flavors.join("; ")
    )
}
