//! Changes of instances' rows.

use kiln_pool::plan::breaker;
use kiln_pool::{Cause, Code, Instance, StageState, State};

use super::super::cloud::VmState;
use super::super::rows::Changed;
use super::super::world::World;

/// Checks a changed row. Returns true, for the caller's convenience.
pub fn instance_changed(w: &mut World, runner: usize, changed: &Changed<Instance>, reason: &str) -> bool {
    let new = &changed.new;
    match &changed.old {
        None => created(w, runner, new, reason),
        Some(old) => {
            if old.state != new.state || old.hold_until_ms != new.hold_until_ms || w.transcript.all {
                let reason = reason.lines().next().unwrap_or_default();
                w.say(&format!("r{runner} instance {} {} -> {}: {reason}", new.id, old.state, new.state));
            }
            legal(w, old, new);
            if old.state != State::Terminating && new.state == State::Terminating {
                ends(w, runner, old, new);
            }
        }
    }
    if new.state == State::Launching {
        w.marks.was_launching.insert(new.id.clone());
    }
    if matches!(new.state, State::Terminating | State::Gone) && new.cause.is_none() {
        w.violate("every_end_has_a_cause", format!("{} is {} without a cause", new.id, new.state));
    }
    true
}

fn created(w: &mut World, runner: usize, new: &Instance, reason: &str) {
    w.say(&format!("r{runner} instance {} intended for {} ({}): {reason}", new.id, new.flavor, new.image));
    w.marks.count("instances");
    w.marks.unflushed.insert(new.id.clone());
    let (now, well) = (w.now_ms(), w.well_ms);
    w.marks.created.insert(new.id.clone(), (now, well));
    if new.generation != 1 || new.state != State::Intended {
        w.violate(
            "row_changes_are_legal",
            format!("{} begins as {} of generation {}", new.id, new.state, new.generation),
        );
    }
    super::calls::limits(w, &new.pool, &new.flavor);
    // The plan behind it may have read the streak and the drains a while ago.
    const LATELY_MS: i64 = 120_000;
    let long = |at: Option<&i64>| at.is_some_and(|at| now - at > LATELY_MS);
    let streak = w.rows.streaks.get(&new.flavor);
    let open = breaker(streak).allows(w.row_clock_ms(runner)) == 0 && long(w.marks.start_noted_ms.get(&new.flavor));
    if open && !w.marks.clocks_differ {
        w.violate(
            "breaker_holds",
            format!("{} is made while the breaker of {} is open: {streak:?}", new.id, new.flavor),
        );
    }
    if w.rows.drained.contains(&new.pool) && long(w.marks.drained_since_ms.get(&new.pool)) {
        w.violate("drained_stays_empty", format!("{} is made for the drained pool {}", new.id, new.pool));
    }
}

fn legal(w: &mut World, old: &Instance, new: &Instance) {
    let same =
        (&old.id, &old.pool, &old.flavor, &old.site, &old.place, &old.token, &old.image, &old.digest, old.created_ms)
            == (
                &new.id,
                &new.pool,
                &new.flavor,
                &new.site,
                &new.place,
                &new.token,
                &new.image,
                &new.digest,
                new.created_ms,
            );
    let follows = old.state == new.state && old.state != State::Gone || old.state.may_become(new.state);
    if !same || !follows || new.generation != old.generation + 1 {
        w.violate("row_changes_are_legal", format!("{old:?} became {new:?}"));
    }
    if old.stage != new.stage && (old.stage.is_some() || new.state != State::Claimed) {
        let (before, after) = (&old.stage, &new.stage);
        w.violate("one_instance_one_stage", format!("{} had stage {before:?} and has {after:?}", new.id));
    }
    if old.cause.is_some() && old.cause != new.cause {
        w.violate("every_end_has_a_cause", format!("the first cause of {} was overwritten", new.id));
    }
}

