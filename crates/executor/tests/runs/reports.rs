//! Test reports, and instances that are kept for a look.

use std::time::Duration;

use kiln_wire::run::{Event, TestResult};

use crate::rig::{Act, Scenario, steps};

const JUNIT: &str = r#"<testsuite>
<testcase classname="C" name="good" time="0.25"/>
<testcase classname="C" name="bad"><failure message="not s3cret-word"/></testcase>
<testcase classname="C" name="off"><skipped/></testcase>
</testsuite>"#;

fn with_reports(command: &str) -> Scenario {
    let text = steps(&format!(
        r#"
        - step: {{name: t, type: Run, spec: {{command: '{command}', reports: {{type: JUnit, spec: {{paths: ["out/*.xml"]}}}}}}}}
        "#
    ));
    let scenario = Scenario::new(&text.replace("execution:", "cloneCodebase: true\n          execution:"));
    scenario.file("junit.xml", JUNIT).with(|options| options.secrets = vec![("s".into(), "s3cret-word".into())])
}

#[tokio::test]
async fn reports_are_counted_case_by_case_also_of_a_step_that_failed() {
    let told = with_reports("mkdir out; cp junit.xml out/a.xml; cp junit.xml out/b.xml; exit 1").run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.t started
        a.t failed (ExitCode 1): exit code 1 [6 tests = 2 + 2 + 0 + 2]
        a failed
        run failed
        ",
    );
    let tests = told.report.stages[0].steps[0].tests.as_ref().unwrap();
    let names: Vec<&str> = tests.cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["good", "bad", "off", "good", "bad", "off"]);
    assert_eq!(
        (tests.cases[0].duration, tests.cases[2].result),
        (Some(Duration::from_millis(250)), TestResult::Skipped)
    );
    assert_eq!(tests.cases[1].message, "not **************");
    assert!(!told.json().contains("s3cret-word"));
}

