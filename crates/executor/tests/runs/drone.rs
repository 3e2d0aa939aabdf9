//! What Drone files mean while they run: the state of the build, ends before the end, variables, what is shown.

use kiln_pipeline::facts::Facts;
use kiln_wire::run::{Cause, Status};

use crate::rig::{Act, Scenario, Told, steps};

/// A pipeline of these steps, as items of a YAML list.
fn pipeline(name: &str, keys: &str, steps: &str) -> String {
    format!("kind: pipeline\ntype: vm\nname: {name}\nclone: {{disable: true}}\n{keys}steps:\n{}\n", steps.trim())
}

/// The lines that a step printed, without those that show its commands.
fn said(told: &Told, stage: &str, step: &str) -> Vec<String> {
    let text = told.output(stage, step);
    text.lines().filter(|line| !line.starts_with("+ ")).map(str::to_owned).collect()
}

/// `until [ -e file ]` for a file of the test's folder.
fn wait(file: &str) -> String {
    format!("until [ -e $DIR/{file} ]; do sleep 0.02; done")
}

#[tokio::test]
async fn an_exit_code_of_78_ends_a_pipeline_well_and_skips_the_rest() {
    let text = pipeline(
        "a",
        "",
        r#"
- {name: first, commands: ["true"]}
- {name: enough, commands: [exit 78]}
- {name: more, commands: [echo never]}
- {name: always, commands: [echo never], when: {status: [success, failure]}}
- {name: mend, commands: [echo never], when: {status: [failure]}}
"#,
    ) + "---\n"
        + &pipeline("b", "depends_on: [a]\n", r#"- {name: one, commands: ["echo $DRONE_BUILD_STATUS"]}"#);
    let told = Scenario::new(&text).run().await;
    told.check_by_part(
        "
        a started
        a ready
        a passed
        a.always skipped: the step enough ended the pipeline early, and well
        a.enough started
        a.enough passed: exit code 78 ends the pipeline, and what has not begun is skipped
        a.first started
        a.first passed
        a.mend skipped: the step enough ended the pipeline early, and well
        a.more skipped: the step enough ended the pipeline early, and well
        b started
        b ready
        b passed
        b.one started
        b.one | success
        b.one passed
        run a
        run passed
        ",
    );
    assert_eq!(told.report.stages[0].steps[1].exit_code, Some(78));
}

/// What runs already goes on, and its failure counts.
#[tokio::test]
async fn an_exit_code_of_78_leaves_running_steps_alone() {
    let text = pipeline(
        "a",
        "",
        &format!(
            r#"
- {{name: root, commands: ["true"]}}
- {{name: enough, commands: [exit 78], depends_on: [root]}}
- {{name: beside, commands: ["{}", exit 3], depends_on: [root]}}
- {{name: after, commands: ["true"], depends_on: [beside]}}
"#,
            wait("go")
        ),
    );
    Scenario::new(&text).when("a.enough passed", Act::Touch("go")).run().await.check_by_part(
        "
        a started
        a ready
        a failed
        a.after skipped: the step enough ended the pipeline early, and well
        a.beside started
        a.beside failed (ExitCode 3): exit code 3
        a.enough started
        a.enough passed: exit code 78 ends the pipeline, and what has not begun is skipped
        a.root started
        a.root passed
        run a
        run failed
        ",
    );
}

#[tokio::test]
async fn only_drone_takes_78_for_well() {
    let text = steps(r#"- step: {name: bad, type: Run, spec: {command: exit 78}}"#);
    let told = Scenario::new(&text).run().await;
    assert_eq!(told.report.status, Status::Failed);
}

#[tokio::test]
async fn the_status_of_a_step_is_that_of_the_whole_pipeline() {
    let text = pipeline(
        "p",
        "",
        &format!(
            r#"
- {{name: root, commands: ["true"]}}
- {{name: a, commands: [exit 1], depends_on: [root]}}
- {{name: b, commands: ["{}"], depends_on: [root]}}
- {{name: c, commands: [echo never], depends_on: [b]}}
- {{name: e, commands: ["echo $DRONE_FAILED_STEPS"], depends_on: [c], when: {{status: [failure]}}}}
"#,
            wait("go")
        ),
    );
    Scenario::new(&text).when("p.a failed", Act::Touch("go")).run().await.check_by_part(
        "
        p started
        p ready
        p failed
        p.a started
        p.a failed (ExitCode 1): exit code 1
        p.b started
        p.b passed
        p.c skipped: something before it failed
        p.e started
        p.e | a
        p.e passed
        p.root started
        p.root passed
        run p
        run failed
        ",
    );
}

#[tokio::test]
async fn the_status_of_a_pipeline_is_that_of_the_whole_build() {
    let one = r#"- {name: s, commands: ["true"]}"#;
    let text = [
        pipeline("a", "", "- {name: s, commands: [exit 1]}"),
        pipeline("b", "", &format!("- {{name: s, commands: ['{}']}}", wait("go"))),
        pipeline("c", "depends_on: [b]\n", one),
        pipeline("d", "depends_on: [c]\ntrigger: {status: [failure]}\n", one),
        pipeline("e", "depends_on: [b]\ntrigger: {status: [success, failure]}\n", one),
    ]
    .join("---\n");
    Scenario::new(&text).when("a failed", Act::Touch("go")).run().await.check_by_part(
        "
        a started
        a ready
        a failed
        a.s started
        a.s failed (ExitCode 1): exit code 1
        b started
        b ready
        b passed
        b.s started
        b.s passed
        c skipped: something before it failed
        d started
        d ready
        d passed
        d.s started
        d.s passed
        e started
        e ready
        e passed
        e.s started
        e.s passed
        run a
        run failed
        ",
    );
}

#[tokio::test]
async fn later_pipelines_and_steps_are_told_what_failed() {
    let text = [
        pipeline("build", "", "- {name: b, commands: [exit 3]}"),
        pipeline("other", "", &format!("- {{name: o, commands: ['{}']}}", wait("go"))),
        pipeline("after-other", "depends_on: [other]\n", "- {name: ao, commands: [echo never]}"),
        pipeline(
            "notify",
            "depends_on: [build, other]\ntrigger: {status: [failure]}\n",
            "- {name: n, commands: ['echo $DRONE_BUILD_STATUS $DRONE_STAGE_STATUS $DRONE_FAILED_STAGES', 'echo ${DRONE_BUILD_STATUS} ${CI_BUILD_STATUS} ${DRONE_FAILED_STAGES}']}",
        ),
        pipeline(
            "both",
            "depends_on: [notify]\ntrigger: {status: [success, failure]}\n",
            r#"
- {name: bad, commands: [exit 1]}
- {name: cleanup, commands: ['echo $DRONE_STAGE_STATUS ${DRONE_STAGE_STATUS} ${DRONE_FAILED_STEPS} $DRONE_FAILED_STAGES'], when: {status: [success, failure]}}
- {name: onlyok, commands: [echo never]}
"#,
        ),
    ]
    .join("---\n");
    let told = Scenario::new(&text).when("build failed", Act::Touch("go")).run().await;
    assert_eq!(said(&told, "notify", "n"), ["failure failure build", "failure failure build"]);
    assert_eq!(said(&told, "both", "cleanup"), ["failure failure bad build"]);
    let status = |id: &str| told.report.stages.iter().find(|stage| stage.id == id).map(|stage| stage.status);
    assert_eq!(status("after-other"), Some(Status::Skipped));
    assert_eq!(status("both"), Some(Status::Failed));
}

#[tokio::test]
async fn a_failure_that_is_fast_cancels_the_pipeline_at_once() {
    for word in ["fast", "fast-fail", "fail-fast"] {
        let text = pipeline(
            "p",
            "",
            &format!(
                r#"
- {{name: root, commands: ["true"]}}
- {{name: slow, commands: ["touch $DIR/go", sleep 60], depends_on: [root]}}
- {{name: bad, commands: ["{}", exit 1], depends_on: [root], failure: {word}}}
- {{name: later, commands: [echo never], depends_on: [slow]}}
- {{name: always, commands: [echo never], depends_on: [bad], when: {{status: [success, failure]}}}}
"#,
                wait("go")
            ),
        ) + "---\n"
            + &pipeline("q", "depends_on: [p]\ntrigger: {status: [failure]}\n", r#"- {name: one, commands: ["true"]}"#);
        let told = Scenario::new(&text).run().await;
        told.check_by_part(
            "
            p started
            p ready
            p failed: the failure of the step bad ended the pipeline
            p.always cancelled (Cancelled): the failure of the step bad ended the pipeline before its turn
            p.bad started
            p.bad failed (ExitCode 1): exit code 1
            p.later cancelled (Cancelled): the failure of the step bad ended the pipeline before its turn
            p.root started
            p.root passed
            p.slow started
            p.slow cancelled (Cancelled 255): the failure of the step bad ended the pipeline
            q started
            q ready
            q passed
            q.one started
            q.one passed
            run p
            run failed
            ",
        );
    }
}

#[tokio::test]
async fn variables_in_path_are_expanded_and_in_no_other_variable() {
    let text = pipeline(
        "p",
        "environment: {OTHER: '$PATH:/opt/x'}\n",
        r#"
- name: sh
  environment: {PATH: "$PATH:/opt/it's:$${HOME}/bin:$(id)"}
  commands: ["echo $PATH", "echo $OTHER", "ls / > $DIR/out"]
- name: python
  shell: python
  environment: {PATH: "/opt/first:$PATH"}
  commands: ["import os, subprocess", "print(os.environ['PATH'].split(':')[0], len(os.environ['PATH']) > 20)", "subprocess.run(['true'], check=True)"]
- name: plain
  environment: {PATH: "/usr/bin:/bin"}
  commands: ["echo $PATH"]
"#,
    );
    let told = Scenario::new(&text).run().await;
    assert_eq!(told.report.status, Status::Passed, "{}", told.json());
    let sh = said(&told, "p", "sh");
    let path = std::env::var("HOME").map(|home| format!(":/opt/it's:{home}/bin:$(id)")).unwrap();
    assert!(sh[0].starts_with('/') && sh[0].ends_with(&path), "{sh:?} {path}");
    assert_eq!(sh[1], "$PATH:/opt/x");
    assert_eq!(said(&told, "p", "python"), ["/opt/first True"]);
    assert_eq!(said(&told, "p", "plain"), ["/usr/bin:/bin"]);
}

#[tokio::test]
async fn an_empty_variable_is_set() {
    let show = r#"echo "${EMPTY-missing}${NOTHING-missing}${ALL-missing}.""#;
    let drone = pipeline(
        "a",
        "environment: {ALL: ''}\n",
        &format!("- {{name: s, environment: {{EMPTY: '', NOTHING: }}, commands: ['{}']}}", show.replace('$', "$$")),
    );
    let harness = format!(
        "pipeline:\n  name: p\n  stages:\n  - stage:\n      name: a\n      type: CI\n      variables: [{{name: ALL, type: String, value: ''}}]\n      spec: {{execution: {{steps: [{{step: {{name: s, type: Run, spec: {{envVariables: {{EMPTY: '', NOTHING: ''}}, command: '{show}'}}}}}}]}}}}\n"
    );
    for text in [drone, harness] {
        let told = Scenario::new(&text).run().await;
        assert_eq!(said(&told, "a", "s"), ["."], "{text}");
    }
}

#[tokio::test]
async fn commands_are_shown_with_what_was_replaced_in_them() {
    let text = pipeline(
        "p",
        "",
        r#"
- name: s
  commands:
  - echo 'it' ${DRONE_BRANCH/\//-} $${HOME:+home} "${NONE:-it's}"
  - |
    echo ${DRONE_COMMIT_MESSAGE}
"#,
    );
    let facts = Facts::default().with("branch", "feature/x").with("message", "Subject\n\nwhy \"so\"");
    let told = Scenario::new(&text).with(|options| options.facts = facts).run().await;
    let text = told.output("p", "s");
    let expected = r#"
+ echo 'it' feature-x ${HOME:+home} "it's"
it feature-x home it's
+ echo "Subject\n\nwhy \"so\""
"#;
    assert!(text.starts_with(expected.trim_start()), "{text}");
}

#[tokio::test]
async fn of_two_merge_keys_the_later_one_counts_and_of_a_list_the_first() {
    for (merge, shared) in [("<<: *a\n    <<: *b", "from-b"), ("<<: [*a, *b]", "from-a")] {
        let text = format!(
            "kind: pipeline\ntype: exec\nname: p\nclone: {{disable: true}}\ncommon:\n- &a {{ALPHA: one, SHARED: from-a}}\n- &b {{BETA: two, SHARED: from-b}}\nsteps:\n- name: s\n  environment:\n    {merge}\n    OWN: three\n  commands: ['echo $ALPHA $BETA $OWN $SHARED']\n"
        );
        let told = Scenario::new(&text).run().await;
        assert_eq!(said(&told, "p", "s"), [format!("one two three {shared}")]);
    }
}

#[tokio::test]
async fn a_step_has_the_variables_of_drone() {
    let text = pipeline("p", "platform: {variant: v8}\n", "- {name: s, commands: [env]}")
        .replace("{disable: true}", "{disable: true, skip_verify: true}");
    let facts = Facts::default()
        .with("author", "Ann")
        .with("author_email", "ann@example.org")
        .with("commit", "abc")
        .with("message", "Subject\n\nBody");
    let told = Scenario::new(&text).with(|options| options.facts = facts).run().await;
    let lines = said(&told, "p", "s");
    for wanted in [
        "GIT_AUTHOR_NAME=Ann",
        "GIT_COMMITTER_EMAIL=ann@example.org",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_SSL_NO_VERIFY=true",
        "CI_COMMIT_SHA=abc",
        "CI_BUILD_STATUS=success",
        "DRONE_COMMIT_MESSAGE=Subject",
        "Body",
        "DRONE_DEPLOY_TO=",
        "DRONE_REPO_SCM=git",
        "DRONE_STAGE_VARIANT=v8",
        "DRONE_STEP_NAME=s",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:#?}");
    }
    for name in ["DRONE_BUILD_STARTED", "DRONE_BUILD_FINISHED", "DRONE_STAGE_STARTED", "DRONE_STAGE_FINISHED"] {
        let value = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
        assert!(value.parse::<u64>().is_ok_and(|time| time > 1_600_000_000), "{name}: {value}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("GIT_TRACE")));
}

#[tokio::test]
async fn a_background_step_and_a_signal_are_no_early_end() {
    let text = pipeline("p", "", "- {name: s, commands: ['kill -9 $$$$']}\n- {name: t, commands: [echo never]}");
    let told = Scenario::new(&text).run().await;
    let step = &told.report.stages[0].steps[0];
    assert_eq!((step.status, step.cause), (Status::Failed, Some(Cause::Signal)));
    assert_eq!(told.report.status, Status::Failed);
}

/// As Drone's runners find them; a Harness file names its secrets to the letter.
#[tokio::test]
async fn a_secret_is_found_whatever_the_case_of_its_name() {
    let text = pipeline(
        "a",
        "",
        r#"- {name: use, commands: ['echo "${#TOKEN} letters"'], environment: {TOKEN: {from_secret: CODECOV_TOKEN}}}"#,
    )
    .replace("${#TOKEN}", "$${#TOKEN}");
    let given = |options: &mut kiln_executor::Options| options.secrets = vec![("codecov_token".into(), "12345".into())];
    let told = Scenario::new(&text).with(given).run().await;
    assert_eq!(said(&told, "a", "use"), ["5 letters"]);
}
