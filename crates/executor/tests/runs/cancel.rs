//! Cancelling a run: before it begins, while a stage waits, while a step runs, between two tries.

use crate::rig::{Act, Scenario, stages, steps};

const TWO_STAGES: &str = r#"
    - stage: {name: a, type: CI, spec: {execution: {steps: [{step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}}, {step: {name: next, type: Run, when: {stageStatus: All}, spec: {command: "true"}}}]}}}
    - stage: {name: b, type: CI, when: {pipelineStatus: All}, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
    "#;

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_begins_asks_for_nothing() {
    let told = Scenario::new(&stages(TWO_STAGES)).cancelled().run().await;
    told.check(
        "
        run p
        a cancelled: the run was cancelled before its turn
        b cancelled: the run was cancelled before its turn
        run cancelled
        ",
    );
    assert!(told.calls.is_empty(), "{:?}", told.calls);
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_a_stage_waits_gives_the_wait_up() {
    let told =
        Scenario::new(&stages(TWO_STAGES)).fleet(|agents| agents.hold_up("a")).when("a waits", Act::Cancel).run().await;
    told.check(
        "
        run p
        a started
        a waits for an instance: all are busy
        a cancelled
        b cancelled: the run was cancelled before its turn
        run cancelled
        ",
    );
    assert_eq!(told.calls, ["acquire a", "abandon a"]);
}

#[tokio::test]
async fn a_run_whose_time_is_up_while_a_stage_waits_gives_the_wait_up() {
    let text = stages(TWO_STAGES).replace("identifier: p\n", "identifier: p\n  timeout: 10s\n");
    let told = Scenario::new(&text).fleet(|agents| agents.hold_up("a")).run().await;
    told.check(
        "
        run p
        a started
        a waits for an instance: all are busy
        a cancelled: the run's time was up (timeout: 10s)
        b cancelled: the run's time was up (timeout: 10s) before its turn
        run failed
        ",
    );
    assert_eq!(told.calls, ["acquire a", "abandon a"]);
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_a_step_runs_ends_the_step_and_starts_no_other() {
    let told = Scenario::new(&stages(TWO_STAGES)).when("a.long | begun", Act::Cancel).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | begun
        a.long cancelled (Cancelled 255): the run was cancelled
        a.next cancelled (Cancelled): the run was cancelled before its turn
        a cancelled
        b cancelled: the run was cancelled before its turn
        run cancelled
        ",
    );
    assert_eq!(told.calls, ["acquire a", "release a"]);
}

#[tokio::test]
async fn a_run_that_is_cancelled_between_two_tries_does_not_try_again() {
    let text = steps(
        r#"
        - step:
            name: one
            type: Run
            spec: {command: exit 1}
            failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 3, retryIntervals: [1h], onRetryFailure: {action: {type: Ignore}}}}}}]
        "#,
    );
    Scenario::new(&text).when("a.one runs again", Act::Cancel).run().await.check(
        "
        run p
        a started
        a ready
        a.one started
        a.one runs again in 1h: exit code 1
        a.one failed (ExitCode 1): exit code 1
        a cancelled
        run cancelled
        ",
    );
}

#[tokio::test]
async fn a_step_that_does_not_listen_is_killed() {
    let text = steps(
        r#"- step: {name: deaf, type: Run, spec: {command: 'trap "" TERM; echo begun; while :; do sleep 0.1; done'}}"#,
    );
    Scenario::new(&text).when("a.deaf | begun", Act::Cancel).run().await.check(
        "
        run p
        a started
        a ready
        a.deaf started
        a.deaf | begun
        a.deaf cancelled (Cancelled 255): the run was cancelled
        a cancelled
        run cancelled
        ",
    );
}

#[tokio::test]
async fn all_that_runs_at_the_same_time_is_cancelled() {
    let text = steps(
        r#"
        - parallel:
            - step: {name: one, type: Run, spec: {command: echo begun; exec sleep 1000}}
            - step: {name: two, type: Run, spec: {command: 'until [ -e $DIR/go ]; do sleep 0.02; done; echo begun; exec sleep 1000'}}
        "#,
    );
    let scenario = Scenario::new(&text).when("a.one | begun", Act::Touch("go")).when("a.two | begun", Act::Cancel);
    scenario.run().await.check_by_part(
        "
        a started
        a ready
        a cancelled
        a.one started
        a.one | begun
        a.one cancelled (Cancelled 255): the run was cancelled
        a.two started
        a.two | begun
        a.two cancelled (Cancelled 255): the run was cancelled
        run p
        run cancelled
        ",
    );
}

#[tokio::test]
async fn an_agent_that_stands_still_does_not_hold_a_cancelled_run() {
    let text = steps("- step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}");
    let scenario = Scenario::new(&text).when("a.long | begun", Act::Freeze("a")).when("a.long | begun", Act::Cancel);
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | begun
        a.long cancelled (Cancelled): the run was cancelled
        a cancelled
        run cancelled
        ",
    );
}

#[tokio::test]
async fn background_steps_of_an_agent_that_stands_still_do_not_hold_a_cancelled_run() {
    let text = steps(
        r#"
        - step: {name: server, type: Background, spec: {command: exec sleep 1000}}
        - step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}
        "#,
    );
    let scenario = Scenario::new(&text).when("a.long | begun", Act::Freeze("a")).when("a.long | begun", Act::Cancel);
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.server started
        a.server passed: goes on in the background
        a.long started
        a.long | begun
        a.long cancelled (Cancelled): the run was cancelled
        a note: background steps could not be ended in order: the agent did not do it in time
        a cancelled
        run cancelled
        ",
    );
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_the_sources_are_sent_does_not_wait_for_them() {
    let text = steps(r#"- step: {name: one, type: Run, spec: {command: "true"}}"#);
    // What is told about the sources is told before they are sent.
    let scenario = Scenario::new(&text.replace("execution:", "cloneCodebase: true\n          execution:"))
        .file(".git", "gitdir: /nonexistent")
        .fleet(|agents| agents.freeze_first())
        .when("a note: git", Act::Cancel);
    scenario.run().await.check(
        "
        run p
        a started
        a note: git does not work in the copy: .git leads nowhere
        a cancelled
        run cancelled
        ",
    );
}