/// Checks a row that has to end: the cause must be allowed and true.
fn ends(w: &mut World, runner: usize, old: &Instance, new: &Instance) {
    let Some(cause) = &new.cause else { return };
    w.marks.count(cause.code.as_str());
    if let Some(lie) = lie(w, runner, old, new, cause) {
        w.violate("causes_are_true", format!("{} ends as {cause}, but {lie}", new.id));
    }
    let from_start =
        matches!(cause.code, Code::BootTimeout | Code::LaunchTimeout | Code::Unreachable | Code::HibernateFailed);
    let up = w.processes.get(runner).map_or(0, |p| w.now_ms() - p.started_ms);
    let limit = match cause.code {
        Code::BootTimeout => w.config.timing.boot_timeout_ms,
        Code::LaunchTimeout => w.config.timing.launch_timeout_ms,
        Code::Unreachable => w.config.timing.unreachable_after_ms,
        _ => 0,
    };
    if from_start && up < limit {
        w.violate("restart_kills_nobody", format!("{} ends as {cause} by a process that is {up} ms old", new.id));
    }
    let watched = w.watched_ms(runner);
    if matches!(cause.code, Code::BootTimeout | Code::LaunchTimeout) && watched < limit {
        w.violate(
            "outage_kills_nobody",
            format!("{} ends as {cause}, and the rows were seen for {watched} ms", new.id),
        );
    }
    let by_operator = w.marks.asked_to_destroy.contains(&new.id);
    let forced =
        matches!(cause.code, Code::MaxAge | Code::Died | Code::DiedBooting | Code::Vanished | Code::SetupFailed);
    if old.state == State::Claimed && !by_operator {
        serving_ends(w, old, cause);
    }
    let held = old.hold_until_ms.is_some_and(|until| until > w.row_clock_ms(runner) + 30_000);
    let unreachable = cause.code == Code::Unreachable;
    if held && !forced && !by_operator && !unreachable && !w.marks.clocks_differ {
        w.violate("hold_is_kept", format!("{} is held and ends as {cause}", new.id));
    }
}

/// Checks the end of an instance that serves a stage, when no operator requested it.
fn serving_ends(w: &mut World, old: &Instance, cause: &Cause) {
    let Some(stage) = old.stage.as_ref().and_then(|id| w.rows.stages.get(id)) else {
        return w.violate("one_instance_one_stage", format!("{} was claimed by no stage that there is", old.id));
    };
    let goes_on = stage.state == StageState::Assigned && stage.instance.as_ref() == Some(&old.id);
    if goes_on && !matches!(cause.code, Code::MaxAge | Code::Died | Code::Vanished) {
        let what = format!("{} serves {}, which goes on, and ends as {cause}", old.id, stage.id);
        w.violate("no_wrong_kill", what);
    }
}

/// Returns how the cause differs from the truth.
fn lie(w: &World, runner: usize, old: &Instance, new: &Instance, cause: &Cause) -> Option<String> {
    let vm = w.clouds.get(old.site.as_str()).and_then(|cloud| cloud.vms.get(old.id.as_str()));
    let now = w.now_ms();
    let jumped = w.marks.clocks_differ;
    match cause.code {
        Code::Died | Code::DiedBooting | Code::Vanished if old.state != State::Launching => {
            let vm = vm.filter(|vm| vm.exists())?;
            // Processes that disagree about the time may both put it to sleep, the second one too late.
            if vm.state == VmState::Asleep && (jumped || w.marks.stood_still) {
                return None;
            }
            let shown = vm.shown_ms.get(&runner).copied().unwrap_or(0).max(vm.visible_ms);
            if old.state == State::Claimed {
                return Some(format!("its VM is {:?}", vm.state));
            }
            let lately = now - shown < w.config.timing.vanished_after_ms / 2;
            lately.then(|| format!("its VM is {:?} and was shown {} ms ago", vm.state, now - shown))
        }
        Code::MaxAge => {
            let limit = w.config.pools.get(&old.pool).map_or(0, |pool| i64::from(pool.ages.max_age_s) * 1000);
            let age = now - w.marks.created.get(&old.id).map_or(0, |(at, _)| *at);
            (age + 15_000 < limit && !jumped && !w.marks.reloaded).then(|| format!("it is {age} ms old"))
        }
        Code::BootTimeout | Code::LaunchTimeout => {
            let limit = w.config.timing.boot_timeout_ms.min(w.config.timing.launch_timeout_ms);
            let age = new.since_ms - old.since_ms;
            (age < limit && !jumped).then(|| format!("it was {} for {age} ms", old.state))
        }
        Code::Operator => (!w.marks.asked_to_destroy.contains(&old.id) && old.stage.is_none())
            .then(|| "no operator asked for it".to_owned()),
        Code::Drained => {
            let there = w.config.flavor(&old.flavor).is_some();
            let drained = w.rows.drained.contains(&old.pool);
            let changed = w.marks.drained_since_ms.get(&old.pool).is_some_and(|at| now - at < 120_000);
            (there && !drained && !changed && !w.marks.reloaded).then(|| "its pool is not drained".to_owned())
        }
        _ => None,
    }
}
