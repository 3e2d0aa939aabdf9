//! The plan: from observations to a list of actions, each with its reason.
//!
//! ```text
//! observe (listings of sites, then rows, agents' health) ─► plan ─► execute ─► observe …
//! ```
//! Normal work and recovery are the same path: a row that a killed process left in any state is taken up from there.
//! Within one plan the order is: fix what is known (adopt, judge, end), end orphans, serve stages, and only then create
//! instances, under the limits.
//!
//! Listings are made beside the passes and may be old when they are used. So each has the time at which it was
//! requested, and proves something about a row only if the row has not changed since. Silence counts from the start of
//! this process at the earliest, so that a restart ends nobody. The time for which a row has not progressed counts from
//! when the store became usable again, so that an outage of the store ends nobody.

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

/// Everything that was observed. The order of observation matters. The listings were complete **before** the rows were
/// read, so a listed instance without a row really has none. Instances are read before stages.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The time of the rows, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long this process has been running, in milliseconds.
    pub uptime_ms: i64,
    /// For how long this process has watched the rows without a break, in milliseconds: since its start, or since the
    /// store became usable again.
    pub watched_ms: i64,
    /// This runner's name.
    pub me: &'a str,
    /// Desired state, from the pool file.
    pub config: &'a Config,
    /// All instances that are not gone.
    pub instances: &'a [Instance],
    /// Instances whose rows exist but cannot be read. They are left alone.
    pub unreadable: &'a BTreeSet<InstanceId>,
    /// All stages that have not ended.
    pub stages: &'a [Stage],
    /// The streaks of failed starts, by [`streak_key`] and [`room_key`].
    pub streaks: &'a BTreeMap<String, Streak>,
    /// The open sites. Nothing is judged, created or ended at any other site.
    pub sites: &'a BTreeMap<SiteId, SiteView>,
    /// The reasons why other sites are not open, for people.
    pub closed: &'a BTreeMap<SiteId, String>,
    /// When this process saw each row change.
    pub noticed: &'a Noticed,
    /// Ends of instances that drivers reported without being asked.
    pub ends: &'a BTreeMap<InstanceId, End>,
    /// Health of the agents.
    pub health: &'a BTreeMap<InstanceId, Health>,
    /// Instances that an action of this process works on now.
    pub busy: &'a BTreeSet<InstanceId>,
    /// The leases that this runner holds, by [`queue_lease`], [`pool_lease`] and [`sweep_lease`].
    pub leases: &'a BTreeSet<String>,
    /// Pools that an operator drains.
    pub drained: &'a BTreeSet<String>,
    /// For how long flavors that stages wait for have been missing from the configuration, as this process saw it.
    pub missing_ms: &'a BTreeMap<String, i64>,
}

/// Time after which a pool or flavor that is missing from the pool file is given up. A person who edits the file may
/// soon put it back, and other runners may read the file later.
pub const MISSING_AFTER_MS: i64 = 60_000;

/// Returns the name of the lease for serving a pool's stages.
#[must_use]
pub fn queue_lease(pool: &str) -> String {
    format!("queue:{pool}")
}

/// Returns the name of the lease for judging a pool's rows at a site and sizing the pool there.
#[must_use]
pub fn pool_lease(pool: &str, site: &SiteId) -> String {
    format!("pool:{pool}@{site}")
}

/// Returns the name of the lease for ending the orphans of a site.
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
    /// Number of concurrent launches beyond which the site gets no faster; none where it does not matter.
    pub launches_at_once: Option<u32>,
    /// Its latest complete listing, if there is one yet.
    pub listing: Option<Listing>,
}

impl Default for SiteView {
    fn default() -> Self {
        Self { can_hibernate: false, batch_max: 1, launches_at_once: None, listing: None }
    }
}

/// A listing of a site, without the instances of other installations.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The uptime at which it was requested, in milliseconds.
    pub asked_ms: i64,
    /// The instances that it shows.
    pub seen: BTreeMap<InstanceId, Seen>,
    /// For how long rows have been missing from listings, in milliseconds: from the first listing without them to this
    /// one.
    pub unseen_ms: BTreeMap<InstanceId, i64>,
}

/// One instance in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it is in its life.
    pub life: Life,
    /// Whether the listing contains the answer to its launch.
    pub launched: bool,
    /// Whether the listing says where its agent listens.
    pub addressed: bool,
}

/// When this process saw rows change, in milliseconds of its uptime. That is never before the change itself.
#[derive(Debug, Clone, Default)]
pub struct Noticed {
    /// When a live row was first seen with its present generation.
    pub changed_ms: BTreeMap<InstanceId, i64>,
    /// When a row that was live was first seen gone.
    pub went_ms: BTreeMap<InstanceId, i64>,
}

impl Noticed {
    /// Tells whether a listing that was requested at `asked_ms` reflects the row as it is now.
    #[must_use]
    pub fn is_current(&self, id: &InstanceId, asked_ms: i64) -> bool {
        self.changed_ms.get(id).is_none_or(|changed| asked_ms > *changed)
    }

    /// Tells whether a listing was requested after the row went.
    fn is_after_end(&self, id: &InstanceId, asked_ms: i64) -> bool {
        self.went_ms.get(id).is_none_or(|went| asked_ms > *went)
    }
}

/// Health of one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// When it last answered.
    pub answered_ms: Option<i64>,
    /// Since when it has not answered.
    pub failing_since_ms: Option<i64>,
    /// The agent's own reason why it serves no stage any more.
    pub over: Option<Cause>,
}

/// The result of [`plan`].
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The actions, the most important first.
    pub actions: Vec<Planned>,
    /// The wanted number of instances of each flavor, by the flavor's key, for the pools whose lease this runner holds.
    pub targets: BTreeMap<String, Target>,
}

/// Most stages whose reason to wait is written in one plan. Later plans write the others.
const EXPLAINED_AT_ONCE: usize = 50;

/// Decides about instances, orphans, stages and pool sizes.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut actions = instances::judge(input);
    actions.extend(instances::orphans(input));
    // An instance that is about to end is no supply and is given to nobody.
    let ending: BTreeSet<InstanceId> = actions.iter().filter_map(|p| p.action.ends()).cloned().collect();
    let census = census::Census::take(input, &ending, &actions);
    let served = stages::serve(input, &census);
    let sized = sizing::size(input, &census, &served.demand, &served.promised);
    actions.extend(served.planned);
    actions.extend(sized.planned);
    actions.extend(served.explained.into_iter().take(EXPLAINED_AT_ONCE));
    Plan { actions, targets: sized.targets }
}
