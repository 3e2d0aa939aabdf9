//! What runs at the same time and what after what: parallel steps and stages, groups, matrices, background steps.

use crate::rig::{Act, Scenario, stages, steps};

#[tokio::test]
async fn parallel_steps_wait_for_each_other_and_the_next_one_for_all() {
    // Each ends only when the other has begun.
    let text = steps(
        r#"
        - parallel:
            - step: {name: one, type: Run, spec: {command: 'touch $DIR/one; until [ -e $DIR/two ]; do sleep 0.02; done'}}
            - step: {name: two, type: Run, spec: {command: 'touch $DIR/two; until [ -e $DIR/one ]; do sleep 0.02; done'}}
        - step: {name: last, type: Run, spec: {command: "ls $DIR | grep -c -x -e one -e two"}}
        "#,
    );
    Scenario::new(&text).run().await.check_by_part(
        "
        a started
        a ready
        a passed
        a.last started
        a.last | 2
        a.last passed
        a.one started
        a.one passed
        a.two started
        a.two passed
        run p
        run passed
        ",
    );
}

#[tokio::test]
async fn a_group_beside_a_failure_goes_on_and_what_follows_both_is_skipped() {
    let text = steps(
        r#"
        - parallel:
            - step: {name: bad, type: Run, spec: {command: exit 1}}
            - stepGroup:
                name: g
                steps:
                  - step: {name: one, type: Run, spec: {command: 'until [ -e $DIR/go ]; do sleep 0.02; done'}}
                  - step: {name: two, type: Run, spec: {command: echo on}}
        - step: {name: last, type: Run, spec: {command: "true"}}
        "#,
    );
    Scenario::new(&text).when("a.bad failed", Act::Touch("go")).run().await.check_by_part(
        "
        a started
        a ready
        a failed
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a.g.one started
        a.g.one passed
        a.g.two started
        a.g.two | on
        a.g.two passed
        a.last skipped: something before it failed
        run p
        run failed
        ",
    );
}

#[tokio::test]
async fn stages_start_when_what_they_depend_on_has_ended() {
    let stage = |name: &str, needs: &str, command: &str| {
        format!(
            "kind: pipeline\ntype: vm\nname: {name}\nclone: {{disable: true}}\ndepends_on: [{needs}]\nsteps:\n- {{name: s, commands: ['{command}']}}\n"
        )
    };
    let wait = |for_file: &str| format!("until [ -e $DIR/{for_file} ]; do sleep 0.02; done");
    // d needs b and c; c ends only when b has, and b only when c has begun.
    let text = [
        stage("a", "", "touch $DIR/a"),
        stage("b", "a", &format!("test -e $DIR/a; {}; touch $DIR/b", wait("c"))),
        stage("c", "a", &format!("test -e $DIR/a; touch $DIR/c; {}", wait("b"))),
        stage("d", "b, c", "test -e $DIR/b"),
    ]
    .join("---\n");
    let told = Scenario::new(&text).run().await;
    told.check_by_part(
        "
        a started
        a ready
        a passed
        a.s started
        a.s passed
        b started
        b ready
        b passed
        b.s started
        b.s passed
        c started
        c ready
        c passed
        c.s started
        c.s passed
        d started
        d ready
        d passed
        d.s started
        d.s passed
        run a
        run passed
        ",
    );
    let order: Vec<&str> = told.report.stages.iter().map(|stage| stage.id.as_str()).collect();
    // b and c end in any order.
    assert_eq!((order[0], order[3]), ("a", "d"));
}

#[tokio::test]
async fn a_matrix_of_stages_has_an_instance_for_each_and_one_that_fails_fails_all() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            strategy: {matrix: {os: [x, y], n: [1, 2], exclude: [{os: y, n: 2}]}}
            spec: {execution: {steps: [{step: {name: s, type: Run, spec: {command: 'echo <+matrix.os> <+matrix.n>; [ <+matrix.os><+matrix.n> != x2 ]'}}}]}}
        - stage: {name: b, type: CI, spec: {execution: {steps: [{step: {name: s, type: Run, spec: {command: "true"}}}]}}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    told.check_by_part(
        "
        a_0_0 started
        a_0_0 ready
        a_0_0 passed
        a_0_0.s started
        a_0_0.s | x 1
        a_0_0.s passed
        a_0_1 started
        a_0_1 ready
        a_0_1 failed
        a_0_1.s started
        a_0_1.s | x 2
        a_0_1.s failed (ExitCode 1): exit code 1
        a_1_0 started
        a_1_0 ready
        a_1_0 passed
        a_1_0.s started
        a_1_0.s | y 1
        a_1_0.s passed
        b skipped: something before it failed
        run p
        run failed
        ",
    );
    assert_eq!(told.calls.iter().filter(|call| call.starts_with("acquire")).count(), 3);
}

