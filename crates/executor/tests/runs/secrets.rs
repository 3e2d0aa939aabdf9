//! Secrets: no event and no report shows one, whoever wrote the text.

use kiln_executor::Options;

use crate::rig::{Act, Scenario, stages, steps};

const KEY: &str = "s3cr3t/K3y+V=al";
const MASK: &str = "**************";

fn with_secrets(options: &mut Options) {
    let doc = "{\n\"foo\": [\n\"bar\"\n]\n}";
    options.secrets = [("doc", doc), ("pin", "42"), ("key", KEY)].map(|(k, v)| (k.into(), v.into())).into();
}

#[tokio::test]
async fn secrets_of_one_and_several_lines_are_masked_in_output_reports_and_what_later_steps_print() {
    let text = steps(
        r#"
        - step:
            name: use
            type: Run
            spec:
              shell: Bash
              envVariables: {DOC: <+secrets.getValue("doc")>, PIN: <+secrets.getValue("pin")>, KEY: <+secrets.getValue("key")>}
              command: |-
                echo "[{desc,\"Run suites\"},{vsn,\"0.12\"},{reg,[]}]"
                printf '%s\n' "$DOC"
                echo "line 42 of 420"
                echo -n "$KEY" | base64
                LEAK="got $KEY"
                mkdir -p r; printf '<testsuite><testcase name="t %s" classname="c %s"><failure message="token %s was bad">body %s</failure></testcase></testsuite>' "$KEY" "$KEY" "$KEY" "$KEY" > r/x.xml
              outputVariables: [{name: LEAK, type: String, value: LEAK}]
              reports: {type: JUnit, spec: {paths: ["r/*.xml"]}}
        - step: {name: later, type: Run, spec: {command: 'echo "again $GOT"; [ "$GOT" = "got s3cr3t/K3y+V=al" ]', envVariables: {GOT: <+execution.steps.use.output.outputVariables.LEAK>}}}
        "#,
    );
    let told = Scenario::new(&text).with(with_secrets).run().await;
    let printed =
        format!("[{{desc,\"Run suites\"}},{{vsn,\"0.12\"}},{{reg,[]}}]\n{MASK}\nline {MASK} of {MASK}0\n{MASK}\n");
    assert_eq!(told.output("a", "use"), printed);
    // The value went on, whole: the step compares it.
    assert_eq!(told.report.stages[0].steps[1].exit_code, Some(0));
    assert_eq!(told.output("a", "later"), format!("again got {MASK}\n"));
    let case = &told.report.stages[0].steps[0].tests.as_ref().expect("tests").cases[0];
    assert_eq!([&case.name, &case.class], [&format!("t {MASK}"), &format!("c {MASK}")]);
    assert_eq!(case.message, format!("token {MASK} was bad\nbody {MASK}"));
    assert!(!told.json().contains("s3cr3t"), "{}", told.json());
}

#[tokio::test]
async fn names_messages_and_notes_are_masked() {
    let text = steps(
        r#"
        - step: {name: deploys s3cr3t/K3y+V=al, identifier: d, type: Run, spec: {command: "true", reports: {type: JUnit, spec: {paths: ["s3cr3t/K3y+V=al.xml"]}}}}
        - step: {name: bad, type: Run, spec: {command: 'mkdir out; echo hi > "out/s3cr3t/K3y+V=al.xml" || echo hi > "out/token-s3cr3t.xml"; exit 1', reports: {type: JUnit, spec: {paths: ["out/*.xml"]}}}}
        "#,
    );
    let more = |options: &mut Options| {
        with_secrets(options);
        options.secrets.push(("part".into(), "token-s3cr3t".into()));
    };
    let told = Scenario::new(&text).with(more).run().await;
    let json = told.json();
    assert!(json.contains(&format!("deploys {MASK}")), "{json}");
    assert!(json.contains(&format!("no report matches {MASK}.xml")), "{json}");
    assert!(json.contains(&format!("out/{MASK}.xml:1: the report has no element: it is no XML")), "{json}");
    assert!(!json.contains("s3cr3t"), "{json}");
}

#[tokio::test]
async fn what_a_failed_step_wrote_down_as_secret_is_masked_in_its_own_report_and_in_earlier_ones() {
    let report =
        |word: &str| format!("echo '<testsuite><testcase name=\"{word}\"><failure/></testcase></testsuite>' > r.xml");
    let text = steps(&format!(
        r#"
        - step: {{name: first, type: Run, spec: {{command: '{}', reports: {{type: JUnit, spec: {{paths: [r.xml]}}}}}}}}
        - step: {{name: bad, type: Run, spec: {{command: '{}; echo T=made-here > $HARNESS_OUTPUT_SECRET_FILE; exit 1', reports: {{type: JUnit, spec: {{paths: [r.xml]}}}}}}}}
        "#,
        report("made-here").replace('\'', "''"),
        report("made-here").replace('\'', "''"),
    ));
    let told = Scenario::new(&text).run().await;
    // Nobody could know it when the first step ended: its case was told, and its report.
    assert_eq!(told.json().matches("made-here").count(), 2, "{}", told.json());
    let names =
        told.report.stages[0].steps.iter().map(|step| step.tests.as_ref().expect("tests").cases[0].name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), [MASK, MASK]);
}

/// The other stage's agent does not know the secret: it was made after its step began.
#[tokio::test]
async fn a_secret_that_one_stage_made_is_masked_in_the_output_of_another_wherever_it_is_cut() {
    let text = stages(
        r#"
        - parallel:
            - stage:
                name: a
                type: CI
                spec: {execution: {steps: [{step: {name: make, type: Run, spec: {command: 'until [ -e $DIR/begun ]; do sleep 0.02; done; S=made-in-the-step', outputVariables: [{name: S, type: Secret, value: S}]}}}]}}
            - stage:
                name: b
                type: CI
                spec: {execution: {steps: [{step: {name: print, type: Run, spec: {command: 'touch $DIR/begun; until [ -e $DIR/go ]; do sleep 0.02; done; printf "it is made-in"; sleep 0.2; echo -the-step'}}}]}}
        "#,
    );
    let told = Scenario::new(&text).when("a.make passed", Act::Touch("go")).run().await;
    assert_eq!(told.output("b", "print"), format!("it is {MASK}\n"));
}
