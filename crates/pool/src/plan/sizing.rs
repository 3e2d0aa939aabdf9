//! The wanted number of instances, and the actions that reach it: create, wake, make room, end.

use std::collections::{BTreeMap, BTreeSet};

use crate::cause::{Cause, Code};
use crate::config::{Flavor, Pool};
use crate::id::InstanceId;
use crate::instance::{Instance, State};
use crate::plan::census::{Census, Kind};
use crate::plan::{Action, Input, Planned, pool_lease};
use crate::site::SiteId;
use crate::stage::Candidate;

/// Returns the number of ready instances that a flavor should have at this time.
#[must_use]
pub fn warm_target(pool: &Pool, flavor: &Flavor, now_ms: i64) -> u32 {
    let scheduled =
        |s: &&crate::schedule::Schedule| flavor.tenant.is_none() && s.variant == flavor.variant && s.holds(now_ms);
    let warm = pool.schedules.iter().rev().find(scheduled).map_or(flavor.warm, |schedule| schedule.warm);
    warm.min(flavor.limit.unwrap_or(u32::MAX)).min(pool.limit)
}

/// The wanted number of instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// Awake instances: those for waiting stages that get none now, and the warm ones.
    pub awake: u32,
    /// Instances that sleep until a stage waits for them.
    pub asleep: u32,
}

impl Target {
    /// Returns the sum of both.
    #[must_use]
    pub fn total(self) -> u32 {
        self.awake + self.asleep
    }

    fn of(input: &Input<'_>, pool: &Pool, flavor: &Flavor, warm: u32, demand: u32) -> Self {
        let sleeps = flavor.hibernate && input.sites.get(&pool.site).is_some_and(|site| site.can_hibernate);
        if sleeps { Self { awake: demand, asleep: warm } } else { Self { awake: demand + warm, asleep: 0 } }
    }
}

/// Decisions about numbers.
pub(super) struct Sized {
    /// The actions.
    pub(super) planned: Vec<Planned>,
    /// How many instances of each flavor are wanted, by its key.
    pub(super) targets: BTreeMap<String, Target>,
}

/// The wanted and the existing instances of one kind.
struct Want<'a> {
    pool: &'a Pool,
    flavor: &'a Flavor,
    image: String,
    /// Waiting stages that get no instance now.
    demand: u32,
    /// Stages among `demand` that no existing instance will serve soon.
    missing: u32,
    target: Target,
    have: Vec<&'a Instance>,
    /// The place of the next launches; none when launches make sense nowhere.
    place: Option<String>,
    /// Launches that the breakers of the kind and of the place allow.
    tries: u32,
}

/// Launches that this plan may still start.
struct Budget {
    sites: BTreeMap<SiteId, u32>,
    /// By site and place. Flavors that are launched in the same place share the launches that its breaker allows.
    places: BTreeMap<(SiteId, String), u32>,
    pools: BTreeMap<String, u32>,
    flavors: BTreeMap<String, u32>,
}

/// Plans the actions and targets of all pools.
pub(super) fn size(
    input: &Input<'_>,
    census: &Census<'_>,
    demand: &BTreeMap<Kind, u32>,
    promised: &BTreeSet<InstanceId>,
) -> Sized {
    let mut wants = wants(input, census, demand, promised);
    let mut budget = Budget::of(input, census);
    let mut planned = Vec::new();
    // Waiting stages come before warm instances.
    for want in &mut wants {
        planned.extend(wake(want));
        // An instance that is falling asleep serves nobody soon.
        let soon = want.have.iter().filter(|i| i.state != State::Hibernating).count();
        let missing = want.demand.saturating_sub(count(soon));
        let made = budget.take(want, missing);
        planned.extend(want.create(input, made, "a stage waits for it"));
        want.missing = missing;
        if made < missing {
            planned.extend(make_room(input, census, want, missing - made, promised));
        }
    }
    for want in &mut wants {
        // Instances for waiting stages are created now or by a later plan.
        let have = count(want.have.len()) + want.missing;
        let made = budget.take(want, want.target.total().saturating_sub(have));
        planned.extend(want.create(input, made, "too few instances are warm"));
        planned.extend(put_to_sleep(input, want));
        planned.extend(surplus(input, want));
    }
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for want in wants {
        let target = targets.entry(want.flavor.key.clone()).or_default();
        target.awake += want.target.awake;
        target.asleep += want.target.asleep;
    }
    Sized { planned, targets }
}

