use kiln_wire::runner::kiln::{Change, EndCause};

use super::*;

const START: i64 = 1_764_029_781_000;
const NOW: i64 = START + 200_000;

fn ready(id: &str) -> Instance {
    Instance {
        id: id.into(),
        pool: "local".into(),
        flavor: "local".into(),
        driver: "qemu".into(),
        image: "debian".into(),
        state: "ready".into(),
        since_unix_ms: START + 310,
        created_unix_ms: START,
        ready_unix_ms: Some(START + 310),
        runner: "host-1".into(),
        address: "127.0.0.1:40123".into(),
        answered_unix_ms: Some(NOW - 4_000),
        ..Instance::default()
    }
}

fn claimed(id: &str) -> Instance {
    Instance {
        state: "claimed".into(),
        since_unix_ms: START + 8_000,
        claimed_unix_ms: Some(START + 8_000),
        deadline_unix_ms: Some(NOW + 3_600_000),
        stage: "stage-1".into(),
        ..ready(id)
    }
}

fn gone(id: &str) -> Instance {
    let evidence = "the console ended with:\n[  3.1] Kernel panic\u{1b}[31m - not syncing\n";
    Instance {
        state: "gone".into(),
        since_unix_ms: START + 60_000,
        ready_unix_ms: None,
        answered_unix_ms: None,
        address: String::new(),
        cause: Some(EndCause { code: "died_booting".into(), evidence: evidence.into() }),
        ..ready(id)
    }
}

fn change(after_ms: i64, state: &str, reason: &str) -> Change {
    let (id, pool) = ("kiln-1".into(), "local".into());
    Change { at_unix_ms: START + after_ms, id, pool, state: state.into(), reason: reason.into(), ..Change::default() }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn the_list() {
    let held = Instance { held_until_unix_ms: Some(NOW + 90_000), ..ready("kiln-019abc0000027a00800000000000000c") };
    let silent = Instance {
        answered_unix_ms: Some(NOW - 50_000),
        flavor: "local/large".into(),
        ..ready("kiln-019abc0000017a00800000000000000b")
    };
    let instances =
        [claimed("kiln-019abc0000017a00800000000000000a"), silent, held, gone("kiln-019abc0000037a00800000000000000d")];
    let short = ShortIds::of(instances.iter().map(|i| i.id.as_str()));
    insta::assert_snapshot!(plain(&table(&instances, &short, NOW).text(None)), @r"
    INSTANCE                               POOL         STATE      FOR    AGE  HEARD  STAGE    NOTE
    kiln-019abc0000017a00800000000000000a  local        claimed  3m12s  3m20s     4s  stage-1  ends in 1h00m at most
    kiln-019abc0000017a00800000000000000b  local/large  ready    3m19s  3m20s    50s
    kiln-019abc000002                      local        ready    3m19s  3m20s     4s           held for 1m30s
    kiln-019abc000003                      local        gone     2m20s  3m20s                  died_booting: [  3.1] Kernel panic [31m - not syncing
    ");
}

#[test]
fn a_busy_one() {
    let stage = Stage { id: "stage-1".into(), state: "assigned".into(), set_up: true, ..Stage::default() };
    let timeline = vec![
        change(0, "intended", "0 of 1 warm"),
        change(12, "launching", ""),
        change(140, "booting", "launched"),
        change(310, "ready", "its agent answers"),
        change(8_000, "claimed", "stage stage-1"),
    ];
    let shown = detail(&InstanceDetail { instance: claimed("kiln-1"), timeline }, Some(&stage), NOW);
    insta::assert_snapshot!(plain(&shown), @r"
    instance  kiln-1
    state     claimed for 3m12s
    pool      local (qemu)
    image     debian
    runner    host-1
    address   127.0.0.1:40123
    health    its agent answered 4s ago
    boot      310ms from the decision to ready
    warm for  7.6s
    stage     stage-1 (its steps may run)
    deadline  2025-11-25 01:19:41Z (in 1h00m)

    since 2025-11-25 00:16:21Z
    AFTER  STATE            LASTED  WHY
      0ms  intended           12ms  0 of 1 warm
     12ms  launching         128ms
    140ms  booting           170ms  launched
    310ms  ready              7.6s  its agent answers
     8.0s  claimed    3m12s so far  stage stage-1
    ");
}

#[test]
fn one_that_is_gone() {
    let timeline = vec![
        change(0, "intended", "0 of 1 warm"),
        change(59_000, "terminating", "died_booting"),
        change(60_000, "gone", ""),
    ];
    let shown = detail(&InstanceDetail { instance: gone("kiln-1"), timeline }, None, NOW);
    insta::assert_snapshot!(plain(&shown), @r"
    instance  kiln-1
    state     gone since 2025-11-25 00:17:21Z
    pool      local (qemu)
    image     debian
    runner    host-1
    ended by  died_booting
      | the console ended with:
      | [  3.1] Kernel panic [31m - not syncing

    since 2025-11-25 00:16:21Z
    AFTER  STATE        LASTED  WHY
      0ms  intended        59s  0 of 1 warm
      59s  terminating    1.0s  died_booting
    1m00s  gone
    ");
}

#[test]
fn stages_of_an_instance() {
    let line = |stage: Stage| stage_line(&claimed("kiln-1"), Some(&stage), NOW);
    let stage = |state: &str| Stage { id: "stage-1".into(), state: state.into(), ..Stage::default() };
    let lines = [
        line(stage("assigned")),
        line(Stage { ended_unix_ms: Some(NOW - 5_000), ..stage("ended") }),
        line(stage("waiting")),
        line(Stage { instance: "kiln-2".into(), set_up: true, ..stage("assigned") }),
        stage_line(&claimed("kiln-1"), None, NOW),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    stage-1 (its agent is being prepared)
    stage-1 (ended 5s ago)
    stage-1 (waiting)
    stage-1 (its steps may run, went on in kiln-2)
    stage-1
    ");
}

#[test]
fn what_was_done_is_told() {
    let until = |instance: Instance| Instance { held_until_unix_ms: Some(NOW + 1_800_000), ..instance };
    let ending = Instance { state: "terminating".into(), ..ready("kiln-1") };
    let lines = [
        held(&until(ready("kiln-1")), NOW),
        held(&until(claimed("kiln-1")), NOW),
        released(&ready("kiln-1")),
        destroyed(&ready("kiln-1"), &ending),
        destroyed(&claimed("kiln-1"), &ending),
        destroyed(&ending, &ending),
        destroyed(&gone("kiln-1"), &gone("kiln-1")),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    kiln-1 is held for 30m00s: no stage gets it
    kiln-1 is held for 30m00s: it outlives its stage stage-1
    kiln-1 is not held (ready)
    kiln-1 ends (it was ready)
    kiln-1 ends, with its stage stage-1
    kiln-1 was ending already
    kiln-1 is gone already
    ");
}
