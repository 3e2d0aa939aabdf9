//! What to do now: from everything that was observed to a list of actions, each with its reason.
//!
//! ```text
//! observe (cloud listing, then rows, agents' health) ─► plan ─► execute ─► observe …
//! ```
//! Normal work and recovery are the same path: a row that a killed process left in any state is taken up where it stands.
//! Within one plan the order is: fix what is known (adopt, judge, end), end orphans, serve stages, and only then make new
//! instances, under the limits.
//!
//! Judgements about silence count from the start of our own process at the earliest, so that a restart ends nobody.

mod actions;
mod breaker;
mod census;
mod instances;
mod sizing;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

pub use actions::{Action, Planned};
pub use breaker::{Breaker, Streak, breaker, counts_up_to, streak_key};
pub use sizing::warm_target;

use crate::config::Config;
use crate::id::InstanceId;
use crate::instance::Instance;
use crate::stage::Stage;

/// Everything that was observed. The order of observation matters: each cloud is listed **before** the rows are read, so that
/// a listed instance without a row has none; instances are read before stages.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long this process has been running, in milliseconds.
    pub uptime_ms: i64,
    /// This runner.
    pub me: &'a str,
    /// What is to be.
    pub config: &'a Config,
    /// All instances that are not gone.
    pub instances: &'a [Instance],
    /// All stages that have not ended.
    pub stages: &'a [Stage],
    /// The failed starts, by [`streak_key`].
    pub streaks: &'a BTreeMap<String, Streak>,
    /// What each driver lists; a driver whose listing failed is absent, and nothing is concluded from that.
    pub clouds: &'a BTreeMap<String, Cloud>,
    /// What is known about agents.
    pub health: &'a BTreeMap<InstanceId, Health>,
    /// Instances that an action of this process works on now.
    pub busy: &'a BTreeSet<InstanceId>,
    /// The leases that this runner holds: it acts on these pools and, by [`driver_lease`], sweeps these drivers.
    pub leases: &'a BTreeSet<String>,
    /// Pools that an operator drains.
    pub drained: &'a BTreeSet<String>,
    /// For how long flavors that stages wait for have not been in the configuration, by the observer's memory.
    pub missing_ms: &'a BTreeMap<String, i64>,
}

/// What the pool file does not have any more is given up after this: whoever edits it may be quick to put it back, and other
/// runners may read it later.
pub const MISSING_AFTER_MS: i64 = 60_000;

/// The name of the lease whose holder ends a driver's orphans.
#[must_use]
pub fn driver_lease(driver: &str) -> String {
    format!("driver:{driver}")
}

/// One driver's listing.
#[derive(Debug, Clone, Default)]
pub struct Cloud {
    /// What it showed.
    pub seen: BTreeMap<InstanceId, Seen>,
    /// Since when rows of it are in no listing any more, by the observer's memory.
    pub unseen_since_ms: BTreeMap<InstanceId, i64>,
    /// Whether its instances can be put to sleep.
    pub can_hibernate: bool,
}

/// One instance as the cloud shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether it runs.
    pub running: bool,
    /// Whether its address is known.
    pub addressed: bool,
}

/// What is known about one agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// When it last answered.
    pub answered_ms: Option<i64>,
    /// Since when it does not answer.
    pub failing_since_ms: Option<i64>,
}

/// Most stages that are told in one plan why they wait; the others are told by the next ones.
const EXPLAINED_AT_ONCE: usize = 50;

/// Decides.
#[must_use]
pub fn plan(input: &Input<'_>) -> Vec<Planned> {
    let mut planned = instances::judge(input);
    planned.extend(instances::orphans(input));
    // What is about to end is neither supply nor given to anybody.
    let ending: BTreeSet<InstanceId> = planned.iter().filter_map(|p| p.action.ends()).cloned().collect();
    let census = census::Census::take(input, &ending, &planned);
    let served = stages::serve(input, &census);
    let sized = sizing::size(input, &census, &served.demand, &served.promised);
    planned.extend(served.planned);
    planned.extend(sized);
    planned.extend(served.explained.into_iter().take(EXPLAINED_AT_ONCE));
    planned
}
