//! What to do now: from everything that was observed to a list of actions, each with its reason.
//!
//! ```text
//! observe (listings of sites, then rows, agents' health) ─► plan ─► execute ─► observe …
//! ```
//! Normal work and recovery are the same path: a row that a killed process left in any state is taken up where it stands.
//! Within one plan the order is: fix what is known (adopt, judge, end), end orphans, serve stages, and only then make new
//! instances, under the limits.
//!
//! Listings are made beside the passes and may be old when they are used. So each has the time at which it was asked for, and
//! says something about a row only when the row has not changed since. Judgements about silence count from the start of our
//! own process at the earliest, so that a restart ends nobody; those about rows that do not go on, from when the store could
//! be used again, so that its outage ends nobody.

mod actions;
mod breaker;
mod census;
mod instances;
mod sizing;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

pub use crate::wait::WaitReason;
pub use actions::{Action, Planned};
pub use breaker::{Breaker, Streak, breaker, counts_up_to, room_key, streak_key, streak_of};
pub use sizing::{Target, warm_target};

use crate::cause::Cause;
use crate::config::Config;
use crate::id::InstanceId;
use crate::instance::Instance;
use crate::life::{End, Life};
use crate::site::SiteId;
use crate::stage::Stage;

/// Everything that was observed. The order of observation matters: the listings that are used were complete **before** the
/// rows were read, so that a listed instance without a row has none; instances are read before stages.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The time of the rows, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long this process has been running, in milliseconds.
    pub uptime_ms: i64,
    /// For how long it has watched the rows without a break, in milliseconds: since its start, or since it could use the store
    /// again.
    pub watched_ms: i64,
    /// This runner.
    pub me: &'a str,
    /// Desired state, from the pool file.
    pub config: &'a Config,
    /// All instances that are not gone.
    pub instances: &'a [Instance],
    /// Instances whose rows are there and cannot be read. They are left alone.
    pub unreadable: &'a BTreeSet<InstanceId>,
    /// All stages that have not ended.
    pub stages: &'a [Stage],
    /// The failed starts, by [`streak_key`] and [`room_key`].
    pub streaks: &'a BTreeMap<String, Streak>,
    /// The sites that are open. Nothing is judged, made or ended at any other site.
    pub sites: &'a BTreeMap<SiteId, SiteView>,
    /// Why other sites are not open, for people.
    pub closed: &'a BTreeMap<SiteId, String>,
    /// When rows changed, as this process saw it.
    pub noticed: &'a Noticed,
    /// Ends of instances that drivers told of by themselves.
    pub ends: &'a BTreeMap<InstanceId, End>,
    /// What is known about agents.
    pub health: &'a BTreeMap<InstanceId, Health>,
    /// Instances that an action of this process works on now.
    pub busy: &'a BTreeSet<InstanceId>,
    /// The leases that this runner holds, by [`queue_lease`], [`pool_lease`] and [`sweep_lease`].
    pub leases: &'a BTreeSet<String>,
    /// Pools that an operator drains.
    pub drained: &'a BTreeSet<String>,
    /// For how long flavors that stages wait for have not been in the configuration, as this process saw it.
    pub missing_ms: &'a BTreeMap<String, i64>,
}

/// What the pool file does not have any more is given up after this: whoever edits it may be quick to put it back, and other
/// runners may read it later.
pub const MISSING_AFTER_MS: i64 = 60_000;

/// The lease whose holder serves a pool's stages.
#[must_use]
pub fn queue_lease(pool: &str) -> String {
    format!("queue:{pool}")
}

/// The lease whose holder judges a pool's rows at a site, and sizes the pool there.
#[must_use]
pub fn pool_lease(pool: &str, site: &SiteId) -> String {
    format!("pool:{pool}@{site}")
}

/// The lease whose holder ends the orphans of a site.
#[must_use]
pub fn sweep_lease(site: &SiteId) -> String {
    format!("sweep:{site}")
}

/// An open site.
#[derive(Debug, Clone)]
pub struct SiteView {
    /// Whether its instances can be put to sleep.
    pub can_hibernate: bool,
    /// Most instances that one launch may ask for, at least 1.
    pub batch_max: u32,
    /// Launches at once that get done sooner than fewer would; none where the site does not care.
    pub launches_at_once: Option<u32>,
    /// Its latest listing; none when none was complete yet.
    pub listing: Option<Listing>,
}

impl Default for SiteView {
    fn default() -> Self {
        Self { can_hibernate: false, batch_max: 1, launches_at_once: None, listing: None }
    }
}

/// A listing of a site, without what belongs to other installations.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The uptime at which it was asked for, in milliseconds.
    pub asked_ms: i64,
    /// What it shows.
    pub seen: BTreeMap<InstanceId, Seen>,
    /// For how long rows have been in no listing, from the first that lacked them to this one, in milliseconds.
    pub unseen_ms: BTreeMap<InstanceId, i64>,
}

/// One instance in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it is in its life.
    pub life: Life,
    /// Whether the listing tells what its launch answered.
    pub launched: bool,
    /// Whether it tells where the agent listens.
    pub addressed: bool,
}

/// When rows changed, as this process saw it, in milliseconds of its uptime. Later than the change itself, never earlier.
#[derive(Debug, Clone, Default)]
pub struct Noticed {
    /// When a live row was first seen with its present generation.
    pub changed_ms: BTreeMap<InstanceId, i64>,
    /// When a row that was live was first seen gone.
    pub went_ms: BTreeMap<InstanceId, i64>,
}

impl Noticed {
    /// Whether a listing that was asked for at `asked_ms` knows the row as it is now.
    #[must_use]
    pub fn is_current(&self, id: &InstanceId, asked_ms: i64) -> bool {
        self.changed_ms.get(id).is_none_or(|changed| asked_ms > *changed)
    }

    /// Whether a listing that was asked for at `asked_ms` was asked after the row went.
    fn is_after_end(&self, id: &InstanceId, asked_ms: i64) -> bool {
        self.went_ms.get(id).is_none_or(|went| asked_ms > *went)
    }
}

/// What is known about one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// When it last answered.
    pub answered_ms: Option<i64>,
    /// Since when it does not answer.
    pub failing_since_ms: Option<i64>,
    /// Why it serves no stage any more, as it says itself.
    pub over: Option<Cause>,
}

/// What was decided.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The actions, in the order in which they matter.
    pub actions: Vec<Planned>,
    /// How many instances of each flavor are wanted, by the flavor's key, of the pools that this runner has the lease of.
    pub targets: BTreeMap<String, Target>,
}

/// Most stages that are told in one plan why they wait; the others are told by the next ones.
const EXPLAINED_AT_ONCE: usize = 50;

/// Decides.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut actions = instances::judge(input);
    actions.extend(instances::orphans(input));
    // What is about to end is neither supply nor given to anybody.
    let ending: BTreeSet<InstanceId> = actions.iter().filter_map(|p| p.action.ends()).cloned().collect();
    let census = census::Census::take(input, &ending, &actions);
    let served = stages::serve(input, &census);
    let sized = sizing::size(input, &census, &served.demand, &served.promised);
    actions.extend(served.planned);
    actions.extend(sized.planned);
    actions.extend(served.explained.into_iter().take(EXPLAINED_AT_ONCE));
    Plan { actions, targets: sized.targets }
}
