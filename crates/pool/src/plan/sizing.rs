//! How many instances are wanted, and what follows from that: make, wake, make room, end.

use std::collections::{BTreeMap, BTreeSet};

use crate::cause::{Cause, Code};
use crate::config::{Flavor, Pool};
use crate::id::InstanceId;
use crate::instance::{Instance, State};
use crate::plan::census::{Census, Kind};
use crate::plan::{Action, Input, Planned};
use crate::stage::Candidate;

/// Instances that are wanted ready of a flavor at this time.
#[must_use]
pub fn warm_target(pool: &Pool, flavor: &Flavor, now_ms: i64) -> u32 {
    let scheduled =
        |s: &&crate::schedule::Schedule| flavor.tenant.is_none() && s.variant == flavor.variant && s.holds(now_ms);
    let warm = pool.schedules.iter().rev().find(scheduled).map_or(flavor.warm, |schedule| schedule.warm);
    warm.min(flavor.limit.unwrap_or(u32::MAX)).min(pool.limit)
}

/// What is wanted of one kind of instance, and what is there.
struct Want<'a> {
    pool: &'a Pool,
    flavor: &'a Flavor,
    image: String,
    demand: u32,
    warm: u32,
    have: Vec<&'a Instance>,
    /// Launches that its breaker allows.
    tries: u32,
}

/// What may still be started in this plan.
struct Budget {
    launches: u32,
    pools: BTreeMap<String, u32>,
    flavors: BTreeMap<String, u32>,
}

/// The actions.
pub(super) fn size(
    input: &Input<'_>,
    census: &Census<'_>,
    demand: &BTreeMap<Kind, u32>,
    promised: &BTreeSet<InstanceId>,
) -> Vec<Planned> {
    let mut wants = wants(input, census, demand, promised);
    let mut budget = Budget::of(input, census);
    let mut planned = Vec::new();
    // Stages that wait come before warmth.
    for want in &mut wants {
        planned.extend(wake(want));
        let awake = want.have.iter().filter(|i| !asleep(i)).count();
        let asleep = want.have.len() - awake;
        let missing = want.demand.saturating_sub(count(awake)).saturating_sub(count(asleep));
        let made = budget.take(want, missing);
        planned.extend((0..made).map(|_| want.create("a stage waits for it")));
        if made < missing {
            planned.extend(make_room(input, census, want, missing - made, promised));
        }
    }
    for want in &mut wants {
        let have = count(want.have.len()).max(want.demand);
        let made = budget.take(want, (want.demand + want.warm).saturating_sub(have));
        planned.extend((0..made).map(|_| want.create("fewer are warm than are wanted")));
        planned.extend(surplus(input, want));
    }
    planned
}

fn wants<'a>(
    input: &Input<'a>,
    census: &Census<'a>,
    demand: &BTreeMap<Kind, u32>,
    promised: &BTreeSet<InstanceId>,
) -> Vec<Want<'a>> {
    let mut wants = Vec::new();
    for pool in input.config.pools.values().filter(|pool| input.leases.contains(&pool.name)) {
        let drained = input.drained.contains(&pool.name);
        for flavor in &pool.flavors {
            let mut images = vec![flavor.launch.image.clone()];
            let others = demand.keys().chain(census.supply.keys()).filter(|(key, _)| *key == flavor.key);
            images.extend(others.map(|(_, image)| image.clone()));
            images.sort();
            images.dedup();
            for image in images {
                let kind = (flavor.key.clone(), image.clone());
                let own = image == flavor.launch.image && !drained;
                let starting = census.of_kind(&kind).iter().filter(|i| !at_rest(i)).count();
                wants.push(Want {
                    tries: census.breaker(&kind).allows(input.now_ms).saturating_sub(count(starting)),
                    pool,
                    flavor,
                    demand: if drained { 0 } else { demand.get(&kind).copied().unwrap_or(0) },
                    warm: if own { warm_target(pool, flavor, input.now_ms) } else { 0 },
                    have: census.of_kind(&kind).iter().filter(|i| !promised.contains(&i.id)).copied().collect(),
                    image,
                });
            }
        }
    }
    wants
}

