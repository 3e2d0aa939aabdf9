//! Which steps and stages run: status, expressions, the stages that were asked for.

use kiln_pipeline::facts::Facts;

use crate::rig::{Scenario, stages, steps};

#[tokio::test]
async fn steps_run_or_are_skipped_by_status_and_expression() {
    let text = steps(
        r#"
        - step: {name: early, type: Run, when: {stageStatus: Failure}, spec: {command: "true"}}
        - step: {name: main, type: Run, when: {stageStatus: Success, condition: <+codebase.branch> == "main"}, spec: {command: "true"}}
        - step: {name: dev, type: Run, when: {stageStatus: Success, condition: <+codebase.branch> == "dev"}, spec: {command: "true"}}
        - step: {name: bad, type: Run, spec: {command: exit 1}}
        - step: {name: never, type: Run, spec: {command: "true"}}
        - step: {name: always, type: Run, when: {stageStatus: All}, spec: {command: "true"}}
        - step: {name: mend, type: Run, when: {stageStatus: Failure}, spec: {command: "true"}}
        "#,
    );
    let facts = Facts::default().with("branch", "main");
    Scenario::new(&text).with(|options| options.facts = facts).run().await.check(
        r#"
        run p
        a started
        a ready
        a.early skipped: nothing before it failed
        a.main started
        a.main passed
        a.dev skipped: its condition does not hold: <+codebase.branch> == "dev"
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a.never skipped: something before it failed
        a.always started
        a.always passed
        a.mend started
        a.mend passed
        a failed
        run failed
        "#,
    );
}

#[tokio::test]
async fn a_condition_sees_what_steps_before_it_left() {
    let text = steps(
        r#"
        - step: {name: look, type: Run, spec: {command: N=3, outputVariables: [{name: N, type: String, value: N}]}}
        - step: {name: three, type: Run, when: {stageStatus: Success, condition: <+execution.steps.look.output.outputVariables.N> == "3"}, spec: {command: "true"}}
        - step: {name: four, type: Run, when: {stageStatus: Success, condition: <+execution.steps.look.output.outputVariables.N> == "4"}, spec: {command: "true"}}
        "#,
    );
    Scenario::new(&text).run().await.check(
        r#"
        run p
        a started
        a ready
        a.look started
        a.look passed
        a.three started
        a.three passed
        a.four skipped: its condition does not hold: <+execution.steps.look.output.outputVariables.N> == "4"
        a passed
        run passed
        "#,
    );
}

#[tokio::test]
async fn stages_run_or_are_skipped_by_status_and_nothing_is_asked_for_those_that_are_skipped() {
    let text = stages(
        r#"
        - stage: {name: a, type: CI, spec: {execution: {steps: [{step: {name: bad, type: Run, spec: {command: exit 1}}}]}}}
        - stage: {name: b, type: CI, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
        - stage: {name: c, type: CI, when: {pipelineStatus: Failure}, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
        - stage: {name: d, type: CI, when: {pipelineStatus: All}, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a failed
        b skipped: something before it failed
        c started
        c ready
        c.one started
        c.one passed
        c passed
        d started
        d ready
        d.one started
        d.one passed
        d passed
        run failed
        ",
    );
    assert_eq!(told.calls, ["acquire a", "release a", "acquire c", "release c", "acquire d", "release d"]);
}

#[tokio::test]
async fn only_the_stages_that_were_asked_for_run() {
    let text = stages(
        r#"
        - stage: {name: a, type: CI, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: exit 1}}}]}}}
        - stage: {name: b, type: CI, spec: {execution: {steps: [{step: {name: one, type: Run, spec: {command: "true"}}}]}}}
        "#,
    );
    Scenario::new(&text).with(|options| options.stages = vec!["b".into()]).run().await.check(
        "
        run p
        a skipped: not among the stages asked for
        b started
        b ready
        b.one started
        b.one passed
        b passed
        run passed
        ",
    );
}

