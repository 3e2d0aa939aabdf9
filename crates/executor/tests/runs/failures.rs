//! Retries, failure strategies, timeouts.

use crate::rig::{Scenario, stages, steps};

#[tokio::test]
async fn a_step_that_fails_runs_again_as_often_as_its_strategy_says() {
    let text = steps(
        r#"
        - step:
            name: flaky
            type: Run
            spec: {command: 'echo x >> $DIR/tries; n=$(wc -l < $DIR/tries); echo "try $n"; [ "$n" = 3 ]'}
            failureStrategies:
              - onFailure:
                  errors: [AllErrors]
                  action: {type: Retry, spec: {retryCount: 2, retryIntervals: [1s], onRetryFailure: {action: {type: MarkAsFailure}}}}
        - step: {name: next, type: Run, spec: {command: echo on}}
        "#,
    );
    let told = Scenario::new(&text.replace("[1s]", "[1ms]")).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.flaky started
        a.flaky | try 1
        a.flaky runs again in 1ms: exit code 1
        a.flaky started, attempt 2
        a.flaky | try 2
        a.flaky runs again in 1ms: exit code 1
        a.flaky started, attempt 3
        a.flaky | try 3
        a.flaky passed after 3 attempts
        a.next started
        a.next | on
        a.next passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn what_follows_the_last_retry_is_for_the_strategy_to_say() {
    let strategy = |then: &str| {
        let text = r#"
            - step:
                name: one
                type: Run
                spec: {command: exit 7}
                failureStrategies:
                  - onFailure:
                      errors: [AllErrors]
                      action: {type: Retry, spec: {retryCount: 1, retryIntervals: [1ms], onRetryFailure: {action: {type: THEN}}}}
            - step: {name: two, type: Run, spec: {command: "true"}}
            "#;
        Scenario::new(&steps(&text.replace("THEN", then)))
    };
    let check = async |then: &str, rest: &[&str]| {
        let begin =
            "run p\na started\na ready\na.one started\na.one runs again in 1ms: exit code 7\na.one started, attempt 2";
        strategy(then).run().await.check(&format!("{begin}\n{}", rest.join("\n")));
    };
    let goes_on = ["a.two started", "a.two passed", "a passed", "run passed"];
    let ends = |how| [&[how][..], &goes_on].concat();
    check("Ignore", &ends("a.one ignored (ExitCode 7) after 2 attempts: exit code 7")).await;
    check("MarkAsSuccess", &ends("a.one passed (ExitCode 7) after 2 attempts: exit code 7")).await;
    let failed = "a.one failed (ExitCode 7) after 2 attempts: exit code 7";
    check("MarkAsFailure", &[failed, "a.two skipped: something before it failed", "a failed", "run failed"]).await;
    let not_begun = "a.two cancelled (Cancelled): a step's failure ended the run before its turn";
    check("Abort", &[failed, not_begun, "a cancelled: a step's failure ended the run", "run cancelled"]).await;
}

#[tokio::test]
async fn a_group_runs_again_from_its_beginning() {
    let text = steps(
        r#"
        - stepGroup:
            name: g
            failureStrategies:
              - onFailure:
                  errors: [AllErrors]
                  action: {type: RetryStepGroup, spec: {retryCount: 2, retryIntervals: [2ms, 1ms]}}
            steps:
              - step: {name: compile, type: Run, spec: {command: 'echo x >> $DIR/tries; n=$(wc -l < $DIR/tries); echo "try $n"; [ "$n" = 3 ]'}}
              - step: {name: mend, type: Run, when: {stageStatus: Failure}, spec: {command: "true"}}
              - step: {name: test, type: Run, spec: {command: echo fine}}
        - step: {name: next, type: Run, spec: {command: "true"}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.g.compile started
        a.g.compile | try 1
        a.g.compile failed (ExitCode 1): exit code 1
        a.g.mend started
        a.g.mend passed
        a.g.test skipped: something before it failed
        a.g runs again in 2ms: g.compile failed
        a.g.compile started, attempt 2
        a.g.compile | try 2
        a.g.compile failed (ExitCode 1) after 2 attempts: exit code 1
        a.g.mend started, attempt 2
        a.g.mend passed after 2 attempts
        a.g.test skipped: something before it failed
        a.g runs again in 1ms: g.compile failed
        a.g.compile started, attempt 3
        a.g.compile | try 3
        a.g.compile passed after 3 attempts
        a.g.mend skipped after 2 attempts: nothing before it failed
        a.g.test started
        a.g.test | fine
        a.g.test passed
        a.next started
        a.next passed
        a passed
        run passed
        ",
    );
    let ids: Vec<&str> = told.report.stages[0].steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["g.compile", "g.mend", "g.test", "next"]);
}

#[tokio::test]
async fn a_group_fails_when_it_has_run_as_often_as_it_may_and_for_other_kinds_of_failure_at_once() {
    let check = async |errors: &str, expect: &[&str]| {
        let text = r#"
            - stepGroup:
                name: g
                failureStrategies: [{onFailure: {errors: [ERRORS], action: {type: RetryStepGroup, spec: {retryCount: 1}}}}]
                steps: [{step: {name: s, type: Run, spec: {command: exit 3}}}]
            "#;
        let begin = ["run p", "a started", "a ready", "a.g.s started"];
        let told = Scenario::new(&steps(&text.replace("ERRORS", errors))).run().await;
        told.check(&[&begin, expect, &["a failed", "run failed"]].concat().join("\n"));
    };
    let failed = "a.g.s failed (ExitCode 3): exit code 3";
    let again = [
        "a.g runs again: g.s failed",
        "a.g.s started, attempt 2",
        "a.g.s failed (ExitCode 3) after 2 attempts: exit code 3",
    ];
    check("AllErrors", &[&[failed], &again[..]].concat()).await;
    check("Timeout", &[failed]).await;
}

#[tokio::test]
async fn a_group_that_waits_to_run_again_ends_with_its_run() {
    let text = steps(
        r#"
        - stepGroup:
            name: g
            failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: RetryStepGroup, spec: {retryCount: 1, retryIntervals: [1h]}}}}]
            steps: [{step: {name: s, type: Run, spec: {command: exit 3}}}]
        "#,
    );
    let told = Scenario::new(&text).when("a.g runs again in 1h", crate::rig::Act::Cancel).run().await;
    assert_eq!(told.report.status, kiln_wire::run::Status::Cancelled);
}

