//! Values that steps leave for others, secret ones, and text that is no value.

use crate::rig::{Act, Scenario, stages, steps};

#[tokio::test]
async fn outputs_reach_later_steps_and_stages() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            spec:
              execution:
                steps:
                  - stepGroup:
                      name: g
                      steps:
                        - step: {name: make, type: Run, spec: {command: W=w, outputVariables: [{name: W, type: String, value: W}]}}
                  - step: {name: use, type: Run, spec: {command: 'echo "$GOT"', envVariables: {GOT: <+execution.steps.g.steps.make.output.outputVariables.W>}}}
        - stage:
            name: b
            type: CI
            spec:
              execution:
                steps:
                  - step: {name: use, type: Run, spec: {command: 'echo "$GOT"', envVariables: {GOT: <+pipeline.stages.a.spec.execution.steps.g.steps.make.output.outputVariables.W>}}}
        "#,
    );
    Scenario::new(&text).run().await.check(
        "
        run p
        a started
        a ready
        a.g.make started
        a.g.make passed
        a.use started
        a.use | w
        a.use passed
        a passed
        b started
        b ready
        b.use started
        b.use | w
        b.use passed
        b passed
        run passed
        ",
    );
}

#[tokio::test]
async fn a_value_with_an_expression_in_it_stays_text() {
    let text = steps(
        r#"
        - step: {name: make, type: Run, spec: {command: "V=$(printf '\\074+pipeline.name> $(id) \"q\"')", outputVariables: [{name: V, type: String, value: V}]}}
        - step: {name: use, type: Run, spec: {command: 'echo "$GOT"', envVariables: {GOT: <+execution.steps.make.output.outputVariables.V>}}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    assert_eq!(told.output("a", "use"), "<+pipeline.name> $(id) \"q\"\n");
}

#[tokio::test]
async fn a_step_that_needs_a_value_which_was_not_left_fails_and_says_which() {
    let text = steps(
        r#"
        - step: {name: make, type: Run, spec: {command: exit 1, outputVariables: [{name: V, type: String, value: V}]}, failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Ignore}}}]}
        - step: {name: use, type: Run, spec: {command: 'echo <+execution.steps.make.output.outputVariables.V>'}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let used = &told.report.stages[0].steps[1];
    let message = used.message.as_deref().unwrap_or_default();
    assert!(message.contains("`command` has no value") && message.contains('V'), "{message}");
    assert_eq!(used.cause, Some(kiln_wire::run::Cause::Plan));
}

#[tokio::test]
async fn no_secret_is_told_neither_a_given_one_nor_one_that_a_step_made() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            spec:
              execution:
                steps:
                  - step: {name: given, type: Run, spec: {command: 'echo "<+secrets.getValue("token")>"; exit 1'}, failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Ignore}}}]}
                  - step: {name: make, type: Run, spec: {command: 'S=made-in-the-step', outputVariables: [{name: S, type: Secret, value: S}]}}
                  - step: {name: use, type: Run, spec: {command: 'echo "it is $GOT"; [ "$GOT" = made-in-the-step ]', envVariables: {GOT: <+execution.steps.make.output.outputVariables.S>}}}
        - stage:
            name: b
            type: CI
            spec: {execution: {steps: [{step: {name: use, type: Run, spec: {command: 'echo "still $GOT"', envVariables: {GOT: <+pipeline.stages.a.spec.execution.steps.make.output.outputVariables.S>}}}}]}}
        "#,
    );
    let told = Scenario::new(&text)
        .with(|options| options.secrets = vec![("token".into(), "given-from-outside".into())])
        .run()
        .await;
    told.check(
        "
        run p
        a started
        a ready
        a.given started
        a.given | **************
        a.given ignored (ExitCode 1): exit code 1
        a.make started
        a.make passed
        a.use started
        a.use | it is **************
        a.use passed
        a passed
        b started
        b ready
        b.use started
        b.use | still **************
        b.use passed
        b passed
        run passed
        ",
    );
    for secret in ["given-from-outside", "made-in-the-step"] {
        assert!(!told.json().contains(secret), "{}", told.json());
    }
}

#[tokio::test]
async fn characters_are_told_whole_wherever_the_output_is_cut() {
    // The second half of a character is printed when what stands before its first half has arrived.
    let text = steps(
        r#"
        - step:
            name: s
            type: Run
            spec:
              command: |-
                after() { until [ -e $DIR/$1 ]; do sleep 0.02; done; }
                printf 'one\n\303'
                after one; printf '\244 two\n\342\202'
                after two; printf '\254 three\n\360\237\230'
                after three; printf '\200\377!'
        "#,
    );
    let scenario = Scenario::new(&text)
        .when("a.s | one", Act::Touch("one"))
        .when("a.s | ä two", Act::Touch("two"))
        .when("a.s | € three", Act::Touch("three"));
    let told = scenario.run().await;
    assert_eq!(told.output("a", "s"), "one\nä two\n€ three\n😀\u{fffd}!");
}

#[tokio::test]
async fn the_nearer_of_two_variables_is_taken_and_the_callers_before_both() {
    let text = steps(
        r#"
        - step: {name: s, type: Run, spec: {command: 'echo $A $B $HARNESS_STAGE_ID $CI', envVariables: {A: step, B: step, CI: mine}}}
        "#,
    );
    let told = Scenario::new(&text).with(|options| options.env = vec![("A".into(), "caller".into())]).run().await;
    assert_eq!(told.output("a", "s"), "caller step a mine\n");
}

#[tokio::test]
async fn iterations_know_their_number_and_their_values() {
    let text = stages(
        r#"
        - stage:
            name: a
            type: CI
            strategy: {matrix: {os: [x, y]}}
            spec:
              execution:
                steps:
                  - step:
                      name: s
                      type: Run
                      strategy: {repeat: {items: [p, q], maxConcurrency: 1}}
                      spec: {command: 'echo <+matrix.os> <+repeat.item> $HARNESS_STAGE_INDEX of $HARNESS_STAGE_TOTAL'}
                  - step:
                      name: e
                      type: Run
                      strategy: {parallelism: 3}
                      spec: {command: 'echo $HARNESS_STEP_INDEX of $HARNESS_STEP_TOTAL, $HARNESS_NODE_INDEX of $HARNESS_NODE_TOTAL'}
                  - step:
                      name: f
                      type: Run
                      spec: {command: 'echo $HARNESS_STEP_INDEX of $HARNESS_STEP_TOTAL, $HARNESS_NODE_INDEX of $HARNESS_NODE_TOTAL'}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let said =
        [("a_0", "s_0"), ("a_0", "s_1"), ("a_1", "s_0"), ("a_1", "s_1")].map(|(stage, step)| told.output(stage, step));
    assert_eq!(said, ["x p 0 of 2\n", "x q 0 of 2\n", "y p 1 of 2\n", "y q 1 of 2\n"]);
    // Whoever splits work looks at the innermost loop around a step.
    assert_eq!(told.output("a_1", "e_2"), "2 of 3, 2 of 3\n");
    assert_eq!(told.output("a_1", "f"), "0 of 1, 1 of 2\n");
    let names: Vec<&str> = told.report.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert!(names.contains(&"a (os=x)") && names.contains(&"a (os=y)"), "{names:?}");
}
