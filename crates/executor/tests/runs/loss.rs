//! The loss of an agent, of the way to it, and of an instance.

use std::time::Duration;

use kiln_wire::run::{Cause, Status};

use crate::rig::{Act, Scenario, stages, steps};

const BEGUN: &str = r#"
    - step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}
    - step: {name: next, type: Run, spec: {command: "true"}}
    "#;

/// Loses the agent of stage `a` in this way, and returns the message of its step.
async fn lost(act: Act) -> String {
    let told = Scenario::new(&steps(BEGUN)).when("a.long | begun", act).run().await;
    let [long, next] = &told.report.stages[0].steps[..] else { panic!("{:?}", told.report) };
    assert_eq!((long.status, long.cause, long.exit_code), (Status::Failed, Some(Cause::Infrastructure), None));
    assert_eq!((next.status, next.attempts), (Status::Skipped, 0));
    assert_eq!((told.report.stages[0].status, told.report.status), (Status::Failed, Status::Failed));
    assert_eq!(told.calls, ["acquire a", "release a"]);
    long.message.clone().unwrap_or_default()
}

#[tokio::test]
async fn an_agent_that_crashes_while_a_step_runs_fails_the_step_for_its_instance() {
    let message = lost(Act::Kill("a")).await;
    assert!(message.starts_with("the agent did not answer /poll_step"), "{message}");
}

#[tokio::test]
async fn an_agent_that_cannot_be_reached_any_more_is_lost() {
    let message = lost(Act::Close("a")).await;
    assert!(message.starts_with("the agent did not answer /poll_step"), "{message}");
}

#[tokio::test]
async fn an_instance_that_ends_by_itself_fails_its_step_with_the_evidence() {
    assert_eq!(lost(Act::End("a", "powered off")).await, "the instance ended: powered off");
}

#[tokio::test]
async fn a_connection_that_breaks_loses_nothing() {
    let text = steps(
        r#"- step: {name: long, type: Run, spec: {command: 'echo one; until [ -e $DIR/go ]; do sleep 0.02; done; echo two; exit 3'}}"#,
    );
    let scenario = Scenario::new(&text).when("a.long | one", Act::Cut("a")).when("a.long | one", Act::Touch("go"));
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | one
        a.long | two
        a.long failed (ExitCode 3): exit code 3
        a failed
        run failed
        ",
    );
}

#[tokio::test]
async fn a_connection_that_breaks_before_a_step_or_its_reports_loses_neither() {
    let text = steps(
        r#"
        - step: {name: one, type: Run, spec: {command: "true"}}
        - step:
            name: two
            type: Run
            spec:
              command: |
                echo begun
                until [ -e $DIR/go ]; do sleep 0.02; done
                echo '<testsuite><testcase/></testsuite>' > r.xml
              reports: {type: JUnit, spec: {paths: [r.xml]}}
        "#,
    );
    let scenario = Scenario::new(&text)
        .with(|options| options.patience.unreachable_for = Duration::from_secs(10))
        .when("a.one passed", Act::Refuse("a", 3))
        .when("a.two | begun", Act::Touch("go"));
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.one started
        a.one passed
        a.two started
        a.two | begun
        a.two passed [1 tests = 1 + 0 + 0 + 0]
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn the_sources_are_sent_again_when_the_connection_breaks() {
    let text = steps(r#"- step: {name: one, type: Run, spec: {command: "true"}}"#);
    let scenario = Scenario::new(&text)
        .with(|options| options.patience.unreachable_for = Duration::from_secs(10))
        .fleet(|agents| agents.refuse_first(3));
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.one started
        a.one passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn a_step_does_not_run_again_on_an_instance_that_is_gone() {
    let text = steps(
        r#"
        - step:
            name: long
            type: Run
            spec: {command: echo begun; exec sleep 1000}
            failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 3, retryIntervals: [1ms], onRetryFailure: {action: {type: Ignore}}}}}}]
        "#,
    );
    let told = Scenario::new(&text).when("a.long | begun", Act::End("a", "taken back")).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | begun
        a.long failed (Infrastructure): the instance ended: taken back
        a failed
        run failed
        ",
    );
}

