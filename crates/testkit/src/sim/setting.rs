//! A seed's decisions before anything happens: pools, times, clouds.

use std::collections::BTreeMap;

use kiln_pool::config::{Ages, Launch, Tenant};
use kiln_pool::schedule::Schedule;
use kiln_pool::{Config, Flavor, Pool, SiteId, Timing};

use super::cloud::{Cloud, Watchdog};
use super::rng::Rng;
use super::world::World;

/// The time when every world begins: a Monday morning.
pub const START_MS: i64 = 1_767_596_100_000;

/// Returns a pool with a base flavor only.
#[must_use]
pub fn pool(name: &str, driver: &str, limit: u32, warm: u32) -> Pool {
    Pool {
        name: name.to_owned(),
        driver: driver.to_owned(),
        site: SiteId::new(driver),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        limit,
        flavors: vec![flavor(name, warm)],
        schedules: Vec::new(),
        ages: Ages::default(),
        fallbacks: Vec::new(),
        imds: false,
        docker_socket: false,
    }
}

/// Returns an ordinary flavor.
#[must_use]
pub fn flavor(key: &str, warm: u32) -> Flavor {
    Flavor {
        key: key.to_owned(),
        variant: None,
        tenant: None,
        resource_class: None,
        nested_virtualization: false,
        warm,
        limit: None,
        hibernate: false,
        places: Vec::new(),
        launch: Launch { image: "debian".to_owned(), cpus: 2, memory_mib: 1024, disk_gib: 10, ..Launch::default() },
    }
}

/// Returns the pools and times of a seed.
pub fn config(rng: &mut Rng) -> Config {
    let mut pools = BTreeMap::new();
    let mut linux = pool("linux", "cloud", 0, small(rng, 2));
    if rng.chance(400) {
        let mut large = flavor("linux/large", small(rng, 1));
        (large.variant, large.resource_class) = (Some("large".to_owned()), Some("large".to_owned()));
        large.limit = rng.chance(400).then(|| 1 + small(rng, 1));
        linux.flavors.push(large);
    }
    if rng.chance(400) {
        let mut own = flavor("linux@acme", small(rng, 1));
        own.tenant = Some(Tenant { id: "acme".to_owned(), accounts: vec!["acme".to_owned()] });
        linux.flavors.push(own);
    }
    let mut warm: u32 = linux.flavors.iter().map(|f| f.warm).sum();
    if rng.chance(150) {
        let minutes = rng.between(2, 10);
        let schedule = Schedule::new(&format!("*/{minutes} * * * *"), "UTC", 60, small(rng, 2), None);
        warm += schedule.as_ref().map_or(0, |s| s.warm);
        linux.schedules.extend(schedule);
    }
    if rng.chance(500) {
        linux.flavors.iter_mut().for_each(|flavor| flavor.places = vec!["east".to_owned(), "west".to_owned()]);
    }
    linux.limit = warm.max(1) + small(rng, 3);
    if rng.chance(600) {
        linux.fallbacks.push("spare".to_owned());
        let mut spare = pool("spare", if rng.chance(500) { "cloud" } else { "den" }, 0, small(rng, 1));
        spare.limit = spare.flavors.iter().map(|f| f.warm).sum::<u32>().max(1) + small(rng, 2);
        pools.insert("spare".to_owned(), spare);
    }
    if rng.chance(400) {
        let mut deep = pool("deep", "den", 0, small(rng, 2));
        if let Some(base) = deep.flavors.first_mut() {
            base.hibernate = true;
            deep.limit = base.warm.max(1) + small(rng, 2);
        }
        pools.insert("deep".to_owned(), deep);
    }
    pools.insert("linux".to_owned(), linux);
    let max_age_s = u32::try_from(rng.between(8, 60) * 60).unwrap_or(3600);
    for pool in pools.values_mut() {
        let busy_max_age_s = u32::try_from(rng.between(60, 400)).unwrap_or(60);
        pool.ages = Ages { free_max_age_s: max_age_s / 2, busy_max_age_s, max_age_s };
    }
    Config { pools, timing: timing(rng) }
}

fn timing(rng: &mut Rng) -> Timing {
    Timing {
        boot_timeout_ms: rng.between(60_000, 180_000),
        launch_timeout_ms: rng.between(60_000, 180_000),
        unreachable_after_ms: rng.between(40_000, 90_000),
        vanished_after_ms: rng.between(100_000, 300_000),
        unattended_after_ms: rng.between(60_000, 180_000),
        surplus_after_ms: rng.between(5_000, 60_000),
        launches_at_once: u32::try_from(rng.between(1, 20)).unwrap_or(1),
    }
}

fn small(rng: &mut Rng, most: i64) -> u32 {
    u32::try_from(rng.between(0, most)).unwrap_or(0)
}

/// Gives the world its clouds, and records the limits that are in force.
pub fn clouds(world: &mut World) {
    let oldest = world.config.pools.values().map(|pool| i64::from(pool.ages.max_age_s)).max().unwrap_or(0) * 1000;
    // A patient watchdog does not hide omissions of the runners. It has random numbers of its own, so that those of the
    // world stay as they were.
    let patience_ms = *world.rng.clone().pick(&[20, 60, 240]).unwrap_or(&20) * 60_000;
    let watchdog = Watchdog { lease_ms: patience_ms, max_age_ms: oldest + patience_ms };
    world.clouds.insert("cloud".to_owned(), Cloud::new(false, watchdog));
    world.clouds.insert("den".to_owned(), Cloud::new(true, watchdog));
    note_limits(world);
}

/// Records the limits that are in force now. A lower limit never ends instances, so the highest one ever counts.
pub fn note_limits(world: &mut World) {
    for pool in world.config.pools.values() {
        let of_flavors = pool.flavors.iter().map(|f| (format!("flavor {}", f.key), f.limit.unwrap_or(u32::MAX)));
        for (key, limit) in of_flavors.chain([(format!("pool {}", pool.name), pool.limit)]) {
            let highest = world.marks.limits.entry(key).or_insert(limit);
            *highest = limit.max(*highest);
        }
    }
}
