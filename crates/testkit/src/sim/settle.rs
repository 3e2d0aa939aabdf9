//! Liveness: the state that everything must reach once faults have stopped.

use std::collections::BTreeSet;

use kiln_pool::plan::warm_target;
use kiln_pool::{Code, StageId, State};

use super::driver::all_vms;
use super::invariant::is_strange;
use super::world::World;

/// Something that has not settled yet: the invariant, and the observation.
pub type Unsettled = (&'static str, String);

/// The ends of a stage whose client is there and got nothing.
const UNSERVED: [Code; 3] = [Code::NoCapacity, Code::Unattended, Code::StageDeadline];

/// Checks whether everything is as it should be.
pub fn settled(w: &World, probes: &[StageId]) -> Result<(), Unsettled> {
    if let Some(stage) = w.rows.open.iter().filter_map(|id| w.rows.stages.get(id)).next() {
        return Err(("every_stage_ends", format!("{stage:?}")));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = w.processes.iter().filter(|process| process.up).find(|process| !names.insert(&process.name)) {
        return Err(("one_process_a_runner", format!("two processes of {} run on", twice.name)));
    }
    for id in probes {
        let Some(stage) = w.rows.stages.get(id) else {
            return Err(("every_stage_ends", format!("{id} was never heard")));
        };
        // An operator's last action may have come after the probe: a pool is drained, or no longer in the file.
        let (drained, pools) = (&w.rows.drained, &w.config.pools);
        let withdrawn = stage.candidates.iter().any(|c| drained.contains(&c.pool) || !pools.contains_key(&c.pool));
        if !withdrawn && stage.cause.as_ref().is_some_and(|cause| UNSERVED.contains(&cause.code)) {
            return Err(("demand_is_served", format!("{id} was not served in a calm world: {:?}", stage.cause)));
        }
    }
    let now = w.now_ms();
    for row in w.rows.live.iter().filter_map(|id| w.rows.instances.get(id)) {
        let fails = w.clouds.get(row.site.as_str()).is_some_and(|c| c.full_for.contains(&row.pool));
        if !w.config.pools.contains_key(&row.pool) {
            return Err(("removed_pools_are_emptied", format!("{row:?}")));
        }
        if row.is_held(now) {
            return Err(("nothing_is_claimed", format!("{} is held", row.id)));
        }
        if row.state == State::Claimed {
            return Err(("nothing_is_claimed", format!("{row:?}")));
        }
        if !matches!(row.state, State::Ready | State::Hibernated) && !fails {
            return Err(("nothing_is_stuck", format!("{row:?}")));
        }
        let vm = w.clouds.get(row.site.as_str()).and_then(|c| c.vms.get(row.id.as_str()));
        let there = vm.is_some_and(|vm| vm.exists());
        if row.state == State::Ready && vm.is_some_and(|vm| vm.exists() && !vm.answers(now)) {
            return Err(("ready_agents_answer", format!("{} is ready and its agent does not answer", row.id)));
        }
        if !there && !fails {
            return Err(("nothing_is_stuck", format!("{} is {} and its VM is not there", row.id, row.state)));
        }
    }
    for (driver, vm) in all_vms(&w.clouds).filter(|(_, vm)| vm.exists()) {
        let owned = w.rows.instances.get(&kiln_pool::InstanceId::new(&vm.id)).is_some_and(kiln_pool::Instance::is_live);
        if !owned && !is_strange(driver, vm) {
            return Err(("nothing_is_orphaned", format!("{driver} vm {}", vm.id)));
        }
    }
    warm(w, now)
}

fn warm(w: &World, now_ms: i64) -> Result<(), Unsettled> {
    for pool in w.config.pools.values() {
        if w.clouds.get(&pool.driver).is_some_and(|c| c.full_for.contains(&pool.name)) {
            continue;
        }
        let drained = w.rows.drained.contains(&pool.name);
        for flavor in &pool.flavors {
            let target = if drained { 0 } else { warm_target(pool, flavor, now_ms) };
            let live = w.rows.live.iter().filter_map(|id| w.rows.instances.get(id));
            let of_flavor = live.filter(|i| i.flavor == flavor.key).count();
            if of_flavor != target as usize {
                let what = format!("{} has {of_flavor} warm and wants {target}", flavor.key);
                return Err(("warm_targets_are_met", what));
            }
        }
    }
    Ok(())
}