#[tokio::test]
async fn a_matrix_over_values_of_what_failed_is_skipped_like_any_other_step_or_stage() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            spec:
              execution:
                steps:
                  - step: {name: make, type: Run, spec: {command: exit 1, outputVariables: [{name: L, type: String, value: L}]}}
                  - step:
                      name: next
                      type: Run
                      strategy: {repeat: {items: '<+execution.steps.make.output.outputVariables.L.split(",")>'}}
                      spec: {command: 'echo <+repeat.item>'}
        - stage:
            name: b
            type: CI
            strategy: {repeat: {items: '<+pipeline.stages.a.spec.execution.steps.make.output.outputVariables.L.split(",")>'}}
            spec: {execution: {steps: [{step: {name: s, type: Run, spec: {command: "true"}}}]}}
        "#,
    );
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.make started
        a.make failed (ExitCode 1): exit code 1
        a.next skipped: something before it failed
        a failed
        b skipped: something before it failed
        run failed
        ",
    );
}

#[tokio::test]
async fn names_tell_their_iteration_by_expression_or_by_title() {
    let text = stages(
        r#"
        - stage:
            name: build on <+matrix.os>
            identifier: a
            type: CI
            strategy: {matrix: {os: [x, y]}}
            when: {pipelineStatus: Success, condition: <+matrix.os> == "x"}
            spec:
              execution:
                steps:
                  - step: {name: show <+matrix.os> to <+pipeline.name>, identifier: show, type: Run, spec: {command: "true"}}
                  - step: {name: plain, type: Run, strategy: {repeat: {items: [p]}}, spec: {command: "true"}}
                  - step: {name: what <+matrix.other>, identifier: what, type: Run, when: {stageStatus: Failure}, spec: {command: "true"}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let mut stages: Vec<_> = told.report.stages.iter().collect();
    stages.sort_by_key(|stage| &stage.id);
    assert_eq!([&stages[0].name, &stages[1].name], ["build on x", "build on y"]);
    assert_eq!(stages[1].status, kiln_wire::run::Status::Skipped);
    let steps: Vec<&str> = stages[0].steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["show x to p", "plain (p)", "what <+matrix.other>"]);
}

#[tokio::test]
async fn a_matrix_of_steps_runs_no_more_at_once_than_it_says() {
    // A step that finds another one running fails.
    let text = steps(
        r#"
        - step:
            name: s
            type: Run
            strategy: {parallelism: 3, maxConcurrency: 1}
            spec: {command: 'mkdir $DIR/lock; echo <+strategy.iteration> of <+strategy.iterations>; sleep 0.05; rmdir $DIR/lock'}
        - step:
            name: r
            type: Run
            strategy: {repeat: {items: [p, q], maxConcurrency: 1}}
            spec: {command: 'echo <+repeat.item>'}
        "#,
    );
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.s_0 started
        a.s_0 | 0 of 3
        a.s_0 passed
        a.s_1 started
        a.s_1 | 1 of 3
        a.s_1 passed
        a.s_2 started
        a.s_2 | 2 of 3
        a.s_2 passed
        a.r_0 started
        a.r_0 | p
        a.r_0 passed
        a.r_1 started
        a.r_1 | q
        a.r_1 passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn a_background_step_goes_on_beside_the_others_and_ends_with_its_stage() {
    let text = steps(
        r#"
        - step: {name: server, type: Background, spec: {command: 'echo $$ > $DIR/pid; touch $DIR/up; exec sleep 1000'}}
        - step: {name: user, type: Run, spec: {command: 'until [ -e $DIR/up ]; do sleep 0.02; done; kill -0 $(cat $DIR/pid) && echo lives'}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    told.check_by_part(
        "
        a started
        a ready
        a passed
        a.server started
        a.server passed: goes on in the background
        a.user started
        a.user | lives
        a.user passed
        run p
        run passed
        ",
    );
}

#[tokio::test]
async fn all_that_a_background_step_printed_is_told_before_its_stage_ends() {
    let text = steps(
        r#"
        - step: {name: server, type: Background, spec: {command: 'echo first; until [ -e $DIR/go ]; do sleep 0.02; done; echo second; touch $DIR/done; exec sleep 1000'}}
        - step: {name: user, type: Run, spec: {command: 'touch $DIR/go; until [ -e $DIR/done ]; do sleep 0.02; done'}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    assert_eq!(told.output("a", "server"), "first\nsecond\n");
    assert_eq!(told.output("a", "user"), "");
}

#[tokio::test]
async fn a_step_that_prints_a_lot_while_another_fails_is_told_whole() {
    let text = steps(
        r#"
        - parallel:
            - step: {name: loud, type: Run, spec: {command: 'seq 1 200000; until [ -e $DIR/go ]; do sleep 0.02; done; echo end'}}
            - step: {name: bad, type: Run, spec: {command: echo oops; exit 1}}
        "#,
    );
    let told = Scenario::new(&text).when("a.bad failed", Act::Touch("go")).run().await;
    let expect: String = (1..=200_000).map(|n| format!("{n}\n")).chain(["end\n".to_owned()]).collect();
    assert!(told.output("a", "loud") == expect, "{} bytes of {}", told.output("a", "loud").len(), expect.len());
    assert_eq!(told.output("a", "bad"), "oops\n");
    assert_eq!(told.report.status, kiln_wire::run::Status::Failed);
}
