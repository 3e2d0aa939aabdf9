//! Calls of the clouds.

use kiln_pool::{InstanceId, State};

use super::super::driver::all_vms;
use super::super::world::World;
use super::step::is_strange;

/// Number of calls of one kind about one instance that count as a storm, unless they take at least `STORM_MS`.
const STORM_CALLS: usize = 20;
const STORM_MS: i64 = 60_000;

/// Checks an order that a runner sends.
pub fn ordered(w: &mut World, runner: usize, order: &'static str, id: &str) {
    w.marks.count(order);
    let now = w.now_ms();
    let calls = w.marks.calls_ms.entry((order, id.to_owned())).or_default();
    calls.push_back(now);
    if calls.len() > STORM_CALLS {
        let first = calls.pop_front().unwrap_or(now);
        if now - first < STORM_MS {
            let passed = now - first;
            w.violate("no_storm", format!("{order} {id} was called {STORM_CALLS} times within {passed} ms"));
        }
    }
    let id = InstanceId::new(id);
    let turning = match order {
        "hibernate" => Some(State::Hibernating),
        "resume" => Some(State::Resuming),
        _ => None,
    };
    // A process that was paused between its row and its call is late, and cannot know it.
    let on_time = !w.marks.clocks_differ && !w.marks.stood_still;
    let state = w.rows.instances.get(&id).map(|row| row.state);
    if let (Some(turning), Some(state)) = (turning.filter(|_| on_time), state)
        && ![turning, State::Terminating, State::Gone].contains(&state)
    {
        w.violate("intent_before_effect", format!("runner{runner} calls {order} for {id}, which is {state}"));
    }
    let of_batch =
        |other: &InstanceId| *other == id || w.rows.instances.get(other).is_some_and(|row| row.token == id.as_str());
    let (was_launching, unflushed) =
        (w.marks.was_launching.iter().any(of_batch), w.marks.unflushed.iter().any(of_batch));
    if order == "launch" && unflushed {
        w.violate("told_when_durable", format!("runner{runner} launches {id} before its rows were flushed"));
    }
    if order == "launch" && !was_launching {
        w.violate("intent_before_effect", format!("runner{runner} launches {id} whose row is {state:?}"));
    }
}

/// Checks a destroy that takes effect.
pub fn destroyed(w: &mut World, runner: usize, driver: &str, id: &str) {
    let exists = w.clouds.get(driver).and_then(|c| c.vms.get(id)).is_some_and(super::super::cloud::Vm::exists);
    let vm = w.clouds.get(driver).and_then(|c| c.vms.get(id));
    if exists && vm.is_some_and(|vm| is_strange(driver, vm)) {
        w.violate("no_wrong_kill", format!("runner{runner} destroys {id}, which is somebody else's"));
    }
    let row = w.rows.instances.get(&InstanceId::new(id));
    let ends = row.is_none_or(|row| matches!(row.state, State::Terminating | State::Gone));
    if exists && !ends {
        let state = row.map(|row| row.state);
        w.violate("no_wrong_kill", format!("runner{runner} destroys {id} whose row is {state:?}"));
    }
}

/// Checks a VM that a launch made.
pub fn made(w: &mut World, runner: usize, pool: &str, id: &str) {
    let Some(row) = w.rows.instances.get(&InstanceId::new(id)) else {
        return w.violate("intent_before_effect", format!("runner{runner} made {id} without a row"));
    };
    let flavor = row.flavor.clone();
    limits(w, pool, &flavor);
}

/// Checks the number of live rows and existing VMs against the limits.
pub fn limits(w: &mut World, pool: &str, flavor: &str) {
    let (mut in_pool, mut in_flavor) = w.rows.count(pool, flavor);
    // A VM whose row is gone must not exist, unless its launch came late, which no count can foresee.
    for (_, vm) in all_vms(&w.clouds).filter(|(_, vm)| vm.exists() && !vm.late) {
        let row = w.rows.instances.get(&InstanceId::new(&vm.id)).filter(|row| !row.is_live());
        in_pool += u32::from(row.is_some_and(|row| row.pool == pool));
        in_flavor += u32::from(row.is_some_and(|row| row.flavor == flavor));
    }
    for (key, count) in [(format!("pool {pool}"), in_pool), (format!("flavor {flavor}"), in_flavor)] {
        if let Some(limit) = w.marks.limits.get(&key).copied().filter(|limit| count > *limit) {
            w.violate("limit_is_a_limit", format!("{key} has {count} instances and a limit of {limit}"));
        }
    }
}
