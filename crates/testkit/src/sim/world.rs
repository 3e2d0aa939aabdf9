//! Everything outside of the runners' processes: rows, clouds, networks, and the observers who check invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_pool::{Config, StageId};

use super::clock::{Clock, TaskId};
use super::cloud::Cloud;
use super::fault::{Fault, Rates};
use super::invariant::Marks;
use super::rng::Rng;
use super::rows::Rows;
use super::transcript::Transcript;
use super::trouble::{Refused, StoreTrouble};

/// What a runner may be cut off from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The rows.
    Store,
    /// The clouds.
    Cloud,
    /// The agents.
    Agents,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// One runner's process as the world sees it.
#[derive(Debug, Default)]
pub struct Process {
    /// The name of its runner.
    pub name: String,
    /// It ended because a later one of its name was started, and is not started again.
    pub superseded: bool,
    /// Whether it runs.
    pub up: bool,
    /// Which start of it this is.
    pub incarnation: u32,
    /// When it was started.
    pub started_ms: i64,
    /// Until when it cannot reach a part.
    pub cut_off_ms: BTreeMap<Part, i64>,
    /// Until when it stands still.
    pub paused_ms: i64,
    /// How much its host's wall clock is ahead.
    pub skew_ms: i64,
    /// How much the clock is ahead by which it dates rows: as the wall clock was when it took its epoch.
    pub epoch_ms: Arc<AtomicI64>,
    /// Calls of the cloud and of agents about an instance that are under way, by incarnation.
    pub working: BTreeSet<(u32, String)>,
    /// What the store refuses it.
    pub refused: Refused,
    /// Whether this start of it ever held leases.
    pub leased: bool,
}

impl Process {
    /// The process of this runner.
    #[must_use]
    pub fn of_runner(runner: usize) -> Self {
        Self { name: format!("runner{runner}"), ..Self::default() }
    }
}

/// How long calls take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As the seed wants it.
    Random,
    /// Always the same, for transcripts that people read.
    Steady,
}

/// The world.
pub struct World {
    /// The only randomness.
    pub rng: Rng,
    /// What goes wrong, and how often.
    pub faults: Rates,
    /// No fault happens any more and everybody behaves.
    pub calm: bool,
    /// How long calls take.
    pub pace: Pace,
    /// What is to be, as it stands in the file now.
    pub config: Config,
    /// The rows.
    pub rows: Rows,
    /// What is wrong with the store that keeps them.
    pub trouble: StoreTrouble,
    /// The clouds, by driver.
    pub clouds: BTreeMap<String, Cloud>,
    /// The runners.
    pub processes: Vec<Process>,
    /// What happened.
    pub transcript: Transcript,
    /// The first invariant that broke.
    pub violation: Option<Violation>,
    /// What the observers remember.
    pub marks: Marks,
    /// Runners that end after the present poll.
    pub crashes: BTreeSet<usize>,
    /// Tasks that are dropped after the present poll.
    pub dropped: Vec<TaskId>,
    /// Time that passed while a runner was well, so that a bound holds only for what could be done.
    pub well_ms: i64,
    /// The part of it in which rows of all kinds could be written.
    pub able_ms: i64,
    /// Stages whose client is still there.
    pub attached: BTreeSet<StageId>,
    ids: u64,
    clock: Arc<Clock>,
}

/// What all tasks share.
pub struct Shared {
    /// The clock.
    pub clock: Arc<Clock>,
    world: Mutex<World>,
}

impl Shared {
    /// The world with its clock.
    #[must_use]
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self { clock: Arc::clone(&world.clock), world: Mutex::new(world) })
    }

    /// The world, for no longer than one effect.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// A world in which nothing happened yet.
    #[must_use]
    pub fn new(clock: &Arc<Clock>, rng: Rng, config: Config, runners: usize) -> Self {
        let now_ms = clock.now_ms();
        Self {
            rng,
            faults: Rates::default(),
            calm: false,
            pace: Pace::Random,
            config,
            rows: Rows::default(),
            trouble: StoreTrouble::default(),
            clouds: BTreeMap::new(),
            processes: (0..runners).map(Process::of_runner).collect(),
            transcript: Transcript::new(now_ms, false),
            violation: None,
            marks: Marks::default(),
            crashes: BTreeSet::new(),
            dropped: Vec::new(),
            well_ms: 0,
            able_ms: 0,
            attached: BTreeSet::new(),
            ids: 0,
            clock: Arc::clone(clock),
        }
    }

    /// The true time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// A token that there never was.
    pub fn new_token(&mut self) -> String {
        self.ids += 1;
        format!("i{}", self.ids)
    }

    /// Whether a fault happens now.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        self.strikes_in("", fault)
    }

    /// Whether a fault happens now, in a call of this name.
    pub fn strikes_in(&mut self, call: &str, fault: Fault) -> bool {
        !self.calm && self.faults.strikes(fault, call, &mut self.rng)
    }

    /// Adds a line to the transcript.
    pub fn say(&mut self, text: &str) {
        let now = self.now_ms();
        self.transcript.say(now, text);
    }

    /// Notes a broken invariant. Only the first counts: what follows may follow from it.
    pub fn violate(&mut self, invariant: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let what = what.into();
            self.say(&format!("VIOLATION of {invariant}: {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }

    /// Whether the runner cannot reach that part now.
    #[must_use]
    pub fn is_cut_off(&self, runner: usize, part: Part) -> bool {
        self.processes.get(runner).and_then(|p| p.cut_off_ms.get(&part)).is_some_and(|until| *until > self.now_ms())
    }

    /// Whether the runner could do everything now that ends something.
    #[must_use]
    pub fn is_well(&self, runner: usize) -> bool {
        let now = self.now_ms();
        let goes_on = |p: &Process| p.up && p.paused_ms <= now && p.cut_off_ms.values().all(|t| *t <= now);
        self.can_end() && self.processes.get(runner).is_some_and(goes_on)
    }

    /// Whether every runner could ask its agents now.
    #[must_use]
    pub fn all_can_ask(&self) -> bool {
        let now = self.now_ms();
        let asks = |p: &Process| p.up && p.leased && p.paused_ms <= now;
        let reaches = |p: &Process| p.cut_off_ms.get(&Part::Agents).is_none_or(|until| *until <= now);
        self.processes.iter().all(|p| p.superseded || asks(p) && reaches(p))
    }

    /// The clock by which a runner dates rows.
    #[must_use]
    pub fn row_clock_ms(&self, runner: usize) -> i64 {
        self.now_ms() + self.processes.get(runner).map_or(0, |p| p.epoch_ms.load(Ordering::Relaxed))
    }

    /// How long a call takes on its way there: mostly short.
    pub fn delay(&mut self, usual_ms: i64) -> i64 {
        if self.pace == Pace::Steady {
            return usual_ms;
        }
        match self.rng.below(10) {
            0..=5 => self.rng.between(0, usual_ms),
            6..=8 => self.rng.between(0, 5 * usual_ms),
            _ => self.rng.between(0, 20 * usual_ms),
        }
    }
}
