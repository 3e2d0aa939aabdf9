//! `kiln validate`, and the findings of `kiln run` before it starts anything.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder with files, in which the program is run.
struct Folder(tempfile::TempDir);

/// The program's output and exit code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn kiln(&self, args: &[&str], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kiln"))
            .args(args)
            .current_dir(self.0.path())
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env("XDG_CACHE_HOME", self.0.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that reads none of it has already ended.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Compares the records of `kiln validate`: file, status and codes of the findings.
    #[track_caller]
    fn check(&self, args: &[&str], input: &str, code: i32, expect: &[&str]) {
        let said = self.kiln(&[&["validate", "--format", "json"][..], args].concat(), input);
        let record = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            let codes = record["diagnostics"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap());
            let (file, status) = (record["file"].as_str().unwrap(), record["status"].as_str().unwrap());
            [file, status].into_iter().chain(codes).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(said.out.lines().map(record).collect::<Vec<_>>(), expect, "{}", said.err);
        assert_eq!(said.code, Some(code), "{}", said.err);
    }
}

const GOOD: &str =
    "kind: pipeline\ntype: vm\nname: p\npool: {use: a}\nclone: {disable: true}\nsteps: [{name: s, commands: [x]}]\n";

/// A processor that this machine does not have.
const OTHER: &str = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };

/// Returns a pipeline with a stage for this machine, one for another, and one that runs only for tags.
fn platforms() -> String {
    let arch = |name: &str| format!("platform: {{os: linux, arch: {name}}}\n");
    let here = if OTHER == "arm64" { "amd64" } else { "arm64" };
    [
        GOOD.to_owned() + &arch(here),
        GOOD.replace("name: p", "name: other") + &arch(OTHER),
        GOOD.replace("name: p", "name: tagged") + &arch(OTHER) + "trigger: {event: tag}\n",
    ]
    .join("---\n")
}

#[test]
fn every_file_gets_a_record_and_the_worst_one_decides() {
    let folder = Folder::new(&[("a.yml", GOOD), ("b.yml", "kind: pipeline\nsteps: 7\n"), ("c.yml", GOOD)]);
    folder.check(&["a.yml", "c.yml"], "", 0, &["a.yml ok", "c.yml ok"]);
    let said = folder.kiln(&["validate", "a.yml", "missing", "c.yml"], "");
    assert!(said.out.contains("error[unreadable]: the file could not be read: No such file"), "{}", said.out);
    assert!(said.out.contains("missing: invalid\n") && said.out.ends_with("c.yml: ok\n"), "{}", said.out);
    folder.check(&["a.yml", "missing", "c.yml"], "", 2, &["a.yml ok", "missing invalid unreadable", "c.yml ok"]);
    let said = folder.kiln(&["validate", "b.yml", "a.yml"], "");
    assert_eq!((said.code, said.out.ends_with("a.yml: ok\n")), (Some(1), true), "{}", said.out);
    assert_eq!(folder.kiln(&["validate", ".", "b.yml", "a.yml"], "").code, Some(2));
    assert_eq!(folder.kiln(&["pool", "check", "--format", "json", "missing", "none"], "").out.lines().count(), 2);
}

#[test]
fn a_dash_is_standard_input() {
    let folder = Folder::new(&[("a.yml", GOOD)]);
    folder.check(&["a.yml", "-"], GOOD, 0, &["a.yml ok", "<stdin> ok"]);
    folder.check(&["-"], "a: [", 1, &["<stdin> invalid yaml-syntax"]);
    let twice = folder.kiln(&["validate", "-", "-"], GOOD);
    assert!(twice.code == Some(2) && twice.err.contains("can be read once"), "{}", twice.err);
    let run = folder.kiln(&["run", "-"], "kind: pipeline\nname: p\ntype: ssh\nsteps: [{name: s, commands: [x]}]\n");
    assert!(run.code == Some(2) && run.err.contains("<stdin> cannot be run"), "{}", run.err);
    let secret = GOOD.replace("commands: [x]", "commands: [x], environment: {A: {from_secret: a}}");
    let run = folder.kiln(&["run", "-"], &secret);
    assert!(run.err.contains("<stdin>:6: the secret a is not given"), "{}", run.err);
    let pool = folder.kiln(&["pool", "check", "-"], "instances: 7");
    assert!(pool.code == Some(1) && pool.out.contains("<stdin>: not ok"), "{}", pool.out);
}