#[tokio::test]
async fn a_step_does_not_run_again_after_its_agent_was_restarted() {
    let text = steps(
        r#"
        - step:
            name: long
            type: Run
            spec: {command: 'echo x >> $DIR/runs; echo begun; exec sleep 1000'}
            failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 3, retryIntervals: [1ms], onRetryFailure: {action: {type: Ignore}}}}}}]
        - step: {name: next, type: Run, when: {stageStatus: All}, spec: {command: echo x >> $DIR/runs}}
        "#,
    );
    let told = Scenario::new(&text)
        .with(|options| options.patience.unreachable_for = Duration::from_secs(10))
        .when("a.long | begun", Act::Restart("a"))
        .run()
        .await;
    let [long, next] = &told.report.stages[0].steps[..] else { panic!("{:?}", told.report) };
    assert_eq!((long.cause, long.attempts), (Some(Cause::Infrastructure), 1));
    let message = long.message.as_deref().unwrap_or_default();
    assert!(message.contains("the agent in the VM was restarted"), "{message}");
    assert_eq!((next.status, next.cause), (Status::Failed, Some(Cause::Infrastructure)));
    assert_eq!(told.file("runs"), "x\n");
}

#[tokio::test]
async fn a_stage_that_gets_no_instance_fails_with_the_reason_and_the_others_go_on() {
    let text = stages(
        r#"
        - parallel:
            - stage: {name: a, type: CI, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
            - stage: {name: b, type: CI, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
        "#,
    );
    let told = Scenario::new(&text).fleet(|agents| agents.refuse("a", "no capacity")).run().await;
    told.check_by_part(
        "
        a started
        a failed: no instance could be had: no capacity
        b started
        b ready
        b passed
        b.one started
        b.one passed
        run p
        run failed
        ",
    );
}

#[tokio::test]
async fn a_stage_that_waits_says_why_and_goes_on_when_it_has_its_instance() {
    let text = steps(r#"- step: {name: one, type: Run, spec: {command: "true"}}"#);
    let scenario = Scenario::new(&text).fleet(|agents| agents.hold_up("a")).when("a waits", Act::LetGo("a"));
    scenario.run().await.check(
        "
        run p
        a started
        a waits for an instance: all are busy
        a ready
        a.one started
        a.one passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn an_instance_that_cannot_be_given_back_is_told_and_changes_no_result() {
    let text = steps(r#"- step: {name: one, type: Run, spec: {command: "true"}}"#);
    Scenario::new(&text).fleet(|agents| agents.fail_releases()).run().await.check(
        "
        run p
        a started
        a ready
        a.one started
        a.one passed
        a note: instance vm-a could not be ended: no instance could be had: the runner is away
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn the_loss_of_one_instance_leaves_the_stage_beside_it_alone() {
    let text = stages(
        r#"
        - parallel:
            - stage: {name: a, type: CI, spec: {execution: {steps: [{step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}}]}}}
            - stage: {name: b, type: CI, spec: {execution: {steps: [{step: {name: wait, type: Run, spec: {command: 'until [ -e $DIR/go ]; do sleep 0.02; done; echo on'}}}]}}}
        "#,
    );
    let scenario =
        Scenario::new(&text).when("a.long | begun", Act::End("a", "crashed")).when("a failed", Act::Touch("go"));
    scenario.run().await.check_by_part(
        "
        a started
        a ready
        a failed
        a.long started
        a.long | begun
        a.long failed (Infrastructure): the instance ended: crashed
        b started
        b ready
        b passed
        b.wait started
        b.wait | on
        b.wait passed
        run p
        run failed
        ",
    );
}

#[tokio::test]
async fn an_agent_that_does_not_end_a_step_in_time_is_waited_for_no_longer() {
    let text = steps("- step: {name: long, type: Run, timeout: 10s, spec: {command: echo begun; exec sleep 1000}}");
    Scenario::new(&text).when("a.long | begun", Act::Freeze("a")).run().await.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | begun
        a.long failed (Infrastructure): its time was up and the agent did not end it
        a failed
        run failed
        ",
    );
}
