//! The people of a random world: clients that come and go, and an operator who meddles.

use std::sync::{Arc, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::Demand;
use kiln_pool::{Pool, Request, StageId};

use super::clients::{Client, Manners, ask, live};
use super::clock::Owner;
use super::executor::Engines;
use super::setting;
use super::world::{Shared, World};

/// A seed's decisions about its people.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Longest pause between two stages.
    pub pause_ms: i64,
    /// Whether clients misbehave.
    pub rude: bool,
    /// Longest pause between two actions of the operator; none if there is no operator.
    pub operator_ms: Option<i64>,
    /// Whether the operator changes the pool file.
    pub reloads: bool,
}

impl Habits {
    /// Returns the habits of a seed.
    pub fn random(world: &mut World) -> Self {
        let rng = &mut world.rng;
        Self {
            pause_ms: *rng.pick(&[3_000, 10_000, 30_000, 90_000]).unwrap_or(&10_000),
            rude: rng.chance(600),
            operator_ms: rng.chance(500).then(|| rng.between(5_000, 60_000)),
            reloads: rng.chance(400),
        }
    }
}

/// Makes stages until the world is calm.
pub async fn stages(shared: Arc<Shared>, engines: Arc<Engines>, habits: Habits) {
    for number in 1.. {
        let (pause, calm) = {
            let mut world = shared.world();
            let burst = world.rng.chance(200);
            (if burst { 10 } else { world.rng.between(100, habits.pause_ms) }, world.calm)
        };
        if calm {
            return;
        }
        shared.clock.sleep(pause).await;
        let client = random_client(&shared, &engines, number, habits.rude);
        shared.clock.spawn(Owner::World, client.live().boxed());
    }
}

fn random_client(shared: &Arc<Shared>, engines: &Arc<Engines>, number: u32, rude: bool) -> Client {
    let mut world = shared.world();
    let pools: Vec<String> = world.config.pools.keys().cloned().collect();
    let rng = &mut world.rng;
    let pool = if rng.chance(700) { "linux".to_owned() } else { rng.pick(&pools).cloned().unwrap_or_default() };
    let request = Request {
        pool,
        account: (*rng.pick(&["acme", "other", "else"]).unwrap_or(&"else")).to_owned(),
        resource_class: if rng.chance(200) { "large".to_owned() } else { String::new() },
        image: if rng.chance(100) { "fedora".to_owned() } else { String::new() },
        ..Request::default()
    };
    let manners = if rude {
        Manners {
            forgets_setup: rng.chance(80),
            forgets_end: rng.chance(80),
            cancels_after_ms: rng.chance(120).then(|| rng.between(10, 20_000)),
            ends_twice: rng.chance(200),
            fails_setup: if rng.chance(100) { u32::try_from(rng.between(1, 3)).unwrap_or(1) } else { 0 },
        }
    } else {
        Manners::default()
    };
    let demand = Demand {
        id: StageId::new(format!("s{number}")),
        request,
        wait_ms: if rng.chance(200) { rng.between(1_000, 20_000) } else { rng.between(60_000, 600_000) },
        run_ms: if rng.chance(300) { 0 } else { rng.between(10_000, 300_000) },
    };
    let run_ms = if rng.chance(800) { rng.between(100, 20_000) } else { rng.between(20_000, 300_000) };
    drop(world);
    Client { shared: Arc::clone(shared), engines: Arc::clone(engines), demand, run_ms, manners }
}

/// Starts a stage for each flavor after the faults, which must be served.
pub fn probes(shared: &Arc<Shared>, engines: &Arc<Engines>) -> Vec<StageId> {
    let world = shared.world();
    let mut demands = Vec::new();
    let full = |pool: &Pool| world.clouds.get(&pool.driver).is_some_and(|c| c.full_for.contains(&pool.name));
    for pool in world.config.pools.values().filter(|pool| !world.rows.drained.contains(&pool.name)) {
        // An instance for a fallback's own probe could serve the other pool's probe, and hide that nothing is made for
        // that one.
        if world.config.pools.values().any(|other| full(other) && other.fallbacks.contains(&pool.name)) {
            continue;
        }
        for flavor in &pool.flavors {
            let fallback = pool.fallbacks.iter().any(|f| !world.rows.drained.contains(f)) && flavor.key == pool.name;
            if full(pool) && !fallback {
                continue;
            }
            let account = flavor.tenant.as_ref().and_then(|t| t.accounts.first()).cloned().unwrap_or_default();
            let resource_class = flavor.resource_class.clone().unwrap_or_default();
            let request = Request { pool: pool.name.clone(), account, resource_class, ..Request::default() };
            let id = StageId::new(format!("probe-{}", flavor.key));
            demands.push(Demand { id, request, wait_ms: 40 * 60_000, run_ms: 60_000 });
        }
    }
    drop(world);
    let ids = demands.iter().map(|d| d.id.clone()).collect();
    for demand in demands {
        let (shared, engines) = (Arc::clone(shared), Arc::clone(engines));
        // It rejects its first instance, so that the path with a second one is tested as well.
        let manners = Manners { fails_setup: 1, ..Manners::default() };
        let client = Client { shared: Arc::clone(&shared), engines, demand, run_ms: 1_000, manners };
        shared.clock.spawn(Owner::World, client.live().boxed());
    }
    ids
}

