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
        a note: out/b.xml: the report has no <testsuite> element
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
