//! The sources as the steps find them.

use std::process::Command;

use crate::rig::{Scenario, stages};

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
