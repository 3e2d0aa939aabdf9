//! Kinds of steps beside scripts, carried out on agents.

use std::path::Path;
use std::process::Command;

use crate::rig::{Scenario, stages, steps};

/// Runs a program to its end in a folder.
#[track_caller]
fn call(dir: &Path, words: &[&str]) {
    let mut command = Command::new(words[0]);
    for (name, value) in [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")] {
        command.env(name, value);
    }
    let done = command.args(&words[1..]).current_dir(dir).output().expect("the program runs");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_run_with_the_whole_command_of_their_tool() {
    let told = Scenario::new(&stages(
        "
        - stage:
            name: a
            type: CI
            spec:
              cloneCodebase: true
              execution:
                steps:
                  - step:
                      name: unit
                      type: RunTests
                      spec:
                        language: Python
                        buildTool: Unittest
                        args: test_sums
                        preCommand: echo before
                        postCommand: echo after
                        runOnlySelectedTests: true
                  - step: {name: own, type: Test, spec: {command: echo own, intelligenceMode: true, reports: {type: JUnit, spec: {paths: [r.xml]}}}}
        ",
    ))
    .file("test_sums.py", "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        print('added')\n        self.assertEqual(1 + 1, 2)\n")
    .file("r.xml", "<testsuite><testcase name='t' classname='c'/></testsuite>")
    .run()
    .await;
    let output = told.output("a", "unit");
    let at = |text: &str| output.find(text).unwrap_or_else(|| panic!("{text}: {output}"));
    assert!(at("before") < at("added") && at("Ran 1 test") < at("after"), "{output}");
    let steps = &told.report.stages[0].steps;
    assert_eq!(steps[1].tests.as_ref().map(|tests| tests.passed), Some(1));
    assert!(steps.iter().all(|step| step.status == kiln_wire::run::Status::Passed), "{steps:?}");
}

/// The pipeline's own repository is not asked for: whoever runs the pipeline has it.
#[tokio::test(flavor = "multi_thread")]
async fn the_working_tree_stands_for_the_own_repository() {
    let pipeline = stages(
        "
        - stage:
            name: a
            type: CI
            spec:
              cloneCodebase: false
              execution:
                steps:
                  - step: {name: get, type: GitClone, spec: {connectorRef: hub, repoName: own, build: {type: branch, spec: {branch: main}}}}
                  - step: {name: see, type: Run, spec: {command: cat own/file}}
        ",
    );
    let codebase = "  properties: {ci: {codebase: {connectorRef: hub, repoName: own, build: <+input>}}}\n  stages:";
    let told = Scenario::new(&pipeline.replace("  stages:", codebase)).file("file", "as it is").run().await;
    assert_eq!(told.output("a", "see"), "as it is");
    let get = &told.report.stages[0].steps[0];
    assert!(get.message.as_ref().is_some_and(|message| message.contains("the working tree stands for")), "{get:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_cloned_by_its_address() {
    let scenario = Scenario::new(&steps(
        "
        - step:
            name: get
            type: GitClone
            spec: {repoName: 'file://$DIR/repo', cloneDirectory: it's here, depth: 1, build: {type: branch, spec: {branch: next}}}
        - step: {name: see, type: Run, spec: {command: \"cd \\\"it's here\\\" && cat file && git branch --show-current && git rev-list --count HEAD\"}}
        - step:
            name: tag
            type: GitClone
            spec: {repoName: 'file://$DIR/repo', cloneDirectory: tagged, build: {type: tag, spec: {tag: v1}}}
        - step: {name: old, type: Run, spec: {command: cat tagged/file}}
        - step:
            name: missing
            type: GitClone
            spec: {repoName: 'file://$DIR/repo', cloneDirectory: no, build: {type: branch, spec: {branch: nowhere}}}
        ",
    ));
    let repo = scenario.options.workspace.parent().expect("a folder").join("repo");
    std::fs::create_dir(&repo).expect("a folder");
    let commit = |text: &str| {
        std::fs::write(repo.join("file"), text).expect("a file");
        call(&repo, &["git", "add", "file"]);
        call(&repo, &["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", text]);
    };
    call(&repo, &["git", "init", "--quiet", "--initial-branch=main"]);
    commit("old");
    call(&repo, &["git", "tag", "v1"]);
    call(&repo, &["git", "checkout", "--quiet", "-b", "next"]);
    commit("new");
    let told = scenario.run().await;
    assert_eq!(told.output("a", "see"), "newnext\n1\n");
    assert_eq!(told.output("a", "old"), "old");
    let missing = told.report.stages[0].steps.last().expect("a step");
    assert_eq!(missing.status, kiln_wire::run::Status::Failed, "{missing:?}");
}
