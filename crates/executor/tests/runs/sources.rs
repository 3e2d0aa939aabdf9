//! The sources as the steps find them.

use std::path::Path;
use std::process::Command;

use crate::rig::{Scenario, stages};

/// A stage that gets the sources, with one step.
fn stage(command: &str) -> String {
    stages(&format!(
        r#"
        - stage:
            name: a
            type: CI
            spec:
              cloneCodebase: true
              execution:
                steps:
                  - step: {{name: look, type: Run, spec: {{command: '{command}'}}}}
        "#
    ))
}

#[track_caller]
fn git(dir: &Path, args: &[&str]) {
    let me = ["-c", "user.name=me", "-c", "user.email=me"];
    let done = Command::new("git").arg("-C").arg(dir).args(me).args(args).status();
    assert!(done.expect("git is installed").success(), "{args:?}");
}

#[tokio::test]
async fn git_works_in_a_stage_whose_sources_are_a_worktree() {
    let scenario = Scenario::new(&stage("git status --short --branch; git log --format=%s; cat file; ls -d .git/HEAD"));
    let workspace = scenario.options.workspace.clone();
    let main = workspace.with_file_name("main");
    std::fs::create_dir(&main).expect("a folder");
    std::fs::write(main.join("file"), "hi\n").expect("a file");
    git(&main, &["init", "--quiet"]);
    git(&main, &["add", "."]);
    git(&main, &["commit", "--quiet", "-m", "one"]);
    git(&main, &["worktree", "add", "--quiet", "-b", "feature/wt", workspace.to_str().expect("UTF-8")]);
    assert!(workspace.join(".git").is_file());
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.look started
        a.look | ## feature/wt
        a.look | one
        a.look | hi
        a.look | .git/HEAD
        a.look passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn a_tracked_file_that_a_pattern_names_is_there() {
    let look = "git ls-files; git status --short; cat lib/wrapper.jar";
    let scenario = Scenario::new(&stage(look)).file(".gitignore", "*.jar\n");
    let workspace = scenario.options.workspace.clone();
    std::fs::create_dir(workspace.join("lib")).expect("a folder");
    std::fs::write(workspace.join("lib/wrapper.jar"), "jar\n").expect("a file");
    git(&workspace, &["init", "--quiet"]);
    git(&workspace, &["add", ".gitignore"]);
    git(&workspace, &["add", "--force", "lib/wrapper.jar"]);
    git(&workspace, &["commit", "--quiet", "-m", "x"]);
    scenario.run().await.check(
        "
        run p
        a started
        a ready
        a.look started
        a.look | .gitignore
        a.look | lib/wrapper.jar
        a.look | jar
        a.look passed
        a passed
        run passed
        ",
    );
}

#[tokio::test]
async fn what_is_ignored_is_told_once_also_when_it_grows() {
    let stage = |name: &str| {
        format!(
            r#"
            - stage:
                name: {name}
                type: CI
                spec:
                  cloneCodebase: true
                  execution:
                    steps:
                      - step: {{name: look, type: Run, spec: {{command: 'ls -A; echo more >> $DIR/workspace/a.o'}}}}
            "#
        )
    };
    let scenario = Scenario::new(&stages(&(stage("a") + &stage("b")))).file(".gitignore", "*.o\n").file("a.o", "xyz");
    scenario.run().await.check(
        "
        run p
        a started
        a note: not sent, because it is ignored: a.o (3 B)
        a ready
        a.look started
        a.look | .gitignore
        a.look passed
        a passed
        b started
        b ready
        b.look started
        b.look | .gitignore
        b.look passed
        b passed
        run passed
        ",
    );
}

#[tokio::test]
async fn git_works_in_a_stage_and_credentials_that_stay_here_are_told_once() {
    let stage = |name: &str| {
        format!(
            r#"
            - stage:
                name: {name}
                type: CI
                spec:
                  cloneCodebase: true
                  execution:
                    steps:
                      - step: {{name: look, type: Run, spec: {{command: 'git describe --always --dirty --exclude "*" > /dev/null; git log --format=%s; git config --local --get-regexp extraheader || echo none'}}}}
            "#
        )
    };
    let scenario = Scenario::new(&stages(&(stage("a") + &stage("b")))).file("a.txt", "a");
    for args in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["-c", "user.name=me", "-c", "user.email=me", "commit", "--quiet", "-m", "first"],
        &["config", "http.https://example.org/.extraheader", "AUTHORIZATION: s3cret-word"],
    ] {
        let done = Command::new("git").arg("-C").arg(&scenario.options.workspace).args(args).status();
        assert!(done.expect("git is installed").success(), "{args:?}");
    }
    let told = scenario.run().await;
    told.check(
        "
        run p
        a started
        a note: credentials stay on this machine: in .git/config: http.https://example.org/.extraheader
        a ready
        a.look started
        a.look | first
        a.look | none
        a.look passed
        a passed
        b started
        b ready
        b.look started
        b.look | first
        b.look | none
        b.look passed
        b passed
        run passed
        ",
    );
    assert!(!told.json().contains("s3cret-word"), "{}", told.json());
}
