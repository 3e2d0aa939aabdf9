//! The census: the instances of each pool and flavor, counted once for each plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Flavor, Pool};
use crate::id::InstanceId;
use crate::instance::{Instance, State};
use crate::plan::{Action, Breaker, Input, Planned, breaker, room_key, streak_key};
use crate::site::SiteId;
use crate::stage::Candidate;

/// A flavor and an image.
pub(super) type Kind = (String, String);

/// Returns the kind of instance that a candidate names.
pub(super) fn kind(candidate: &Candidate) -> Kind {
    (candidate.flavor.clone(), candidate.image.clone())
}

/// The count.
pub(super) struct Census<'a> {
    /// Every instance that is not gone. Those about to end count, because they are still there.
    pub(super) in_pool: BTreeMap<&'a str, Count>,
    /// The same by flavor.
    pub(super) in_flavor: BTreeMap<&'a str, Count>,
    /// Instances that serve no stage and are ready or on their way there, oldest first, without those that are held or
    /// about to end.
    pub(super) supply: BTreeMap<Kind, Vec<&'a Instance>>,
    breakers: BTreeMap<Kind, Breaker>,
    rooms: BTreeMap<(SiteId, String), Room>,
}

/// The state of launches in a place of a site.
#[derive(Debug, Default, Clone)]
struct Room {
    breaker: Breaker,
    starting: u32,
}

/// Numbers of instances.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    /// In any state but gone.
    pub(super) live: u32,
    /// On their way to ready.
    pub(super) starting: u32,
    /// Serving a stage.
    pub(super) busy: u32,
    /// Warm or asleep, and not held by anybody.
    pub(super) idle: u32,
    /// About to end.
    pub(super) ending: u32,
}

impl<'a> Census<'a> {
    pub(super) fn take(input: &Input<'a>, ending: &BTreeSet<InstanceId>, planned: &[Planned]) -> Self {
        let mut census = Self {
            in_pool: BTreeMap::new(),
            in_flavor: BTreeMap::new(),
            supply: BTreeMap::new(),
            breakers: BTreeMap::new(),
            rooms: BTreeMap::new(),
        };
        for instance in input.instances {
            let ends = ending.contains(&instance.id) || instance.state == State::Terminating;
            let held = instance.is_held(input.now_ms);
            census.in_pool.entry(&instance.pool).or_default().add(instance.state, ends, held);
            census.in_flavor.entry(&instance.flavor).or_default().add(instance.state, ends, held);
            if instance.state.is_supply() && !ends && !held {
                let kind = (instance.flavor.clone(), instance.image.clone());
                census.supply.entry(kind).or_default().push(instance);
            }
        }
        for of_kind in census.supply.values_mut() {
            of_kind.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        }
        census.breakers = breakers(input, planned);
        census.rooms = rooms(input);
        census
    }

    /// Returns the first place of a flavor where launches make sense now, and how many of them. Without places it is
    /// the site as a whole.
    pub(super) fn open_place(&self, pool: &Pool, flavor: &Flavor, now_ms: i64) -> Option<(String, u32)> {
        if flavor.places.is_empty() {
            return Some((String::new(), u32::MAX));
        }
        let open = |place: &String| {
            let room = self.rooms.get(&(pool.site.clone(), place.clone())).cloned().unwrap_or_default();
            let allowed = room.breaker.allows(now_ms);
            let left = if allowed == u32::MAX { allowed } else { allowed.saturating_sub(room.starting) };
            (left > 0).then(|| (place.clone(), left))
        };
        flavor.places.iter().find_map(open)
    }

    /// Returns the breaker of a flavor's last place when launches make sense in none of its places.
    pub(super) fn closed_room(&self, pool: &Pool, flavor: &Flavor, now_ms: i64) -> Option<Breaker> {
        let last = flavor.places.last().filter(|_| self.open_place(pool, flavor, now_ms).is_none())?;
        self.rooms.get(&(pool.site.clone(), last.clone())).map(|room| room.breaker.clone()).filter(|b| b.failures > 0)
    }

    pub(super) fn pool(&self, name: &str) -> Count {
        self.in_pool.get(name).copied().unwrap_or_default()
    }

    pub(super) fn flavor(&self, key: &str) -> Count {
        self.in_flavor.get(key).copied().unwrap_or_default()
    }

    pub(super) fn of_kind(&self, kind: &Kind) -> &[&'a Instance] {
        self.supply.get(kind).map_or(&[], Vec::as_slice)
    }

    pub(super) fn breaker(&self, kind: &Kind) -> Breaker {
        self.breakers.get(kind).cloned().unwrap_or_default()
    }
}

impl Count {
    fn add(&mut self, state: State, ends: bool, held: bool) {
        self.live += 1;
        match state {
            _ if ends => self.ending += 1,
            State::Claimed => self.busy += 1,
            State::Intended | State::Launching | State::Booting | State::Resuming => self.starting += 1,
            _ => self.idle += u32::from(!held),
        }
    }
}

/// Returns the places of all flavors.
fn rooms(input: &Input<'_>) -> BTreeMap<(SiteId, String), Room> {
    let mut rooms = BTreeMap::new();
    for pool in input.config.pools.values() {
        for place in pool.flavors.iter().flat_map(|flavor| &flavor.places) {
            let breaker = breaker(input.streaks.get(&room_key(&pool.site, place)));
            rooms.insert((pool.site.clone(), place.clone()), Room { breaker, starting: 0 });
        }
    }
    for instance in input.instances.iter().filter(|i| matches!(i.state, State::Intended | State::Launching)) {
        if let Some(room) = rooms.get_mut(&(instance.site.clone(), instance.place.clone())) {
            room.starting += 1;
        }
    }
    rooms
}

/// Returns the breaker of each kind of instance that exists or is asked for. A start that this very plan gives up
/// already counts.
fn breakers(input: &Input<'_>, planned: &[Planned]) -> BTreeMap<Kind, Breaker> {
    let own = input.config.pools.values().flat_map(|pool| &pool.flavors);
    let asked = input.stages.iter().flat_map(|stage| &stage.candidates).map(kind);
    let there = input.instances.iter().map(|i| (i.flavor.clone(), i.image.clone()));
    let kinds: BTreeSet<Kind> =
        own.map(|flavor| (flavor.key.clone(), flavor.launch.image.clone())).chain(asked).chain(there).collect();
    let given_up: BTreeSet<&InstanceId> = planned
        .iter()
        .filter_map(|p| match &p.action {
            Action::Terminate { id, cause, .. } if cause.is_failed_start() => Some(id),
            _ => None,
        })
        .collect();
    let mut failed: BTreeMap<Kind, u32> = BTreeMap::new();
    for instance in input.instances.iter().filter(|i| given_up.contains(&i.id)) {
        *failed.entry((instance.flavor.clone(), instance.image.clone())).or_default() += 1;
    }
    let of = |kind: Kind| {
        let before = breaker(input.streaks.get(&streak_key(&kind.0, &kind.1)));
        let now = before.failing(failed.get(&kind).copied().unwrap_or(0), input.now_ms);
        (kind, now)
    };
    kinds.into_iter().map(of).collect()
}