#[tokio::test]
async fn abort_ends_the_stages_beside_it_too() {
    let text = stages(
        r#"
        - parallel:
            - stage:
                name: a
                type: CI
                spec:
                  execution:
                    steps:
                      - step: {name: wait, type: Run, spec: {command: "until [ -e $DIR/go ]; do sleep 0.02; done"}}
                      - step:
                          name: bad
                          type: Run
                          spec: {command: exit 1}
                          failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Abort}}}]
            - stage:
                name: b
                type: CI
                spec: {execution: {steps: [{step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}}]}}
        - stage:
            name: c
            type: CI
            spec: {execution: {steps: [{step: {name: late, type: Run, spec: {command: "true"}}}]}}
        "#,
    );
    let told = Scenario::new(&text).when("b.long | begun", crate::rig::Act::Touch("go")).run().await;
    told.check_by_part(
        "
        a started
        a ready
        a cancelled: a step's failure ended the run
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a.wait started
        a.wait passed
        b started
        b ready
        b cancelled: a step's failure ended the run
        b.long started
        b.long | begun
        b.long cancelled (Cancelled 255): a step's failure ended the run
        c cancelled: a step's failure ended the run before its turn
        run p
        run cancelled
        ",
    );
}

#[tokio::test]
async fn strategies_are_asked_from_the_step_outwards() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Ignore}}}]
            spec:
              execution:
                steps:
                  - step: {name: outer, type: Run, spec: {command: exit 1}}
                  - stepGroup:
                      name: g
                      failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: MarkAsSuccess}}}]
                      steps:
                        - step: {name: middle, type: Run, spec: {command: exit 2}}
                        - step:
                            name: inner
                            type: Run
                            spec: {command: exit 3}
                            failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: MarkAsFailure}}}]
        "#,
    );
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.outer started
        a.outer ignored (ExitCode 1): exit code 1
        a.g.middle started
        a.g.middle passed (ExitCode 2): exit code 2
        a.g.inner started
        a.g.inner failed (ExitCode 3): exit code 3
        a failed
        run failed
        ",
    );
}

#[tokio::test]
async fn a_step_whose_time_is_up_is_ended_with_all_it_started() {
    let text = steps(
        r#"
        - step:
            name: slow
            type: Run
            timeout: 10s
            spec: {command: 'sleep 1000 & echo $! > $DIR/pid; echo begun; wait'}
            failureStrategies: [{onFailure: {errors: [Timeout], action: {type: Ignore}}}]
        - step: {name: look, type: Run, spec: {command: 'grep -qs "^State:.[RSD]" /proc/$(cat $DIR/pid)/status && echo lives || echo dead'}}
        "#,
    );
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.slow started
        a.slow | begun
        a.slow ignored (Timeout 255): its time was up (timeout: 10s)
        a.look started
        a.look | dead
        a.look passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn a_stage_whose_time_is_up_ends_what_runs_and_the_run_fails() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            timeout: 10s
            spec: {execution: {steps: [{step: {name: slow, type: Run, spec: {command: exec sleep 1000}}}, {step: {name: next, type: Run, spec: {command: "true"}}}]}}
        - stage:
            name: b
            type: CI
            when: {pipelineStatus: Failure}
            spec: {execution: {steps: [{step: {name: report, type: Run, spec: {command: echo told}}}]}}
        "#,
    );
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.slow started
        a.slow cancelled (Cancelled 255): the stage's time was up (timeout: 10s)
        a.next cancelled (Cancelled): the stage's time was up (timeout: 10s) before its turn
        a failed: the stage's time was up (timeout: 10s)
        b started
        b ready
        b.report started
        b.report | told
        b.report passed
        b passed
        run failed
        ",
    );
}

#[tokio::test]
async fn a_run_whose_time_is_up_fails() {
    let text = steps("- step: {name: slow, type: Run, spec: {command: exec sleep 1000}}");
    let text = text.replace("identifier: p\n", "identifier: p\n  timeout: 10s\n");
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.slow started
        a.slow cancelled (Cancelled 255): the run's time was up (timeout: 10s)
        a cancelled: the run's time was up (timeout: 10s)
        run failed
        ",
    );
}