/// Acts as an operator until the world is calm.
pub async fn operator(shared: Arc<Shared>, engines: Arc<Engines>, habits: Habits) {
    let Some(pause) = habits.operator_ms else { return };
    loop {
        let (ms, calm) = {
            let mut world = shared.world();
            (world.rng.between(500, pause), world.calm)
        };
        if calm {
            return;
        }
        shared.clock.sleep(ms).await;
        act(&shared, &engines, habits).await;
    }
}

async fn act(shared: &Arc<Shared>, engines: &Arc<Engines>, habits: Habits) {
    let there = live(shared);
    let (choice, id, ms, pool) = {
        let mut world = shared.world();
        let pools: Vec<String> = world.config.pools.keys().cloned().collect();
        let rng = &mut world.rng;
        (rng.below(10), rng.pick(&there).cloned(), rng.between(5_000, 200_000), rng.pick(&pools).cloned())
    };
    let now = shared.clock.now_ms();
    type Act = Box<dyn FnOnce(Arc<kiln_engine::Engine>) -> BoxFuture<'static, bool>>;
    let act: Act = match (choice, id, pool) {
        (0..=2, Some(id), _) => Box::new(move |e| async move { e.hold(&id, now + ms).await.is_ok() }.boxed()),
        (3, _, _) => {
            // It releases any held instance, even one that ended meanwhile.
            let held: Vec<_> = {
                let world = shared.world();
                let rows = world.rows.instances.values().filter(|row| row.hold_until_ms.is_some());
                rows.map(|row| row.id.clone()).collect()
            };
            let Some(id) = held.get(usize::try_from(ms).unwrap_or(0) % held.len().max(1)).cloned() else { return };
            Box::new(move |e| async move { e.unhold(&id).await.is_ok() }.boxed())
        }
        (4..=5, Some(id), _) => {
            shared.world().marks.asked_to_destroy.insert(id.clone());
            Box::new(move |e| async move { e.destroy_instance(&id, "by hand").await.is_ok() }.boxed())
        }
        (6, _, Some(pool)) => Box::new(move |e| async move { e.drain(&pool, true).await.is_ok() }.boxed()),
        (7, _, Some(pool)) => Box::new(move |e| async move { e.drain(&pool, false).await.is_ok() }.boxed()),
        (8..=9, _, Some(pool)) if habits.reloads => return reload(shared, engines, &pool).await,
        _ => return,
    };
    if let Some((_, done)) = ask(shared, engines, act) {
        // The rows show whether it was done.
        let _done = done.await;
    }
}

/// Changes the pool file. Each runner reads it a little later.
async fn reload(shared: &Arc<Shared>, engines: &Arc<Engines>, pool: &str) {
    let config = {
        let mut world = shared.world();
        let (choice, number) = (world.rng.below(5), u32::try_from(world.rng.between(0, 2)).unwrap_or(0));
        let mut config = world.config.clone();
        if choice == 4 && pool != "linux" {
            config.pools.remove(pool);
            config.pools.values_mut().for_each(|other| other.fallbacks.retain(|fallback| fallback != pool));
        } else if let Some(pool) = config.pools.get_mut(pool) {
            let warm: u32 = pool.flavors.iter().map(|f| f.warm).sum();
            match (choice, pool.flavors.first_mut()) {
                (0, Some(base)) => (pool.limit, base.warm) = (pool.limit + number, base.warm + number),
                (1, Some(base)) => base.warm = base.warm.min(number),
                (2, Some(base)) => base.launch.cpus += 1,
                _ => pool.limit = warm.max(1) + number,
            }
        }
        world.say(&format!("the pool file changes ({choice}, {pool})"));
        world.config = config.clone();
        world.marks.reloaded = true;
        setting::note_limits(&mut world);
        config
    };
    let running: Vec<usize> = {
        let engines = engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.keys().copied().collect()
    };
    for runner in running {
        let ms = shared.world().rng.between(10, 5_000);
        shared.clock.sleep(ms).await;
        let mut engines = engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((engine, read)) = engines.get_mut(&runner) {
            *read = config.clone();
            engine.set_config(config.clone());
        }
    }
}
