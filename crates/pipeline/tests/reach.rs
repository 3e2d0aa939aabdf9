//! What a run needs is what can run in it: stages that are asked for, conditions that may hold.

use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::Plan;
use kiln_pipeline::reach::Reach;
use kiln_pipeline::{Options, load};

fn plan(text: &str) -> Plan {
    let loaded = load("p.yml", text.as_bytes(), &Options::default());
    loaded.plan.unwrap_or_else(|| panic!("{}", loaded.report.text(false)))
}

/// Checks the secrets, then the inputs, that a run of these stages on branch `main` needs.
#[track_caller]
fn check(text: &str, stages: &[&str], expect: &str) {
    let (plan, facts) = (plan(text), Facts::default().with("branch", "main").with("event", "push"));
    let stages: Vec<String> = stages.iter().map(ToString::to_string).collect();
    let given = [("set".to_owned(), "yes".to_owned())];
    let reach = Reach::new(&plan, &stages, &facts, &given);
    let needed = plan.secrets(&reach).into_iter().chain(plan.inputs(&reach)).map(|one| one.name);
    assert_eq!(needed.collect::<Vec<_>>().join(" "), expect);
}

const DRONE: &str = "
kind: pipeline
type: vm
name: build
pool: {use: p}
steps:
- {name: test, commands: [x], environment: {A: {from_secret: a}}}
- {name: deploy, commands: [x], environment: {B: {from_secret: b}}, when: {branch: release/*}}
- {name: cry, commands: [x], environment: {C: {from_secret: c}}, when: {status: failure}}
---
kind: pipeline
type: vm
name: publish
pool: {use: p}
trigger: {event: tag}
steps:
- {name: push, commands: [x], environment: {D: {from_secret: d}}}
";

#[test]
fn what_drone_conditions_leave_out_needs_nothing() {
    check(DRONE, &[], "a c");
    check(DRONE, &["publish"], "");
    check(&DRONE.replace("event: tag", "event: [tag, push]"), &[], "a c d");
    check(&DRONE.replace("event: tag", "event: [tag, push]"), &["publish"], "d");
}

const STAGES: &str = r#"
pipeline:
  name: p
  variables:
    - {name: used, type: Secret, value: u}
    - {name: unused, type: Secret, value: v}
    - {name: set, type: String, value: "no"}
    - {name: mode, type: String, value: <+codebase.branch>}
    - {name: open, type: String, value: <+input>}
  stages:
    - stage:
        name: a
        type: CI
        spec: {execution: {steps: [STEPS]}}
    - stage:
        name: b
        type: CI
        when: {pipelineStatus: Success, condition: CONDITION}
        spec: {execution: {steps: [{step: {name: t, type: Run, spec: {command: <+secrets.getValue("t")> <+input>}}}]}}
"#;

/// A pipeline whose first stage has these steps, and whose second one has this condition.
fn stages(steps: &str, condition: &str) -> String {
    STAGES.replace("STEPS", steps).replace("CONDITION", condition)
}

#[test]
fn stages_that_are_not_asked_for_need_nothing() {
    let text = stages("{step: {name: s, type: Run, spec: {command: echo <+pipeline.variables.used>}}}", "'true'");
    let input = "pipeline.stages.b.spec.execution.steps.t.spec.command";
    check(&text, &[], &format!("u t pipeline.variables.open {input}"));
    check(&text, &["a"], "u");
    check(&text, &["b"], &format!("t {input}"));
}

#[test]
fn a_condition_that_facts_alone_make_false_needs_nothing_and_others_may_hold() {
    let step = "{step: {name: s, type: Run, spec: {command: x, outputVariables: [{name: x}]}}}";
    let needed = |condition: &str, expect: &str| check(&stages(step, condition), &["b"], expect);
    let all = "t pipeline.stages.b.spec.execution.steps.t.spec.command";
    for holds in
        ["<+codebase.branch> == \"main\"", "<+pipeline.variables.mode> == \"main\"", "<+trigger.type> == \"Manual\""]
    {
        needed(&format!("'{holds}'"), all);
    }
    for never in ["<+codebase.branch> == \"dev\"", "<+pipeline.variables.mode> == \"dev\"", "false"] {
        needed(&format!("'{never}'"), "");
    }
    // What the run itself decides, or the caller, may come out either way.
    for open in [
        "<+pipeline.stages.a.status> == \"FAILED\"",
        "<+pipeline.currentStatus> == \"FAILED\"",
        "<+pipeline.stages.a.spec.execution.steps.s.output.outputVariables.x> == \"y\"",
        "<+pipeline.variables.set> == \"yes\"",
        "<+codebase.branch> == \"dev\" || <+pipeline.executionId> == \"x\"",
    ] {
        needed(&format!("'{open}'"), all);
    }
}

#[test]
fn a_group_that_cannot_run_needs_nothing_but_its_number_of_runs() {
    let group = "{stepGroup: {name: g, when: {stageStatus: All, condition: '<+codebase.branch> == \"dev\"'}, strategy: {parallelism: <+input>},
        steps: [{step: {name: s, type: Run, spec: {command: <+secrets.getValue(\"s\")>}}}]}}";
    check(&stages(group, "'true'"), &["a"], "pipeline.stages.a.spec.execution.steps.g.strategy.parallelism");
}