fn wants<'a>(
    input: &Input<'a>,
    census: &Census<'a>,
    demand: &BTreeMap<Kind, u32>,
    promised: &BTreeSet<InstanceId>,
) -> Vec<Want<'a>> {
    let mut wants = Vec::new();
    let ours = |pool: &&Pool| {
        input.leases.contains(&pool_lease(&pool.name, &pool.site)) && input.sites.contains_key(&pool.site)
    };
    for pool in input.config.pools.values().filter(ours) {
        let drained = input.drained.contains(&pool.name);
        for flavor in &pool.flavors {
            let mut images = vec![flavor.launch.image.clone()];
            let others = demand.keys().chain(census.supply.keys()).filter(|(key, _)| *key == flavor.key);
            images.extend(others.map(|(_, image)| image.clone()));
            images.sort();
            images.dedup();
            let open = census.open_place(pool, flavor, input.now_ms);
            for image in images {
                let kind = (flavor.key.clone(), image.clone());
                let own = image == flavor.launch.image && !drained;
                let starting = census.of_kind(&kind).iter().filter(|i| !at_rest(i)).count();
                let of_kind = census.breaker(&kind).allows(input.now_ms).saturating_sub(count(starting));
                let of_place = open.as_ref().map_or(0, |(_, allowed)| *allowed);
                let demand = if drained { 0 } else { demand.get(&kind).copied().unwrap_or(0) };
                let warm = if own { warm_target(pool, flavor, input.now_ms) } else { 0 };
                wants.push(Want {
                    pool,
                    flavor,
                    demand,
                    missing: 0,
                    target: Target::of(input, pool, flavor, warm, demand),
                    have: census.of_kind(&kind).iter().filter(|i| !promised.contains(&i.id)).copied().collect(),
                    place: open.as_ref().map(|(place, _)| place.clone()),
                    tries: of_kind.min(of_place),
                    image,
                });
            }
        }
    }
    wants
}

impl Want<'_> {
    /// Returns the creation of new instances, in batches as large as the site accepts.
    fn create(&self, input: &Input<'_>, count: u32, reason: &str) -> Vec<Planned> {
        let Some(place) = &self.place else { return Vec::new() };
        let batch_max = input.sites.get(&self.pool.site).map_or(1, |site| site.batch_max.max(1));
        let candidate =
            Candidate { pool: self.pool.name.clone(), flavor: self.flavor.key.clone(), image: self.image.clone() };
        let batch = |begun: u32| Action::Create {
            candidate: candidate.clone(),
            place: place.clone(),
            count: batch_max.min(count - begun),
        };
        (0..count).step_by(batch_max as usize).map(|begun| batch(begun).because(reason)).collect()
    }
}

impl Budget {
    fn of(input: &Input<'_>, census: &Census<'_>) -> Self {
        let mut starting: BTreeMap<&SiteId, u32> = BTreeMap::new();
        for instance in input.instances.iter().filter(|i| matches!(i.state, State::Intended | State::Launching)) {
            *starting.entry(&instance.site).or_default() += 1;
        }
        let of_all = input.config.timing.launches_at_once;
        let sites = input.sites.iter().map(|(id, site)| {
            let at_once = site.launches_at_once.map_or(of_all, |at_once| at_once.max(1).min(of_all));
            (id.clone(), at_once.saturating_sub(starting.get(id).copied().unwrap_or(0)))
        });
        let pools = input.config.pools.values();
        let room = |p: &Pool| (p.name.clone(), p.limit.saturating_sub(census.pool(&p.name).live));
        let flavors = pools.clone().flat_map(|pool| &pool.flavors).map(|flavor| {
            let there = census.flavor(&flavor.key);
            (flavor.key.clone(), flavor.limit.map_or(u32::MAX, |limit| limit.saturating_sub(there.live)))
        });
        let all = pools.clone().flat_map(|pool| pool.flavors.iter().map(move |flavor| (pool, flavor)));
        let places = all.filter_map(|(pool, flavor)| {
            let (place, allowed) = census.open_place(pool, flavor, input.now_ms)?;
            Some(((pool.site.clone(), place), allowed))
        });
        Self {
            sites: sites.collect(),
            places: places.collect(),
            flavors: flavors.collect(),
            pools: pools.map(room).collect(),
        }
    }

