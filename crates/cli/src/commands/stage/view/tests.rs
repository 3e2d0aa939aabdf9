use kiln_wire::runner::kiln::{Change, EndCause};

use super::*;

const START: i64 = 1_764_029_781_000;
const NOW: i64 = START + 200_000;

fn waiting() -> Stage {
    Stage {
        id: "stage-w".into(),
        pool: "build".into(),
        state: "waiting".into(),
        created_unix_ms: START,
        wait_until_unix_ms: START + 1_800_000,
        why: "pool build is at its limit of 8 instances".into(),
        ..Stage::default()
    }
}

fn assigned() -> Stage {
    Stage {
        id: "stage-a".into(),
        state: "assigned".into(),
        account: "acme".into(),
        instance: "kiln-1".into(),
        assigned_unix_ms: Some(START + 420),
        deadline_unix_ms: Some(NOW + 3_600_000),
        set_up: true,
        attempts: 1,
        why: String::new(),
        ..waiting()
    }
}

fn ended() -> Stage {
    let cause = EndCause { code: "cancelled".into(), evidence: "a newer push".into() };
    let (ended, deadline) = (Some(NOW - 10_000), None);
    Stage { state: "ended".into(), cause: Some(cause), ended_unix_ms: ended, deadline_unix_ms: deadline, ..assigned() }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn the_list() {
    let silent = Stage { why: String::new(), ..waiting() };
    let prepared = Stage { set_up: false, ..assigned() };
    let stages = [waiting(), silent, assigned(), prepared, ended()];
    insta::assert_snapshot!(plain(&table(&stages, NOW).text(None)), @r"
    STAGE    POOL   STATE       FOR  INSTANCE  WHY
    stage-w  build  waiting   3m20s            pool build is at its limit of 8 instances; gives up in 26m40s
    stage-w  build  waiting   3m20s            gives up in 26m40s
    stage-a  build  assigned  3m19s  kiln-1    ends in 1h00m at most
    stage-a  build  assigned  3m19s  kiln-1    its agent is being prepared; ends in 1h00m at most
    stage-a  build  ended       10s  kiln-1    cancelled: a newer push
    ");
}

#[test]
fn one_that_waits() {
    insta::assert_snapshot!(plain(&detail(&StageDetail { stage: waiting(), timeline: Vec::new() }, NOW)), @r"
    stage     stage-w
    state     waiting for 3m20s
    pool      build
    asked     2025-11-25 00:16:21Z (3m20s ago)
    waits     pool build is at its limit of 8 instances; gives up in 26m40s
    ");
}

#[test]
fn one_that_ended() {
    let change = |after_ms, state: &str, reason: &str| Change {
        at_unix_ms: START + after_ms,
        id: "stage-a".into(),
        pool: "build".into(),
        state: state.into(),
        reason: reason.into(),
        ..Change::default()
    };
    let timeline = vec![
        change(0, "waiting", "asked for pool build"),
        change(420, "assigned", "claimed kiln-1"),
        change(190_000, "ended", "cancelled: a newer push"),
    ];
    insta::assert_snapshot!(plain(&detail(&StageDetail { stage: ended(), timeline }, NOW)), @r"
    stage     stage-a
    state     ended since 2025-11-25 00:19:31Z
    pool      build
    account   acme
    asked     2025-11-25 00:16:21Z (3m20s ago)
    waited    420ms
    instance  kiln-1
    tries     1 earlier instance could not be prepared
    ended by  cancelled: a newer push

    since 2025-11-25 00:16:21Z
    AFTER  STATE     LASTED  WHY
      0ms  waiting    420ms  asked for pool build
    420ms  assigned   3m09s  claimed kiln-1
    3m10s  ended             cancelled: a newer push
    ");
}

#[test]
fn cancels_are_told() {
    let lines = [cancelled(&waiting(), &ended()), cancelled(&assigned(), &ended()), cancelled(&ended(), &ended())];
    insta::assert_snapshot!(lines.join("\n"), @r"
    stage stage-a is cancelled; it had no instance yet
    stage stage-a is cancelled, and its instance kiln-1 ends
    stage stage-a has ended already (cancelled)
    ");
}