/// Checks that a validation and a run have the same findings.
#[track_caller]
fn check_same(folder: &Folder, args: &[&str], runner: bool, expect: Option<&str>) {
    let command: &[&str] = if runner { &["validate", "--runner"] } else { &["validate"] };
    let validated = folder.kiln(&[command, args].concat(), "");
    // Otherwise the run fails for lack of the agent or of the token.
    let at: &[&str] = if runner { &["--runner", "http://127.0.0.1:9", "--token-file", "none"] } else { &[] };
    let run = folder.kiln(&[&["run", "--output", "json"][..], at, args].concat(), "");
    match expect {
        None => {
            assert_eq!(validated.code, Some(0), "{}", validated.out);
            assert!(!run.err.contains("cannot be run"), "{}", run.err);
        }
        Some(finding) => {
            assert!(validated.out.contains(finding), "{}", validated.out);
            assert!(run.err.contains(finding), "{}", run.err);
            assert_eq!((validated.code, run.code), (Some(1), Some(2)), "{}", run.err);
        }
    }
}

#[test]
fn a_validation_says_of_platforms_and_stages_what_a_run_says() {
    let folder = Folder::new(&[("p.yml", &platforms())]);
    let refused = format!("the stage `other` asks for {OTHER}");
    check_same(&folder, &["p.yml"], false, Some(&refused));
    check_same(&folder, &["p.yml", "--stage", "other"], false, Some(&refused));
    check_same(&folder, &["p.yml", "--stage", "p"], false, None);
    // A stage for tags only does not run, and the platform of a stage that runs elsewhere does not matter here.
    check_same(&folder, &["p.yml", "--stage", "tagged"], false, None);
    let tagged = format!("the stage `tagged` asks for {OTHER}");
    check_same(&folder, &["p.yml", "--stage", "tagged", "--event", "tag"], false, Some(&tagged));
    check_same(&folder, &["p.yml"], true, None);
    check_same(&folder, &["p.yml", "--stage", "nope"], false, Some("--stage nope: no such stage"));
    let windows = GOOD.to_owned() + "platform: {os: windows}\n";
    let folder = Folder::new(&[("p.yml", &windows), ("bare.yml", &GOOD.replace("pool: {use: a}\n", ""))]);
    check_same(&folder, &["p.yml"], true, Some("the stage `p` asks for Windows"));
    check_same(&folder, &["bare.yml"], true, Some("the stage `p` names no pool"));
    check_same(&folder, &["bare.yml"], false, None);
}

const HARNESS: &str = "
pipeline:
  name: p
  stages:
    - stage:
        name: a
        type: CI
        spec: {platform: {os: Linux}, execution: {steps: [{step: {name: s, type: Run, spec: {command: <+secrets.getValue('x')>}}}]}}
    - stage: {name: ok, type: Approval, spec: {}}
    - stage:
        name: b
        type: CI
        spec: {platform: {os: Linux}, execution: {steps: [{step: {name: s, type: Run, spec: {command: <+secrets.getValue('y')>}}}]}}
";

#[test]
fn what_is_unsupported_counts_for_its_own_stage_alone() {
    let folder = Folder::new(&[("p.yml", HARNESS)]);
    check_same(&folder, &["p.yml"], false, Some("a stage of type `Approval` is not run by Kiln"));
    check_same(&folder, &["p.yml", "--stage", "ok"], false, Some("a stage of type `Approval` is not run by Kiln"));
    check_same(&folder, &["p.yml", "--stage", "a"], false, None);
}

#[test]
fn a_platform_is_told_once() {
    let folder = Folder::new(&[("p.yml", &HARNESS.replace("os: Linux", "os: Windows"))]);
    let codes = "p.yml unsupported platform stage-type platform needed needed";
    folder.check(&["p.yml"], "", 1, &[codes]);
}

#[test]
fn secrets_are_wanted_only_by_what_can_run() {
    let folder = Folder::new(&[("p.yml", HARNESS)]);
    let said = folder.kiln(&["run", "p.yml", "--stage", "a"], "");
    assert!(said.code == Some(2) && said.err.contains("the secret x is not given"), "{}", said.err);
    assert!(!said.err.contains("the secret y"), "{}", said.err);
    folder.check(&["--stage", "b", "p.yml"], "", 0, &["p.yml ok needed"]);
    let given = folder.kiln(&["run", "p.yml", "--stage", "a", "--secret", "x=1"], "");
    assert!(!given.err.contains("is not given"), "{}", given.err);
}