    /// Takes as many launches as are still allowed.
    fn take(&mut self, want: &mut Want<'_>, wish: u32) -> u32 {
        let place = want.place.clone().map(|place| (want.pool.site.clone(), place));
        let (Some(site), Some(place), Some(pool), Some(flavor)) = (
            self.sites.get_mut(&want.pool.site),
            place.and_then(|place| self.places.get_mut(&place)),
            self.pools.get_mut(&want.pool.name),
            self.flavors.get_mut(&want.flavor.key),
        ) else {
            return 0;
        };
        let made = wish.min(*site).min(*place).min(*pool).min(*flavor).min(want.tries);
        want.tries -= made;
        for left in [site, place, pool, flavor] {
            *left -= made;
        }
        made
    }
}

/// Wakes as many sleeping instances as stages need beyond those that are awake.
fn wake(want: &Want<'_>) -> Vec<Planned> {
    let awake = count(want.have.iter().filter(|i| !asleep(i)).count());
    let sleeping = want.have.iter().filter(|i| i.state == State::Hibernated);
    let resume =
        |i: &&Instance| Action::Resume { id: i.id.clone(), generation: i.generation }.because("a stage waits for it");
    sleeping.take(want.demand.saturating_sub(awake) as usize).map(resume).collect()
}

/// Puts warm instances to sleep that no stage waits for, as many as should sleep.
fn put_to_sleep(input: &Input<'_>, want: &Want<'_>) -> Vec<Planned> {
    let sleeping = count(want.have.iter().filter(|i| asleep(i)).count());
    let idle = want.have.iter().filter(|i| i.state == State::Ready && !input.busy.contains(&i.id));
    let hibernate = |i: &&Instance| {
        let action = Action::Hibernate { id: i.id.clone(), generation: i.generation };
        action.because("its pool keeps warm instances asleep")
    };
    let wish = want.target.asleep.saturating_sub(sleeping) as usize;
    idle.skip(want.target.awake as usize).take(wish).map(hibernate).collect()
}

/// Ends warm instances of other kinds in a full pool for stages that they cannot serve. Where a flavor is full, only
/// its own instances make room.
fn make_room(
    input: &Input<'_>,
    census: &Census<'_>,
    want: &Want<'_>,
    missing: u32,
    promised: &BTreeSet<InstanceId>,
) -> Vec<Planned> {
    let (in_pool, in_flavor) = (census.pool(&want.pool.name), census.flavor(&want.flavor.key));
    let flavor_is_full = want.flavor.limit.is_some_and(|limit| in_flavor.live >= limit);
    if want.tries == 0 || !(flavor_is_full || in_pool.live >= want.pool.limit) {
        return Vec::new();
    }
    let kind = (want.flavor.key.clone(), want.image.clone());
    // It ends no more than could be started in their place. Instances that are already ending count.
    let startable = match want.flavor.limit {
        Some(limit) if !flavor_is_full => want.tries.min(limit - in_flavor.live),
        _ => want.tries,
    };
    let ending = if flavor_is_full { in_flavor.ending } else { in_pool.ending };
    let missing = missing.min(startable).saturating_sub(ending);
    let others = census.supply.iter().filter(|(other, _)| **other != kind).flat_map(|(_, instances)| instances);
    others
        .filter(|i| i.flavor == want.flavor.key || !flavor_is_full)
        .filter(|i| i.pool == want.pool.name && matches!(i.state, State::Ready | State::Hibernated))
        .filter(|i| !input.busy.contains(&i.id) && !promised.contains(&i.id))
        .take(missing as usize)
        .map(|i| end(i, Code::MadeRoom, format!("the pool is full and a stage waits for {}", want.flavor.key)))
        .collect()
}

/// Ends surplus warm instances after a while.
fn surplus(input: &Input<'_>, want: &Want<'_>) -> Vec<Planned> {
    let excess = want.have.len().saturating_sub(want.target.total() as usize);
    let idle = |i: &&&Instance| {
        let long = (input.now_ms - i.since_ms).min(input.uptime_ms) > input.config.timing.surplus_after_ms;
        at_rest(i) && long && !input.busy.contains(&i.id)
    };
    let why = format!("{} exist and {} are wanted", want.have.len(), want.target.total());
    want.have.iter().filter(idle).take(excess).map(|i| end(i, Code::Surplus, why.clone())).collect()
}

fn end(instance: &Instance, code: Code, evidence: String) -> Planned {
    let cause = Cause::new(code, evidence);
    let reason = cause.to_string();
    Action::Terminate { id: instance.id.clone(), generation: instance.generation, cause }.because(reason)
}

/// Tells whether an instance is neither starting, falling asleep nor waking.
fn at_rest(instance: &Instance) -> bool {
    matches!(instance.state, State::Ready | State::Hibernated)
}

fn asleep(instance: &Instance) -> bool {
    matches!(instance.state, State::Hibernating | State::Hibernated)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
