//! Everything outside of the runners' processes: rows, clouds, networks, and the observers that check invariants.

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

/// A part from which a runner may be cut off.
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
    /// The observation.
    pub what: String,
}

/// One runner's process as the world sees it.
#[derive(Debug, Default)]
pub struct Process {
    /// The name of its runner.
    pub name: String,
    /// Whether it ended because a later process of its name was started. It is not started again.
    pub superseded: bool,
    /// Whether it runs.
    pub up: bool,
    /// Number of its present start.
    pub incarnation: u32,
    /// Time of its start.
    pub started_ms: i64,
    /// Time until which it cannot reach each part.
    pub cut_off_ms: BTreeMap<Part, i64>,
    /// Time until which it is paused.
    pub paused_ms: i64,
    /// How far its host's wall clock is ahead.
    pub skew_ms: i64,
    /// How far the clock that dates its rows is ahead. That is the wall clock's error when it took its epoch.
    pub epoch_ms: Arc<AtomicI64>,
    /// Open calls of the cloud and of agents about an instance, by incarnation.
    pub working: BTreeSet<(u32, String)>,
    /// The store's refusals of its calls.
    pub refused: Refused,
    /// Whether it has held leases since its present start.
    pub leased: bool,
}

impl Process {
    /// Creates the process of this runner.
    #[must_use]
    pub fn of_runner(runner: usize) -> Self {
        Self { name: format!("runner{runner}"), ..Self::default() }
    }
}

/// Duration of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Random, by the seed.
    Random,
    /// Always the same, for transcripts that people read.
    Steady,
}

/// The world.
pub struct World {
    /// The only randomness.
    pub rng: Rng,
    /// The faults and their rates.
    pub faults: Rates,
    /// Whether faults have stopped and everybody behaves well.
    pub calm: bool,
    /// Duration of calls.
    pub pace: Pace,
    /// The desired state, as in the file now.
    pub config: Config,
    /// The rows.
    pub rows: Rows,
    /// The troubles of the store.
    pub trouble: StoreTrouble,
    /// The clouds, by driver.
    pub clouds: BTreeMap<String, Cloud>,
    /// The runners.
    pub processes: Vec<Process>,
    /// The events.
    pub transcript: Transcript,
    /// The first broken invariant.
    pub violation: Option<Violation>,
    /// The observers' memory.
    pub marks: Marks,
    /// Runners that end after the present poll.
    pub crashes: BTreeSet<usize>,
    /// Tasks that are dropped after the present poll.
    pub dropped: Vec<TaskId>,
    /// Time that passed while a runner was well, so that a limit counts only time in which somebody could act.
    pub well_ms: i64,
    /// The part of that time in which rows of all kinds could be written.
    pub able_ms: i64,
    /// Stages whose client is still there.
    pub attached: BTreeSet<StageId>,
    ids: u64,
    clock: Arc<Clock>,
}

/// The state that all tasks share.
pub struct Shared {
    /// The clock.
    pub clock: Arc<Clock>,
    world: Mutex<World>,
}

impl Shared {
    /// Shares a world and its clock.
    #[must_use]
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self { clock: Arc::clone(&world.clock), world: Mutex::new(world) })
    }

    /// Returns the world, for no longer than one effect.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Creates a world in which nothing has happened yet.
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

    /// Returns the true time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Returns a new token.
    pub fn new_token(&mut self) -> String {
        self.ids += 1;
        format!("i{}", self.ids)
    }

    /// Decides whether a fault happens now.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        self.strikes_in("", fault)
    }

    /// Decides whether a fault happens now, in a call of this name.
    pub fn strikes_in(&mut self, call: &str, fault: Fault) -> bool {
        !self.calm && self.faults.strikes(fault, call, &mut self.rng)
    }

    /// Adds a line to the transcript.
    pub fn say(&mut self, text: &str) {
        let now = self.now_ms();
        self.transcript.say(now, text);
    }

    /// Records a broken invariant. Only the first one counts, because others may follow from it.
    pub fn violate(&mut self, invariant: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let what = what.into();
            self.say(&format!("VIOLATION of {invariant}: {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }

    /// Returns whether the runner cannot reach that part now.
    #[must_use]
    pub fn is_cut_off(&self, runner: usize, part: Part) -> bool {
        self.processes.get(runner).and_then(|p| p.cut_off_ms.get(&part)).is_some_and(|until| *until > self.now_ms())
    }

    /// Returns whether the runner can now do everything that ends something.
    #[must_use]
    pub fn is_well(&self, runner: usize) -> bool {
        let now = self.now_ms();
        let goes_on = |p: &Process| p.up && p.paused_ms <= now && p.cut_off_ms.values().all(|t| *t <= now);
        self.can_end() && self.processes.get(runner).is_some_and(goes_on)
    }

    /// Returns whether every runner can ask its agents now.
    #[must_use]
    pub fn all_can_ask(&self) -> bool {
        let now = self.now_ms();
        let asks = |p: &Process| p.up && p.leased && p.paused_ms <= now;
        let reaches = |p: &Process| p.cut_off_ms.get(&Part::Agents).is_none_or(|until| *until <= now);
        self.processes.iter().all(|p| p.superseded || asks(p) && reaches(p))
    }

    /// Returns the clock by which a runner dates rows.
    #[must_use]
    pub fn row_clock_ms(&self, runner: usize) -> i64 {
        self.now_ms() + self.processes.get(runner).map_or(0, |p| p.epoch_ms.load(Ordering::Relaxed))
    }

    /// Returns how long a call travels: mostly short.
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
