//! The examples on real VMs.

mod rig;

use std::process::Command;

use rig::{root, run};

#[test]
fn hello_says_hello_from_its_vm() {
    let run = run(&["examples/hello/pipeline.yml"]);
    run.assert_passed(1);
    let said = run.output("hello", "say_hello");
    assert!(said.starts_with("hello from ") && said.contains("Linux VM"), "{said}");
}

#[test]
fn tally_passes_on_three_vms_and_its_tests_are_counted() {
    let run = run(&["--workspace", "examples/tally", "examples/tally/pipeline.yml"]);
    run.assert_passed(3);
    assert_eq!(run.step("c", "test")["tests"]["passed"], 7);
    assert_eq!(run.step("python", "test")["tests"]["passed"], 10);
    assert!(run.output("together", "same_version").contains("C: 1.2.0, Python: 1.2.0"), "{}", run.told());
    assert!(run.output("together", "reproduce").contains("build/libtally.a: OK"), "{}", run.told());
    assert!(run.output("together", "run").contains("| the   |    13 |"), "{}", run.told());
}

#[test]
fn a_project_of_other_authors_builds_and_passes_its_own_tests() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = directory.path().join("bzip2");
    let fetched = Command::new(root().join("examples/bzip2/fetch")).arg(&source).status().expect("starting fetch");
    assert!(fetched.success(), "fetching the source failed");
    let run = run(&["--workspace", source.to_str().expect("a path in UTF-8"), "examples/bzip2/pipeline.yml"]);
    run.assert_passed(1);
    // The project's own Makefile compares three samples in both directions, and this is the last comparison.
    assert!(run.output("bzip2", "test").contains("cmp sample3.tst sample3.ref"), "{}", run.told());
    let damaged = run.output("bzip2", "damaged_archive");
    assert!(damaged.contains("bzip2 1.0.") && damaged.contains("data integrity (CRC) error"), "{damaged}");
}

#[test]
fn drone_pipelines_run_one_after_the_other_and_secrets_are_masked() {
    let run = run(&["--secret", "token=correct-horse-battery", "examples/drone/.drone.yml"]);
    run.assert_passed(2);
    let told = run.told();
    assert!(told.contains("served by"), "{told}");
    assert!(told.contains("the token is ") && !told.contains("correct-horse-battery"), "{told}");
}

#[test]
fn a_step_that_kills_its_agent_runs_once_and_its_stage_is_told_from_one_that_failed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("pipeline.yml");
    std::fs::write(&file, KILLS_ITS_AGENT).expect("a file");
    let run =
        run(&["--workspace", directory.path().to_str().expect("a path in UTF-8"), file.to_str().expect("as before")]);
    assert_ne!(run.code(), Some(0), "{}", run.told());
    let step = run.step("lost", "kill");
    assert_eq!((&step["cause"], step["attempts"].as_u64()), (&"infrastructure".into(), Some(1)), "{}", run.told());
    assert_eq!(step["message"], "the agent in the VM was restarted; what ran then was ended", "{}", run.told());
    assert_eq!(run.output("lost", "kill"), "before\n", "{}", run.told());
}

/// The step's parent is the agent. The rest of the step never ends by itself; only the next agent ends it.
const KILLS_ITS_AGENT: &str = r#"
pipeline:
  name: lost
  identifier: lost
  stages:
    - stage:
        name: lost
        identifier: lost
        type: CI
        spec:
          cloneCodebase: false
          infrastructure: {type: VM, spec: {type: Pool, spec: {poolName: local, os: Linux}}}
          execution:
            steps:
              - step:
                  name: kill
                  identifier: kill
                  type: Run
                  spec: {shell: Sh, command: "echo before; sleep 1; kill -9 $PPID; exec sleep 1000"}
                  failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 3, retryIntervals: [1s], onRetryFailure: {action: {type: MarkAsFailure}}}}}}]
"#;
