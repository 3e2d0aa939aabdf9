//! Runs of strategies: what they and their steps are called.

use kiln_wire::run::Status;

use crate::rig::{Scenario, stages, steps};

#[tokio::test]
async fn names_show_their_values_and_ids_the_position_on_each_axis() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            strategy: {matrix: {os: [x], n: ["1.0", "2 b"], maxConcurrency: 1}}
            when: {pipelineStatus: All, condition: <+matrix.n> != "2 b"}
            spec:
              execution:
                steps:
                  - step: {name: show <+matrix.os>, identifier: show, type: Run, spec: {command: "true"}}
                  - step:
                      name: inner
                      type: Run
                      strategy: {matrix: {v: ["<+stage.matrix.n>-x"]}}
                      spec: {command: 'echo <+matrix.v> <+matrix.os> <+strategy.identifierPostFix>'}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let names: Vec<(&str, &str)> =
        told.report.stages.iter().map(|stage| (stage.id.as_str(), stage.name.as_str())).collect();
    assert_eq!(names, [("a_0_0", "a (os=x, n=1.0)"), ("a_0_1", "a (os=x, n=2 b)")]);
    let ran = &told.report.stages[0].steps;
    let names: Vec<(&str, &str)> = ran.iter().map(|step| (step.id.as_str(), step.name.as_str())).collect();
    assert_eq!(names, [("show", "show x"), ("inner_0", "inner (v=1.0-x)")]);
    assert_eq!(told.output("a_0_0", "inner_0"), "1.0-x x _0\n");
}

#[tokio::test]
async fn a_node_name_is_what_a_run_is_called() {
    let text = steps(
        r#"
        - step:
            name: s
            type: Run
            strategy: {matrix: {v: ["1.0", "2"], nodeName: v<+matrix.v>, maxConcurrency: 1}}
            spec: {command: "true"}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let ran = &told.report.stages[0].steps;
    let names: Vec<(&str, &str)> = ran.iter().map(|step| (step.id.as_str(), step.name.as_str())).collect();
    assert_eq!(names, [("s_v1_0", "s (v1.0)"), ("s_v2", "s (v2)")]);
}

#[tokio::test]
async fn a_step_that_could_not_be_started_for_its_environment_ends_its_stage_before_it_has_an_instance() {
    let text = steps(
        "- step: {name: s, type: Run, spec: {command: \"true\", envVariables: {V: <+secrets.getValue(\"big\")>}}}",
    );
    let told =
        Scenario::new(&text).with(|options| options.secrets.push(("big".into(), "x".repeat(200_000)))).run().await;
    let stage = &told.report.stages[0];
    let message = stage.message.as_deref().unwrap_or_default();
    assert!(
        message.contains("the step s cannot be started: the environment variable `V` has 200002 bytes"),
        "{message}"
    );
    assert!(told.calls.is_empty(), "{:?}", told.calls);
}

#[tokio::test]
async fn runs_that_wait_are_skipped_after_a_failure_where_the_strategy_says_so() {
    let strategy = |on_failure: &str| {
        format!("strategy: {{repeat: {{items: [x, y, z], maxConcurrency: 1}}, onFailure: {on_failure}}}")
    };
    let of_step = |on_failure: &str| {
        steps(&format!(
            "- step:\n    name: s\n    type: Run\n    {}\n    spec: {{command: '[ <+repeat.item> = x ]'}}\n",
            strategy(on_failure)
        ))
    };
    let of_group = |on_failure: &str| {
        steps(&format!(
            "- stepGroup:\n    name: s\n    {}\n    steps: [{{step: {{name: t, type: Run, spec: {{command: '[ <+repeat.item> = x ]'}}}}}}]\n",
            strategy(on_failure)
        ))
    };
    let of_stage = |on_failure: &str| {
        stages(&format!(
            "- stage:\n    name: s\n    type: CI\n    {}\n    spec: {{execution: {{steps: [{{step: {{name: t, type: Run, spec: {{command: '[ <+repeat.item> = x ]'}}}}}}]}}}}\n",
            strategy(on_failure)
        ))
    };
    let why = "another run of its strategy failed";
    for (on_failure, last) in
        [("SkipQueued", (Status::Skipped, Some(why))), ("RunAll", (Status::Failed, Some("exit code 1")))]
    {
        for text in [of_step(on_failure), of_group(on_failure)] {
            let told = Scenario::new(&text).run().await;
            let ends: Vec<_> =
                told.report.stages[0].steps.iter().map(|step| (step.status, step.message.as_deref())).collect();
            assert_eq!(ends, [(Status::Passed, None), (Status::Failed, Some("exit code 1")), last], "{text}");
        }
        let told = Scenario::new(&of_stage(on_failure)).run().await;
        let ends: Vec<_> = told.report.stages.iter().map(|stage| (stage.id.as_str(), stage.status)).collect();
        assert_eq!(ends, [("s_0", Status::Passed), ("s_1", Status::Failed), ("s_2", last.0)], "{on_failure}");
    }
}

#[tokio::test]
async fn steps_see_the_part_that_their_run_is_for_and_how_the_others_went() {
    let text = steps(
        r#"
        - stepGroup:
            name: g
            strategy: {repeat: {items: [x, y, z], partitionSize: 2, maxConcurrency: 1}}
            steps:
              - step:
                  name: s
                  type: Run
                  strategy: {repeat: {items: <+repeat.partition>, maxConcurrency: 1}}
                  spec: {command: 'echo <+repeat.item> <+strategy.node.g.iteration> <+stepGroup.identifierPostFix> <+strategy.currentStatus>; [ <+repeat.item> != x ]'}
                  failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: MarkAsFailure}}}]
                  when: {stageStatus: All}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let output = |step: &str| told.output("a", step);
    assert_eq!(output("g_0.s_0"), "x 0 _0 RUNNING\n");
    assert_eq!(output("g_0.s_1"), "y 0 _0 FAILED\n");
    assert_eq!(output("g_1.s_0"), "z 1 _1 RUNNING\n");
}