#[tokio::test]
async fn what_is_no_report_is_told_and_fails_nothing() {
    with_reports("mkdir out; cp junit.xml out/a.xml; echo hi > out/b.xml").run().await.check(
        "
        run p
        a started
        a ready
        a.t started
        a note: out/b.xml:1: the report has no element: it is no XML
        a.t passed [3 tests = 1 + 1 + 0 + 1]
        a passed
        run passed
        ",
    );
    with_reports("true").run().await.check(
        "
        run p
        a started
        a ready
        a.t started
        a note: no report matches out/*.xml
        a.t passed
        a passed
        run passed
        ",
    );
}

/// All cases that a run told of a step, attempt by attempt.
fn told_cases(events: &[Event]) -> Vec<(u32, String)> {
    let cases = events.iter().filter_map(|event| match event {
        Event::TestCases { attempt, cases, .. } => Some(cases.iter().map(|case| (*attempt, case.name.clone()))),
        _ => None,
    });
    cases.flatten().collect()
}

#[tokio::test]
async fn every_case_is_told_also_those_for_which_a_report_has_no_room() {
    let command = r#"mkdir out; { echo "<testsuite>"; for i in $(seq 1700); do echo "<testcase name=\"t$i\"/>"; done; echo "</testsuite>"; } >out/a.xml"#;
    let told = with_reports(&command.replace('\'', "")).run().await;
    let tests = told.report.stages[0].steps[0].tests.as_ref().unwrap();
    assert_eq!((tests.total, tests.cases.len(), tests.cases_left_out), (1700, 1000, 700));
    let cases = told_cases(&told.events);
    assert_eq!(cases.len(), 1700);
    assert!(cases.iter().enumerate().all(|(n, case)| *case == (1, format!("t{}", n + 1))), "{:?}", cases.last());
}

#[tokio::test]
async fn a_report_that_cannot_be_read_is_in_the_report_of_its_step() {
    let told = with_reports("mkdir out; head -3 junit.xml > out/a.xml; echo hi > out/s3cret-word.xml").run().await;
    let tests = told.report.stages[0].steps[0].tests.as_ref().unwrap();
    let problems: Vec<(&str, Option<u64>)> =
        tests.problems.iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    assert_eq!(problems, [("out/a.xml", Some(1)), ("out/**************.xml", Some(1))]);
    assert!(tests.problems[0].message.ends_with("; the 2 tests before that are counted"), "{:?}", tests.problems);
    assert_eq!((tests.total, tests.failed), (2, 1));
    assert!(!told.json().contains("s3cret-word"));
}

#[tokio::test]
async fn reports_that_are_too_large_are_told_with_the_limit() {
    let command = "mkdir out; for i in 1 2 3 4 5 6 7 8; do truncate -s 70M out/$i.xml; done; cp junit.xml out/0.xml";
    let told = with_reports(command).run().await;
    let tests = told.report.stages[0].steps[0].tests.as_ref().unwrap();
    let problems: Vec<(&str, &str)> =
        tests.problems.iter().map(|problem| (problem.file.as_str(), problem.message.as_str())).collect();
    assert_eq!(
        problems,
        [
            ("out/1.xml", "the report has more than 64 MiB, and the rest is not read"),
            ("out/2.xml", "the reports have more than 128 MiB; this one and those after it are not read"),
        ]
    );
    assert_eq!(tests.total, 3);
}

#[tokio::test]
async fn the_name_of_a_report_makes_no_line_of_its_own() {
    let told = with_reports(r#"mkdir out; echo hi > "$(printf "out/a\nb.xml")""#).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.t started
        a note: out/a b.xml:1: the report has no element: it is no XML
        a.t passed [0 tests = 0 + 0 + 0 + 0]
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn a_case_that_passes_when_its_step_runs_again_is_flaky() {
    let text = steps(
        r#"
        - step:
            name: t
            type: Run
            failureStrategies:
              - onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 1, retryIntervals: [1s], onRetryFailure: {action: {type: MarkAsFailure}}}}}
            spec:
              command: |
                mkdir -p out
                if [ -e again ]; then verdict=; else verdict='<failure/>'; fi
                echo "<testsuite><testcase name='a'>$verdict</testcase><testcase name='b'/></testsuite>" >out/a.xml
                [ -e again ] || { touch again; exit 1; }
              reports: {type: JUnit, spec: {paths: ["out/*.xml"]}}
        "#,
    );
    let told = Scenario::new(&text).run().await;
    let step = &told.report.stages[0].steps[0];
    let tests = step.tests.as_ref().unwrap();
    assert_eq!((step.attempts, tests.total, tests.passed, tests.flaky), (2, 2, 2, 1));
    let flaky: Vec<&str> = tests.cases.iter().filter(|case| case.flaky).map(|case| case.name.as_str()).collect();
    assert_eq!(flaky, ["a"]);
    let names = |attempt| ["a", "b"].map(|name| (attempt, name.to_owned()));
    assert_eq!(told_cases(&told.events), [names(1), names(2)].concat());
}

#[tokio::test]
async fn results_of_visual_studio_are_read_too() {
    let trx = r#"<TestRun><Results><UnitTestResult testId="1" testName="T" outcome="Failed"/></Results></TestRun>"#;
    let told = with_reports("mkdir out; cp a.trx out/a.xml").file("a.trx", trx).run().await;
    assert_eq!(told.report.stages[0].steps[0].tests.as_ref().map(|tests| (tests.total, tests.failed)), Some((1, 1)));
}

const BAD: &str = "- step: {name: bad, type: Run, spec: {command: exit 1}}";

#[tokio::test]
async fn a_failed_stages_instance_is_kept_for_its_time_and_then_released() {
    let keep = |options: &mut kiln_executor::Options| options.keep_on_failure = Some(Duration::from_millis(50));
    let told = Scenario::new(&steps(BAD)).with(keep).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a keeps vm-a
        a failed
        run failed
        ",
    );
    assert_eq!(told.calls, ["acquire a", "release a"]);
    assert!(
        told.events.iter().any(|e| matches!(e, Event::InstanceKept { duration, .. } if duration.as_millis() == 50))
    );
    let fine = Scenario::new(&steps(&BAD.replace("exit 1", "exit 0"))).with(keep).run().await;
    assert!(!fine.events.iter().any(|event| matches!(event, Event::InstanceKept { .. })));
}

#[tokio::test]
async fn an_instance_is_kept_until_the_run_is_cancelled_or_it_ends_by_itself() {
    let hour = |options: &mut kiln_executor::Options| options.keep_on_failure = Some(Duration::from_secs(3600));
    let begin = "
        run p
        a started
        a ready
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a keeps vm-a
        ";
    let told = Scenario::new(&steps(BAD)).with(hour).when("a keeps", Act::Cancel).run().await;
    told.check(&format!("{begin}a failed\n        run cancelled"));
    let told = Scenario::new(&steps(BAD)).with(hour).when("a keeps", Act::End("a", "powered off")).run().await;
    told.check(&format!("{begin}a note: the kept instance ended: powered off\n        a failed\n        run failed"));
}

#[tokio::test]
async fn the_instance_of_a_stage_whose_time_was_up_is_kept_and_one_that_is_gone_is_not() {
    let hour = |options: &mut kiln_executor::Options| options.keep_on_failure = Some(Duration::from_secs(3600));
    let long = steps("- step: {name: long, type: Run, spec: {command: echo begun; exec sleep 1000}}");
    let limited = long.replace("type: CI\n", "type: CI\n        timeout: 10s\n");
    Scenario::new(&limited).with(hour).when("a keeps", Act::Cancel).run().await.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | begun
        a.long cancelled (Cancelled 255): the stage's time was up (timeout: 10s)
        a keeps vm-a
        a failed: the stage's time was up (timeout: 10s)
        run cancelled
        ",
    );
    Scenario::new(&long).with(hour).when("a.long | begun", Act::End("a", "crashed")).run().await.check(
        "
        run p
        a started
        a ready
        a.long started
        a.long | begun
        a.long failed (Infrastructure): the instance ended: crashed
        a failed
        run failed
        ",
    );
}

#[tokio::test]
async fn a_runner_keeps_the_instance_itself() {
    let hour = |options: &mut kiln_executor::Options| options.keep_on_failure = Some(Duration::from_secs(3600));
    let told = Scenario::new(&steps(BAD)).with(hour).fleet(|agents| agents.be_a_runner()).run().await;
    told.check(
        "
        run p
        a started
        a ready
        a.bad started
        a.bad failed (ExitCode 1): exit code 1
        a note: instance vm-a is held for 60 min: kiln instance show vm-a
        a failed
        run failed
        ",
    );
    assert_eq!(told.calls, ["acquire a", "hold a", "release a"]);
}