impl Want<'_> {
    fn create(&self, reason: &str) -> Planned {
        let (pool, flavor) = (self.pool.name.clone(), self.flavor.key.clone());
        Action::Create { candidate: Candidate { pool, flavor, image: self.image.clone() } }.because(reason)
    }
}

impl Budget {
    fn of(input: &Input<'_>, census: &Census<'_>) -> Self {
        let under_way = |i: &&Instance| matches!(i.state, State::Intended | State::Launching);
        let starting = count(input.instances.iter().filter(under_way).count());
        let pools = input.config.pools.values();
        let room = |p: &Pool| (p.name.clone(), p.limit.saturating_sub(census.pool(&p.name).live));
        let flavors = pools.clone().flat_map(|pool| &pool.flavors).map(|flavor| {
            let there = census.flavor(&flavor.key);
            (flavor.key.clone(), flavor.limit.map_or(u32::MAX, |limit| limit.saturating_sub(there.live)))
        });
        Self {
            launches: input.config.timing.launches_at_once.saturating_sub(starting),
            flavors: flavors.collect(),
            pools: pools.map(room).collect(),
        }
    }

    /// Takes as many launches as are still allowed.
    fn take(&mut self, want: &mut Want<'_>, wish: u32) -> u32 {
        let (Some(pool), Some(flavor)) = (self.pools.get_mut(&want.pool.name), self.flavors.get_mut(&want.flavor.key))
        else {
            return 0;
        };
        let made = wish.min(self.launches).min(*pool).min(*flavor).min(want.tries);
        want.tries -= made;
        (self.launches, *pool, *flavor) = (self.launches - made, *pool - made, *flavor - made);
        made
    }
}

/// Wakes as many sleeping ones as stages need beyond those that are awake.
fn wake(want: &Want<'_>) -> Vec<Planned> {
    let awake = count(want.have.iter().filter(|i| !asleep(i)).count());
    let sleeping = want.have.iter().filter(|i| i.state == State::Hibernated);
    let resume =
        |i: &&Instance| Action::Resume { id: i.id.clone(), generation: i.generation }.because("a stage waits for it");
    sleeping.take(want.demand.saturating_sub(awake) as usize).map(resume).collect()
}

/// Ends warm instances of other kinds in a full pool, where stages wait that they cannot serve. Where a flavor is full, only
/// its own make room.
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
    // No more than could be started in their places, and those that end already are some of them.
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

/// Ends warm instances too many, after a while.
fn surplus(input: &Input<'_>, want: &Want<'_>) -> Vec<Planned> {
    let excess = want.have.len().saturating_sub((want.demand + want.warm) as usize);
    let idle = |i: &&&Instance| {
        let long = (input.now_ms - i.since_ms).min(input.uptime_ms) > input.config.timing.surplus_after_ms;
        at_rest(i) && long && !input.busy.contains(&i.id)
    };
    let why = format!("{} are there and {} are wanted", want.have.len(), want.demand + want.warm);
    want.have.iter().filter(idle).take(excess).map(|i| end(i, Code::Surplus, why.clone())).collect()
}

fn end(instance: &Instance, code: Code, evidence: String) -> Planned {
    let cause = Cause::new(code, evidence);
    let reason = cause.to_string();
    Action::Terminate { id: instance.id.clone(), generation: instance.generation, cause }.because(reason)
}

/// Neither on the way to being ready, nor asleep or awake on the way to the other.
fn at_rest(instance: &Instance) -> bool {
    matches!(instance.state, State::Ready | State::Hibernated)
}

fn asleep(instance: &Instance) -> bool {
    matches!(instance.state, State::Hibernating | State::Hibernated)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
