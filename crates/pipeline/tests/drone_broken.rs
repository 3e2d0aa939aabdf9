//! Broken Drone files and exactly what is told about them: place, text, way out.

use std::fmt::Write as _;

use kiln_document::{Severity, Status};
use kiln_pipeline::{Options, load};

/// A name, the status and the code of a finding that makes it so, and the file.
type Case<'a> = (&'a str, Status, &'a str, String);

fn check(cases: &[Case<'_>]) -> String {
    let mut out = String::new();
    for (name, status, code, text) in cases {
        let mut loaded = load(".drone.yml", text.as_bytes(), &Options::default());
        assert_eq!(loaded.report.status(), *status, "{name}: {:?}", loaded.report.diagnostics);
        assert!(*status != Status::Invalid || loaded.plan.is_none(), "{name}: an invalid file has no plan");
        let heaviest = loaded.report.diagnostics.iter().map(|found| found.severity).max();
        let mut codes = loaded.report.diagnostics.iter().filter(|found| Some(found.severity) == heaviest);
        assert!(codes.any(|found| found.code == *code), "{name}: {:?}", loaded.report.diagnostics);
        loaded.report.diagnostics.retain(|found| found.severity > Severity::Note);
        let _ = write!(out, "=== {name}\n{}", loaded.report.text(false));
    }
    out
}

/// A pipeline of one step with further keys.
fn pipeline(keys: &str) -> String {
    format!("kind: pipeline\ntype: vm\nname: p\nsteps:\n- name: a\n  commands: [make]\n{keys}")
}

/// A pipeline of one step with further keys of the step.
fn step(keys: &str) -> String {
    pipeline(&keys.lines().fold(String::new(), |all, line| format!("{all}  {line}\n")))
}

use Status::{Invalid, Unsupported};

#[test]
fn documents() {
    let file = |text: &str| text.to_owned();
    insta::assert_snapshot!(check(&[
        ("misspelt kind", Invalid, "unknown-kind", file("kind: pipelin\nname: p\nsteps: []\n")),
        ("foreign kind", Unsupported, "unknown-kind", file("kind: registry\nname: p\n")),
        ("no pipeline", Invalid, "no-pipeline", file("kind:\n")),
        ("secrets alone", Unsupported, "no-pipeline", file("kind: secret\nname: s\n")),
        ("list of documents", Invalid, "wrong-type", pipeline("---\n- kind: pipeline\n")),
        (
            "second document without kind",
            Invalid,
            "missing-key",
            pipeline("---\nname: q\nsteps:\n- name: b\n  commands: [b]\n")
        ),
        ("template", Unsupported, "template", file("kind: template\nload: go.yaml\ndata: {name: x}\n")),
        (
            "version 0.8",
            Unsupported,
            "drone-0.8",
            file("pipeline:\n  build:\n    image: golang\n    commands: [go build]\n")
        ),
        ("two pipelines of one name", Invalid, "duplicate-name", format!("{}---\n{}", pipeline(""), pipeline(""))),
        (
            "two without a name",
            Invalid,
            "duplicate-name",
            "kind: pipeline\ntype: exec\nsteps:\n- {name: a, commands: [a]}\n---\n".repeat(2)
        ),
    ]));
}

#[test]
fn keys_and_values() {
    insta::assert_snapshot!(check(&[
        ("misspelt key of a step", Invalid, "unknown-key", step("enviroment: {A: b}")),
        ("misspelt key of a pipeline", Invalid, "unknown-key", pipeline("triger: {branch: main}\n")),
        ("key in the wrong place", Invalid, "unknown-key", step("pool: {use: x}")),
        ("misspelt condition", Invalid, "unknown-key", step("when: {brnach: main}")),
        ("misspelt form of a condition", Invalid, "unknown-key", step("when: {branch: {includes: [main]}}")),
        (
            "steps as a mapping",
            Invalid,
            "wrong-type",
            "kind: pipeline\ntype: vm\nsteps:\n  a: {commands: [x]}\n".to_owned()
        ),
        (
            "a colon makes a mapping",
            Invalid,
            "wrong-type",
            "kind: pipeline\ntype: vm\nsteps:\n- name: a\n  commands:\n  - echo result: ok\n".to_owned()
        ),
        ("a switch that is none", Invalid, "wrong-type", step("detach: sometimes")),
        ("environment as a list", Invalid, "wrong-type", step("environment:\n- A=b")),
        ("a trigger that is a list", Invalid, "wrong-type", pipeline("trigger: [main]\n")),
        (
            "text for a list of commands",
            Invalid,
            "wrong-type",
            "kind: pipeline\ntype: vm\nsteps:\n- name: a\n  commands: make\n".to_owned()
        ),
        (
            "text of several lines for a list of commands",
            Invalid,
            "wrong-type",
            "kind: pipeline\ntype: vm\nsteps:\n- name: a\n  commands: |\n    make\n    make test\n".to_owned()
        ),
        ("text for a list of steps that it waits for", Invalid, "wrong-type", step("depends_on: a")),
        ("text for a list of pipelines that it waits for", Invalid, "wrong-type", pipeline("depends_on: b\n")),
        ("text for a list of branches", Invalid, "wrong-type", step("when: {branch: {include: main}}")),
        (
            "a secret in the variables of a pipeline",
            Invalid,
            "pipeline-secret",
            pipeline("environment:\n  TOKEN: {from_secret: token}\n")
        ),
        (
            "bad substitution",
            Invalid,
            "bad-substitution",
            step("when: {event: push}\nenvironment: {A: 'x ${LIST[@]} y'}")
        ),
        (
            "bad substitution in a command",
            Invalid,
            "bad-substitution",
            "kind: pipeline\ntype: vm\nsteps:\n- name: a\n  commands:\n  - echo ${X?missing}\n".to_owned()
        ),
    ]));
}

#[test]
fn steps() {
    let of = |kind: &str, rest: &str| format!("kind: pipeline\ntype: {kind}\nname: p\nsteps:\n{rest}");
    insta::assert_snapshot!(check(&[
        ("no commands", Invalid, "missing-key", of("vm", "- name: a\n")),
        ("no image", Invalid, "missing-key", of("docker", "- name: a\n  commands: [make]\n")),
        (
            "no type means docker",
            Invalid,
            "missing-key",
            "kind: pipeline\nname: p\nsteps:\n- name: a\n  commands: [make]\n".to_owned()
        ),
        (
            "two steps of one name",
            Invalid,
            "duplicate-name",
            of("exec", "- name: a\n  commands: [x]\n- name: a\n  commands: [y]\n")
        ),
        ("nothing for a step", Invalid, "empty-step", of("exec", "- name: a\n  commands: [x]\n-\n- ~\n")),
        ("a step without a name", Invalid, "missing-key", of("exec", "- commands: [x]\n")),
        (
            "a long name",
            Invalid,
            "name-too-long",
            of(
                "exec",
                &format!(
                    "- name: {}\n  commands: [x]\n- name: {}\n  commands: [x]\n",
                    "a".repeat(100),
                    "b".repeat(101)
                )
            )
        ),
        ("a step of Drone's own name", Invalid, "duplicate-name", of("exec", "- name: clone\n  commands: [x]\n")),
        ("user by name", Unsupported, "user-name", step("user: postgres")),
        (
            "names known too late",
            Unsupported,
            "substitution-not-possible",
            pipeline("pool:\n  use: pool-${DRONE_BRANCH}\n")
        ),
        ("other machines", Unsupported, "platform", pipeline("platform: {os: freebsd, arch: arm}\n")),
        ("own server", Unsupported, "pipeline-type", of("ssh", "- name: a\n  commands: [x]\n")),
        ("unknown type", Unsupported, "pipeline-type", of("dockr", "- name: a\n  image: x\n")),
        ("changed files", Unsupported, "changed-paths", step("when:\n  paths: [src/**]")),
    ]));
}

#[test]
fn dependencies() {
    let steps = |edges: &[(&str, &str)]| {
        let step = |(name, needs): &(&str, &str)| format!("- name: {name}\n  commands: [x]\n  depends_on: [{needs}]\n");
        format!("kind: pipeline\ntype: exec\nname: p\nsteps:\n{}", edges.iter().map(step).collect::<String>())
    };
    let pipelines = |edges: &[(&str, &str)]| {
        let one = |(name, needs): &(&str, &str)| {
            format!(
                "kind: pipeline\ntype: exec\nname: {name}\ndepends_on: [{needs}]\nsteps: [{{name: a, commands: [x]}}]\n---\n"
            )
        };
        edges.iter().map(one).collect::<String>()
    };
    insta::assert_snapshot!(check(&[
        ("unknown step", Invalid, "unknown-dependency", steps(&[("build", ""), ("test", "biuld")])),
        ("unknown pipeline", Invalid, "unknown-dependency", pipelines(&[("build", ""), ("test", "compile")])),
        ("step that waits for itself", Invalid, "dependency-cycle", steps(&[("build", "build")])),
        ("pipeline that waits for itself", Invalid, "dependency-cycle", pipelines(&[("build", "build")])),
        (
            "step that waits for a later one",
            Invalid,
            "later-dependency",
            steps(&[("a", ""), ("b", "d"), ("d", "a, b")])
        ),
        ("pipeline that waits for a later one", Invalid, "later-dependency", pipelines(&[("one", "two"), ("two", "")])),
    ]));
}

#[test]
fn what_only_deserves_a_warning() {
    let text = "\
kind: pipeline
type: vm
restart: always
trigger: {event: [pull-request, push], status: [changed]}
services:
- commands: [x]
steps:
- name: first
  commands:
  - echo ${GREETING} $${PATH} ${DRONE_WORKSPACE} ${NONE-none}
  - echo ${NONE:+some} ${NONE:?why} ${NONE:-default} ${NONE:=} ${NONE=none} ${#NONE} ${NONE:-${OTHER}}
- name: later ${DRONE_TAG}
  failure: sometimes
  commands: [x]
---
kind: pipeline
type: vm
name: empty
trigger: {status: [failure]}
";
    let loaded = load(".drone.yml", text.as_bytes(), &Options::default());
    assert_eq!(loaded.report.status(), Status::Ok);
    insta::assert_snapshot!(loaded.report.text(false));
    let lenient = Options { lenient: true, ..Options::default() };
    let given = Options { inputs: [("drone.GREETING".to_owned(), "hi".to_owned())].into(), ..Options::default() };
    let loaded = load(".drone.yml", text.as_bytes(), &given);
    let emptied = loaded.report.diagnostics.iter().filter(|found| found.code == "emptied-variable");
    assert!(emptied.into_iter().all(|found| !found.message.contains("GREETING")), "a value was given");
    let misspelt = pipeline("triger: {branch: main}\n");
    assert_eq!(load(".drone.yml", misspelt.as_bytes(), &lenient).report.status(), Status::Ok);
}

/// A file that is not carried out says why, whatever stands in the place of its parts.
#[test]
fn nothing_to_run_is_never_ok() {
    for text in ["pipeline: <+input>", "pipeline: a<+b>", "kind: secret", "kind: ~", "pipeline: ~", "{kind: <+a>}"] {
        let loaded = load("pipeline.yml", text.as_bytes(), &Options::default());
        assert_ne!(loaded.report.status(), Status::Ok, "{text}");
    }
}
