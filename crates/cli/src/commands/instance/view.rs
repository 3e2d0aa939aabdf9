//! Instances for people.

use kiln_wire::runner::kiln::{Instance, InstanceDetail, Stage};

use crate::ages::{age, clock, lasted};
use crate::short_ids::ShortIds;
use crate::table::{Cell, Side, Table, clean};
use crate::timeline;

/// Silence of an agent that is highlighted. Agents are asked every 20 s, so this is more than two rounds.
const SILENT_MS: i64 = 45_000;

/// Returns the list.
pub fn table(instances: &[Instance], short: &ShortIds, now_ms: i64) -> Table {
    let mut table = Table::new(&[
        ("INSTANCE", Side::Left),
        ("POOL", Side::Left),
        ("STATE", Side::Left),
        ("FOR", Side::Right),
        ("AGE", Side::Right),
        ("HEARD", Side::Right),
        ("STAGE", Side::Left),
        ("NOTE", Side::Left),
    ]);
    for instance in instances {
        let flavor = if instance.flavor.is_empty() { &instance.pool } else { &instance.flavor };
        table.row([
            short.show(&instance.id).into(),
            flavor.into(),
            Cell::state(&instance.state),
            age(now_ms - instance.since_unix_ms).into(),
            age(now_ms - instance.created_unix_ms).into(),
            heard(instance, now_ms),
            (&instance.stage).into(),
            note(instance, now_ms),
        ]);
    }
    table
}

/// Returns when its agent last answered, if it should.
fn heard(instance: &Instance, now_ms: i64) -> Cell {
    match instance.answered_unix_ms.filter(|_| is_served(instance)) {
        Some(at) if now_ms - at > SILENT_MS => Cell::warning(age(now_ms - at)),
        Some(at) => age(now_ms - at).into(),
        None => Cell::default(),
    }
}

fn is_served(instance: &Instance) -> bool {
    matches!(instance.state.as_str(), "ready" | "claimed")
}

fn is_over(instance: &Instance) -> bool {
    instance.state == "gone"
}

fn held_for(instance: &Instance, now_ms: i64) -> Option<i64> {
    instance.held_until_unix_ms.map(|until| until - now_ms).filter(|left| *left > 0 && !is_over(instance))
}

fn note(instance: &Instance, now_ms: i64) -> Cell {
    if let Some(left) = held_for(instance, now_ms) {
        return Cell::warning(format!("held for {}", age(left)));
    }
    match &instance.cause {
        Some(cause) => timeline::short_cause(cause).into(),
        None => instance
            .deadline_unix_ms
            .map_or_else(Cell::default, |at| format!("ends in {} at most", age(at - now_ms)).into()),
    }
}

/// Returns one instance, with the stage that it serves or served.
pub fn detail(detail: &InstanceDetail, stage: Option<&Stage>, now_ms: i64) -> String {
    let instance = &detail.instance;
    let after = |from: Option<i64>, to: Option<i64>| from.zip(to).map(|(from, to)| lasted(to - from));
    let booted = after(Some(instance.created_unix_ms), instance.ready_unix_ms);
    let in_state = if is_over(instance) { "since" } else { "for" };
    let facts = [
        ("instance", instance.id.clone()),
        (
            "state",
            format!(
                "{} {in_state} {}",
                instance.state,
                match in_state {
                    "since" => clock(instance.since_unix_ms),
                    _ => age(now_ms - instance.since_unix_ms),
                }
            ),
        ),
        ("pool", pool(instance)),
        ("image", instance.image.clone()),
        ("runner", instance.runner.clone()),
        ("address", instance.address.clone()),
        ("health", health(instance, now_ms)),
        ("boot", booted.map(|time| format!("{time} from the decision to ready")).unwrap_or_default()),
        ("warm for", after(instance.ready_unix_ms, instance.claimed_unix_ms).unwrap_or_default()),
        ("held", held_for(instance, now_ms).map(|left| format!("for {} more", age(left))).unwrap_or_default()),
        ("stage", stage_line(instance, stage, now_ms)),
        ("deadline", deadline(instance, now_ms)),
    ];
    let cause = instance.cause.as_ref().map(timeline::cause).unwrap_or_default();
    timeline::facts(&facts) + &cause + &timeline::timeline(&detail.timeline, is_over(instance), now_ms)
}

fn pool(instance: &Instance) -> String {
    let Instance { pool, flavor, driver, .. } = instance;
    if flavor.is_empty() || flavor == pool { format!("{pool} ({driver})") } else { format!("{flavor} ({driver})") }
}

fn health(instance: &Instance, now_ms: i64) -> String {
    match instance.answered_unix_ms {
        _ if is_over(instance) => String::new(),
        Some(at) => format!("its agent answered {} ago", age(now_ms - at)),
        None if is_served(instance) => "its agent has not answered this runner yet".to_owned(),
        None => String::new(),
    }
}

fn deadline(instance: &Instance, now_ms: i64) -> String {
    let open = instance.deadline_unix_ms.filter(|_| instance.state == "claimed");
    open.map(|at| format!("{} (in {})", clock(at), age(at - now_ms))).unwrap_or_default()
}

fn stage_line(instance: &Instance, stage: Option<&Stage>, now_ms: i64) -> String {
    let Some(stage) = stage else { return instance.stage.clone() };
    let told = match (stage.state.as_str(), stage.ended_unix_ms) {
        ("assigned", _) if stage.set_up => "its steps may run".to_owned(),
        ("assigned", _) => "its agent is being prepared".to_owned(),
        (_, Some(at)) => format!("ended {} ago", age(now_ms - at)),
        // Its set-up on this instance failed, and the stage got another attempt.
        (state, None) => state.to_owned(),
    };
    let moved = !stage.instance.is_empty() && stage.instance != instance.id;
    let elsewhere = if moved { format!(", went on in {}", stage.instance) } else { String::new() };
    format!("{} ({told}{elsewhere})", stage.id)
}

/// Returns the effect of a hold.
pub fn held(instance: &Instance, now_ms: i64) -> String {
    let id = clean(&instance.id);
    let left = age(held_for(instance, now_ms).unwrap_or(0));
    match instance.state.as_str() {
        "claimed" => format!("{id} is held for {left}: it outlives its stage {}", clean(&instance.stage)),
        _ => format!("{id} is held for {left}: no stage gets it"),
    }
}

/// Returns the effect of the end of a hold.
pub fn released(instance: &Instance) -> String {
    format!("{} is not held ({})", clean(&instance.id), clean(&instance.state))
}

/// Returns the effect of an instance's end. `before` is its state at the time of the request.
pub fn destroyed(before: &Instance, after: &Instance) -> String {
    let id = clean(&after.id);
    match before.state.as_str() {
        "gone" => format!("{id} is gone already"),
        "terminating" => format!("{id} was ending already"),
        "claimed" if !before.stage.is_empty() => format!("{id} ends, with its stage {}", clean(&before.stage)),
        state => format!("{id} ends (it was {})", clean(state)),
    }
}

#[cfg(test)]
mod tests;
