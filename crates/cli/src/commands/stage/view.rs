//! Stages for people.

use kiln_wire::runner::kiln::{Stage, StageDetail};

use crate::ages::{age, clock, lasted};
use crate::table::{Cell, Side, Table, clean};
use crate::timeline;

/// Returns the list.
pub fn table(stages: &[Stage], now_ms: i64) -> Table {
    let mut table = Table::new(&[
        ("STAGE", Side::Left),
        ("POOL", Side::Left),
        ("STATE", Side::Left),
        ("FOR", Side::Right),
        ("INSTANCE", Side::Left),
        ("WHY", Side::Left),
    ]);
    for stage in stages {
        table.row([
            (&stage.id).into(),
            (&stage.pool).into(),
            Cell::state(&stage.state),
            age(now_ms - since(stage)).into(),
            (&stage.instance).into(),
            why(stage, now_ms).into(),
        ]);
    }
    table
}

/// Returns when it entered its state.
fn since(stage: &Stage) -> i64 {
    stage.ended_unix_ms.or(stage.assigned_unix_ms).unwrap_or(stage.created_unix_ms)
}

/// Returns the explanation of its state in one line.
fn why(stage: &Stage, now_ms: i64) -> String {
    if let Some(cause) = &stage.cause {
        return timeline::short_cause(cause);
    }
    if stage.state == "waiting" {
        let left = format!("gives up in {}", age(stage.wait_until_unix_ms - now_ms));
        return if stage.why.is_empty() { left } else { format!("{}; {left}", stage.why) };
    }
    let left = stage.deadline_unix_ms.map(|at| format!("ends in {} at most", age(at - now_ms)));
    match (left, stage.set_up) {
        (Some(left), true) => left,
        (Some(left), false) => format!("its agent is being prepared; {left}"),
        (None, _) => String::new(),
    }
}

/// Returns one stage.
pub fn detail(detail: &StageDetail, now_ms: i64) -> String {
    let stage = &detail.stage;
    let is_over = stage.state == "ended";
    let for_how_long =
        if is_over { format!("since {}", clock(since(stage))) } else { format!("for {}", age(now_ms - since(stage))) };
    let tries = match stage.attempts {
        0 => String::new(),
        1 => "1 earlier instance could not be prepared".to_owned(),
        many => format!("{many} earlier instances could not be prepared"),
    };
    let facts = [
        ("stage", stage.id.clone()),
        ("state", format!("{} {for_how_long}", stage.state)),
        ("pool", stage.pool.clone()),
        ("account", stage.account.clone()),
        ("asked", format!("{} ({} ago)", clock(stage.created_unix_ms), age(now_ms - stage.created_unix_ms))),
        ("waited", stage.assigned_unix_ms.map(|at| lasted(at - stage.created_unix_ms)).unwrap_or_default()),
        ("waits", if stage.state == "waiting" { why(stage, now_ms) } else { String::new() }),
        ("instance", stage.instance.clone()),
        ("tries", tries),
        (
            "deadline",
            stage.deadline_unix_ms.map(|at| format!("{} (in {})", clock(at), age(at - now_ms))).unwrap_or_default(),
        ),
    ];
    let cause = stage.cause.as_ref().map(timeline::cause).unwrap_or_default();
    timeline::facts(&facts) + &cause + &timeline::timeline(&detail.timeline, is_over, now_ms)
}

/// Returns the effect of a stage's end. `before` is its state at the time of the request.
pub fn cancelled(before: &Stage, after: &Stage) -> String {
    let id = clean(&after.id);
    match before.state.as_str() {
        "ended" => {
            let why = after.cause.as_ref().map(|cause| format!(" ({})", clean(&cause.code))).unwrap_or_default();
            format!("stage {id} has ended already{why}")
        }
        _ if before.instance.is_empty() => format!("stage {id} is cancelled; it had no instance yet"),
        _ => format!("stage {id} is cancelled, and its instance {} ends", clean(&before.instance)),
    }
}

#[cfg(test)]
mod tests;
