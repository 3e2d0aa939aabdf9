//! Instances, stages and pools as the routes under `/kiln/v1/` show them.

use std::collections::{BTreeMap, BTreeSet};

use kiln_engine::Change;
use kiln_pool::plan::{Health, Streak, Target, streak_key, warm_target};
use kiln_pool::{Cause, Instance, Pool, Stage, StageState, State, Subject};
use kiln_wire::runner::kiln as wire;

pub(super) fn cause(cause: &Cause) -> wire::EndCause {
    wire::EndCause { code: cause.code.to_string(), evidence: cause.evidence.clone() }
}

pub(super) fn instance(row: &Instance, health: Health) -> wire::Instance {
    wire::Instance {
        id: row.id.to_string(),
        pool: row.pool.clone(),
        flavor: row.flavor.clone(),
        driver: row.site.driver().to_owned(),
        site: row.site.to_string(),
        place: row.place.clone(),
        image: row.image.clone(),
        state: row.state.to_string(),
        since_unix_ms: row.since_ms,
        created_unix_ms: row.created_ms,
        ready_unix_ms: row.ready_ms,
        claimed_unix_ms: row.claimed_ms,
        deadline_unix_ms: row.deadline_ms,
        held_until_unix_ms: row.hold_until_ms,
        stage: row.stage.as_ref().map(ToString::to_string).unwrap_or_default(),
        runner: row.runner.clone(),
        address: row.address.as_ref().map(ToString::to_string).unwrap_or_default(),
        answered_unix_ms: health.answered_ms,
        cause: row.cause.as_ref().map(cause),
    }
}

pub(super) fn stage(row: &Stage) -> wire::Stage {
    let waits = row.why.as_ref().filter(|_| row.state == StageState::Waiting);
    let deadline = row.assigned_ms.filter(|_| row.state == StageState::Assigned);
    wire::Stage {
        id: row.id.to_string(),
        pool: row.pool.clone(),
        account: row.account.clone(),
        state: row.state.to_string(),
        instance: row.instance.as_ref().map(ToString::to_string).unwrap_or_default(),
        created_unix_ms: row.created_ms,
        wait_until_unix_ms: row.wait_until_ms,
        assigned_unix_ms: row.assigned_ms,
        deadline_unix_ms: deadline.map(|assigned| assigned.saturating_add(row.run_ms)),
        ended_unix_ms: row.ended_ms,
        set_up: row.set_up,
        attempts: row.attempts,
        // The reason for waiting is of no interest once the wait is over.
        why: waits.map(ToString::to_string).unwrap_or_default(),
        why_code: waits.map(|why| why.code().to_owned()).unwrap_or_default(),
        cause: row.cause.as_ref().map(cause),
    }
}

/// Shows the unreadable rows of one kind, or of every kind if none is given.
pub(super) fn unreadable(
    rows: &BTreeMap<(Subject, String), String>,
    only: Option<Subject>,
) -> Vec<wire::UnreadableRow> {
    let wanted = rows.iter().filter(|((of, _), _)| only.is_none_or(|kind| kind == *of));
    let row = |((of, id), why): (&(Subject, String), &String)| wire::UnreadableRow {
        subject: subject(*of),
        id: id.clone(),
        why: why.clone(),
    };
    wanted.map(row).collect()
}

fn subject(subject: Subject) -> wire::Subject {
    match subject {
        Subject::Instance => wire::Subject::Instance,
        Subject::Stage => wire::Subject::Stage,
    }
}

pub(super) fn change(change: &Change) -> wire::Change {
    wire::Change {
        seq: change.seq,
        at_unix_ms: change.at_ms,
        subject: subject(change.subject),
        id: change.id.clone(),
        pool: change.pool.clone(),
        state: change.state.clone(),
        reason: change.reason.clone(),
    }
}

/// The data from which pools are shown.
pub(super) struct Seen<'a> {
    pub(super) now_ms: i64,
    pub(super) instances: &'a [Instance],
    pub(super) stages: &'a [Stage],
    pub(super) streaks: &'a BTreeMap<String, Streak>,
    pub(super) drained: &'a BTreeSet<String>,
    /// Returns the latest pass's target for a flavor.
    pub(super) wanted: &'a dyn Fn(&str) -> Option<Target>,
}

pub(super) fn pool(pool: &Pool, seen: &Seen<'_>) -> wire::Pool {
    let count = |wanted: &[State]| {
        let mine = |i: &&Instance| i.pool == pool.name && wanted.contains(&i.state);
        count(seen.instances.iter().filter(mine).count())
    };
    let flavors = pool.flavors.iter().map(|flavor| {
        let ready = |i: &&Instance| i.flavor == flavor.key && i.state == State::Ready;
        let streak = seen.streaks.get(&streak_key(&flavor.key, &flavor.launch.image));
        wire::Flavor {
            key: flavor.key.clone(),
            image: flavor.launch.image.clone(),
            resource_class: flavor.resource_class.clone().unwrap_or_default(),
            tenant: flavor.tenant.as_ref().map(|tenant| tenant.id.clone()).unwrap_or_default(),
            warm: warm_target(pool, flavor, seen.now_ms),
            wanted: (seen.wanted)(&flavor.key).map(|Target { awake, asleep }| wire::Wanted { awake, asleep }),
            ready: self::count(seen.instances.iter().filter(ready).count()),
            failures: streak.map_or(0, |streak| streak.failures),
            last_failure: streak.map(|streak| streak.evidence.clone()).unwrap_or_default(),
        }
    });
    let waiting = |s: &&Stage| s.pool == pool.name && s.state == StageState::Waiting;
    wire::Pool {
        name: pool.name.clone(),
        driver: pool.driver.clone(),
        os: pool.os.clone(),
        arch: pool.arch.clone(),
        limit: pool.limit,
        drained: seen.drained.contains(&pool.name),
        starting: count(&[State::Intended, State::Launching, State::Booting, State::Resuming]),
        ready: count(&[State::Ready]),
        hibernated: count(&[State::Hibernating, State::Hibernated]),
        claimed: count(&[State::Claimed]),
        terminating: count(&[State::Terminating]),
        waiting: self::count(seen.stages.iter().filter(waiting).count()),
        flavors: flavors.collect(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
