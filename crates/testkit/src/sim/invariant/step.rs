//! Checks after every step, because time alone can break an invariant.

use kiln_engine::INSTALLATION_LABEL;
use kiln_pool::{InstanceId, StageState, State};

use super::super::cloud::Vm;
use super::super::driver::{INSTALLATION, SHARED_CLOUD};
use super::super::world::World;

/// Longest time that a VM may exist without a live row while a runner could act on it.
const LEAK_MS: i64 = 8 * 60_000;
/// Longest delay of a due end while a runner could act on it.
const LATE_MS: i64 = 5 * 60_000;

/// Longest time for which an agent may not be asked for its health. It is well below the shortest lease.
const UNASKED_MS: i64 = 4 * 60_000;

/// Longest time that a stage may continue without its instance while a runner could act on it.
const UNTOLD_MS: i64 = 2 * 60_000;

/// Checks the invariants that time can break.
pub fn after_step(w: &mut World) {
    no_leak(w);
    adopted(w);
    contact(w);
    ages(w);
    deadlines(w);
    one_instance_per_stage(w);
}

fn no_leak(w: &mut World) {
    let well = w.well_ms;
    let mut leak = None;
    let rows = &w.rows.instances;
    for (driver, cloud) in &mut w.clouds {
        for vm in cloud.vms.values_mut().filter(|vm| vm.exists()) {
            let owned = rows.get(&InstanceId::new(&vm.id)).is_some_and(kiln_pool::Instance::is_live);
            if owned || is_strange(driver, vm) {
                vm.unowned_since = None;
                continue;
            }
            let since = *vm.unowned_since.get_or_insert(well);
            if well - since > LEAK_MS {
                leak =
                    Some(format!("{driver} vm {} is there without a live row for {} s", vm.id, (well - since) / 1000));
            }
        }
    }
    if let Some(leak) = leak {
        w.violate("no_leak", leak);
    }
}

/// Returns whether it belongs to a stranger in the shared cloud.
pub fn is_strange(driver: &str, vm: &Vm) -> bool {
    driver == SHARED_CLOUD && vm.labels.get(INSTALLATION_LABEL).is_none_or(|of| of != INSTALLATION)
}

fn adopted(w: &mut World) {
    let (now, able) = (w.now_ms(), w.able_ms);
    let mut late = None;
    let rows = &w.rows.instances;
    for vm in w.clouds.values_mut().flat_map(|cloud| cloud.vms.values_mut()).filter(|vm| vm.runs()) {
        if now < vm.visible_ms.max(vm.addressed_ms) {
            continue;
        }
        let since = *vm.shown_able.get_or_insert(able);
        let launching = rows.get(&InstanceId::new(&vm.id)).is_some_and(|row| row.state == State::Launching);
        if launching && able - since > LATE_MS {
            late = Some(format!("{} has been there for {} s and its row is launching", vm.id, (able - since) / 1000));
        }
    }
    if let Some(late) = late {
        w.violate("lost_launches_are_adopted", late);
    }
}

fn contact(w: &mut World) {
    let unasked = |w: &World| {
        let vm = w.clouds.values().flat_map(|cloud| cloud.vms.values()).find(|vm| vm.unasked_ms > UNASKED_MS)?;
        Some(format!("{} answers and was not asked for {} s", vm.id, vm.unasked_ms / 1000))
    };
    if let Some(unasked) = unasked(w) {
        w.violate("contact_is_kept", unasked);
    }
}

fn ages(w: &mut World) {
    if w.marks.reloaded || w.marks.clocks_differ {
        return;
    }
    let mut old = None;
    for row in w.rows.live.iter().filter_map(|id| w.rows.instances.get(id)) {
        let Some(pool) = w.config.pools.get(&row.pool) else { continue };
        let Some((_, well)) = w.marks.created.get(&row.id) else { continue };
        let age = w.well_ms - well;
        let turning = matches!(row.state, State::Ready | State::Claimed | State::Hibernated);
        if turning && age > i64::from(pool.ages.max_age_s) * 1000 + LATE_MS {
            old = Some(format!("{} is {} and {} s old", row.id, row.state, age / 1000));
        }
    }
    if let Some(old) = old {
        w.violate("ages_are_kept", old);
    }
}

fn deadlines(w: &mut World) {
    if w.marks.clocks_differ {
        return;
    }
    let mut late = None;
    for stage in w.rows.open.iter().filter_map(|id| w.rows.stages.get(id)) {
        let Some(well) = w.marks.assigned_well.get(&stage.id) else { continue };
        let ran = w.well_ms - well;
        if stage.state == StageState::Assigned && ran > stage.run_ms + LATE_MS {
            late = Some(format!("{} runs for {} s of {} s", stage.id, ran / 1000, stage.run_ms / 1000));
        }
    }
    if let Some(late) = late {
        w.violate("deadline_is_kept", late);
    }
}

fn one_instance_per_stage(w: &mut World) {
    let (mut twice, mut untold, well) = (None, None, w.well_ms);
    for stage in w.rows.open.iter().filter_map(|id| w.rows.stages.get(id)) {
        let Some(id) = &stage.instance else { continue };
        let row = w.rows.instances.get(id);
        if row.is_some_and(|row| row.state == State::Claimed) {
            w.marks.lost_well.remove(&stage.id);
        } else if well - *w.marks.lost_well.entry(stage.id.clone()).or_insert(well) > UNTOLD_MS {
            untold = Some(format!("{} has {id}, which is {:?}", stage.id, row.map(|row| row.state)));
        }
        if row.is_none_or(|row| row.stage.as_ref() != Some(&stage.id)) {
            twice = Some(format!("{} has {id}, which has {:?}", stage.id, row.map(|row| &row.stage)));
        }
    }
    if let Some(untold) = untold {
        w.violate("lost_stages_are_told", untold);
    }
    if let Some(twice) = twice {
        w.violate("one_instance_one_stage", twice);
    }
}