#[tokio::test]
async fn drone_steps_and_stages_run_by_status_branch_and_event() {
    let text = r#"
kind: pipeline
type: vm
name: a
clone: {disable: true}
steps:
- name: bad
  commands: [exit 1]
  failure: ignore
- name: pushed
  commands: ["true"]
  when: {event: [push], branch: ["feature/*"]}
- name: tagged
  commands: ["true"]
  when: {event: [tag]}
- name: worse
  commands: [exit 2]
- name: tell
  commands: ["true"]
  when: {status: [failure]}
---
kind: pipeline
type: vm
name: b
clone: {disable: true}
depends_on: [a]
steps:
- {name: one, commands: ["true"]}
---
kind: pipeline
type: vm
name: c
clone: {disable: true}
depends_on: [a]
trigger: {status: [failure]}
steps:
- {name: one, commands: ["true"]}
"#;
    let facts = Facts::default().with("event", "push").with("branch", "feature/x");
    Scenario::new(text).with(|options| options.facts = facts).run().await.check_by_part(
        "
        a started
        a ready
        a failed
        a.bad started
        a.bad ignored (ExitCode 1): exit code 1
        a.pushed started
        a.pushed passed
        a.tagged skipped: it is not for this event (push)
        a.tell started
        a.tell passed
        a.worse started
        a.worse failed (ExitCode 2): exit code 2
        b skipped: something before it failed
        c started
        c ready
        c passed
        c.one started
        c.one passed
        run a
        run failed
        ",
    );
}

#[tokio::test]
async fn drone_steps_are_told_what_failed_before_them() {
    let text = r#"
kind: pipeline
type: vm
name: build-it
clone: {disable: true}
steps:
- {name: good, commands: ["echo $DRONE_BUILD_STATUS $DRONE_STAGE_STATUS ${DRONE_FAILED_STAGES:-none} ${DRONE_FAILED_STEPS:-none}"]}
- {name: ignored, commands: [exit 1], failure: ignore}
- {name: bad, commands: [exit 1]}
- {name: tell, commands: ["env | grep -e DRONE_.*_STATUS -e FAILED | sort"], when: {status: [failure]}}
---
kind: pipeline
type: vm
name: notify
clone: {disable: true}
depends_on: [build-it]
trigger: {status: [failure]}
steps:
- {name: tell, commands: ["env | grep -e DRONE_.*_STATUS -e FAILED | sort"]}
"#;
    let text = text.replace("${", "$${");
    let told = Scenario::new(&text).run().await;
    let said = |stage: usize, step: usize| {
        let stage = &told.report.stages[stage];
        let text = told.output(&stage.id, &stage.steps[step].id);
        text.lines().filter(|line| !line.starts_with("+ ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said(0, 0), ["success success none none"]);
    let both = ["DRONE_BUILD_STATUS=failure", "DRONE_STAGE_STATUS=failure"];
    assert_eq!(said(0, 3), [both[0], "DRONE_FAILED_STEPS=bad", both[1]]);
    assert_eq!(said(1, 0), [both[0], "DRONE_FAILED_STAGES=build-it", both[1]]);
}

#[tokio::test]
async fn harness_steps_are_told_what_failed_before_them() {
    let text = steps(
        r#"
        - step: {name: good, type: Run, spec: {command: "echo $DRONE_BUILD_STATUS"}}
        - step: {name: bad, type: Run, spec: {command: exit 1}}
        - step: {name: tell, type: Run, when: {stageStatus: Failure}, spec: {command: "echo $DRONE_BUILD_STATUS $CI_BUILD_STATUS $DRONE_FAILED_STEPS"}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    assert_eq!(told.output("a", "good"), "success\n");
    assert_eq!(told.output("a", "tell"), "failure failure bad\n");
}

#[tokio::test]
async fn a_condition_without_a_value_fails_its_step() {
    let text = steps(
        r#"
        - step: {name: look, type: Run, spec: {command: "exit 1", outputVariables: [{name: N, type: String, value: N}]}, failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Ignore}}}]}
        - step: {name: next, type: Run, when: {stageStatus: Success, condition: <+execution.steps.look.output.outputVariables.N> > 4}, spec: {command: "true"}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let next = &told.report.stages[0].steps[1];
    let message = next.message.as_deref().unwrap_or_default();
    assert!(message.starts_with("its condition has no value: "), "{message}");
    assert_eq!((next.attempts, next.cause), (0, Some(kiln_wire::run::Cause::Plan)));
}
