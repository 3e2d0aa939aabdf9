//! What Drone files mean: the plan as an outline, and what its templates become.

use std::fmt::Write as _;

use kiln_document::{Severity, Status};
use kiln_pipeline::expr::{Map, Scope, Template, Value};
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{
    Condition, EnvVar, FailureAction, Plan, Plugin, Run, StatusFilter, StepKind, StepNode, When,
};
use kiln_pipeline::scope::{Book, Place};
use kiln_pipeline::{Options, drone, load};

fn plan(text: &str) -> Plan {
    let loaded = load(".drone.yml", text.as_bytes(), &Options::default());
    assert!(loaded.report.status() != Status::Invalid, "{}", loaded.report.text(false));
    loaded.plan.expect("a plan")
}

/// One line per stage and step: what it needs, when it runs, what it does.
fn outline(plan: &Plan) -> String {
    let mut out = String::new();
    for (index, stage) in plan.stages.nodes.iter().enumerate() {
        let item = &stage.item;
        let pool = item.pool.name.as_deref().unwrap_or("any");
        let _ = writeln!(
            out,
            "{index} {} after {:?} on {pool} {:?} {:?}, source {} in {}{}",
            item.name,
            stage.needs,
            item.pool.os,
            item.pool.arch,
            item.workspace,
            item.workspace_dir,
            when(&item.when)
        );
        for (index, step) in item.steps.nodes.iter().enumerate() {
            let StepNode::Step(item) = &step.item else { panic!("Drone has no groups") };
            let traits = [
                (item.kind.is_background(), "background"),
                (item.kind.container().is_some(), "container"),
                (item.failure.iter().any(|f| matches!(f.action, FailureAction::Ignore)), "ignore"),
            ];
            let traits: Vec<&str> = traits.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            let traits: String = traits.iter().map(|name| format!(" {name}")).collect();
            let _ = writeln!(out, "    {index} {} after {:?}{traits}{}", item.id, step.needs, when(&item.when));
        }
    }
    out
}

fn when(when: &When) -> String {
    let mut out = String::new();
    if when.status != StatusFilter::Success {
        let _ = write!(out, " when {:?}", when.status);
    }
    for condition in &when.conditions {
        let Condition::Match(wanted) = condition else { panic!("Drone has no expressions") };
        let _ = write!(out, " {} in {:?}", wanted.fact, wanted.include);
        if !wanted.exclude.is_empty() {
            let _ = write!(out, " not {:?}", wanted.exclude);
        }
    }
    out
}

fn scope(facts: &Facts) -> Scope {
    let mut scope = Scope::new(Map::new()).with_secrets(|name| (name == "token").then(|| "s3cret".to_owned()));
    let build: Map = drone::environment(facts).into_iter().collect();
    scope.set(&["drone"], Value::from(build));
    scope
}

fn kind(plan: &Plan, stage: usize, step: usize) -> &StepKind {
    match &plan.stages.nodes[stage].item.steps.nodes[step].item {
        StepNode::Step(step) => &step.kind,
        StepNode::Group(_) => panic!("Drone has no groups"),
    }
}

fn script(kind: &StepKind) -> &Template {
    match kind {
        StepKind::Run(Run { script: Some(script), .. }) => script,
        other => panic!("no script: {other:?}"),
    }
}

fn variables(variables: &[EnvVar], scope: &Scope) -> String {
    let line = |variable: &EnvVar| match variable.value.render(scope) {
        Ok(value) => format!("{}={value}\n", variable.name),
        Err(error) => format!("{}: {error}\n", variable.name),
    };
    variables.iter().map(line).collect()
}

#[test]
fn steps_run_one_after_another() {
    let plan = plan(
        "\
kind: pipeline
type: vm
name: Build it
pool: {use: ubuntu}
services:
- name: db
  commands: [postgres]
- name: cache
  commands: [redis]
steps:
- name: compile it
  commands: [make]
- name: serve
  detach: true
  commands: [make serve]
- name: test
  failure: ignore
  commands: [make test]
",
    );
    insta::assert_snapshot!(outline(&plan), @r"
    0 Build it after [] on ubuntu Linux Amd64, source true in /drone/src
        0 db after [] background
        1 cache after [0] background
        2 compile_it after [1]
        3 serve after [2] background
        4 test after [3] ignore
    ");
    assert_eq!(plan.stages.nodes[0].item.id, "Build_it");
}

#[test]
fn depends_on_makes_a_graph() {
    let plan = plan(
        "\
kind: pipeline
type: exec
name: windows
platform: {os: windows, arch: arm64}
clone: {disable: true}
steps:
- name: clone
  commands: [x]
---
kind: pipeline
type: macstadium
name: linux
workspace: {base: /go, path: src/hello}
steps:
- name: a
  image: ignored
  commands: [x]
---
kind: pipeline
type: exec
name: release
depends_on: [linux, windows]
steps:
- name: lint
  commands: [x]
- name: sign
  depends_on: [lint]
  commands: [x]
- name: publish
  depends_on: [sign, clone]
  commands: [x]
",
    );
    insta::assert_snapshot!(outline(&plan), @r"
    0 windows after [] on any Windows Arm64, source false in C:\drone\src
        0 clone after []
    1 linux after [] on any Darwin Amd64, source true in /go/src/hello
        0 a after []
    2 release after [0, 1] on any Linux Amd64, source true in /drone/src
        0 lint after []
        1 sign after [0]
        2 publish after [1]
    ");
}

#[test]
fn conditions_in_all_their_forms() {
    let plan = plan(
        "\
kind: pipeline
type: vm
trigger:
  branch: main
  event: {exclude: [pull_request]}
  status: [success, failure]
steps:
- name: short
  when: {event: push, ref: [refs/heads/*, refs/tags/**]}
  commands: [x]
- name: long
  when:
    branch: {include: [main, rel/*], exclude: [rel/old]}
    status: [failure]
  commands: [x]
- name: unless
  when: {status: {exclude: [success]}}
  commands: [x]
- name: never
  when: {status: [changed]}
  commands: [x]
- name: rest
  when: {repo: o/r, instance: [h], target: [prod], cron: nightly, action: [opened]}
  commands: [x]
",
    );
    insta::assert_snapshot!(outline(&plan));
}

#[test]
fn anchors_and_merge_keys() {
    let plan = plan(
        "\
kind: pipeline
type: vm
name: p
environment: &common {A: one, B: two}
steps:
- &step
  name: first
  commands: [x]
  environment: {<<: *common, B: three}
- <<: *step
  name: second
",
    );
    let scope = scope(&Facts::default());
    assert_eq!(
        variables(kind(&plan, 0, 1).env(), &scope),
        "DRONE_STEP_NAME=second\nDRONE_STEP_NUMBER=2\nA=one\nB=three\n"
    );
}

/// Keys that repeat mean what they mean to Drone's reader of YAML, and a message names the value that is used.
#[test]
fn repeated_keys() {
    let file = |step: &str| {
        format!(
            "kind: pipeline\ntype: vm\nname: p\ncommon:\n- &a {{environment: {{A: a, S: a}}, commands: [a]}}\n- &b {{environment: {{B: b, S: b}}}}\nsteps:\n- name: s\n{step}"
        )
    };
    let check = |step: &str, expect: &str, told: &[(Severity, &str)]| {
        let loaded = load(".drone.yml", file(step).as_bytes(), &Options::default());
        let found: Vec<(Severity, &str)> =
            loaded.report.diagnostics.iter().map(|found| (found.severity, found.message.as_str())).collect();
        let unknown = (Severity::Warning, "unknown key `common` in a pipeline");
        assert_eq!(found, [&[unknown], told].concat(), "{step}");
        let plan = loaded.plan.expect("a plan");
        let step = kind(&plan, 0, 0);
        let values = variables(step.env(), &scope(&Facts::default()));
        let values: Vec<&str> = values.lines().skip(2).collect();
        let command = script(step).text().trim().lines().last().unwrap_or_default().to_owned();
        assert_eq!(format!("{} | {command}", values.join(" ")), expect, "{}", file(""));
    };
    let warned = |message| (Severity::Warning, message);
    check(
        "  commands: [x]\n  commands: [y]\n",
        " | y",
        &[warned("the key `commands` occurs twice: the value in line 10 is used")],
    );
    check(
        "  environment: {A: one, A: two}\n  commands: [x]\n",
        "A=two | x",
        &[warned("the key `A` occurs twice: the value in line 9 is used")],
    );
    check(
        "  environment: {A: one, B: one}\n  commands: [x]\n  environment: {B: two}\n",
        "A=one B=two | x",
        &[warned("the key `environment` occurs twice: both mappings are used, keys in both count as in line 11")],
    );
    let both =
        warned("`environment` joins what stands in line 9 and what this `<<` brings, which counts for what is in both");
    check("  <<: *a\n  <<: *b\n", "A=a S=b B=b | a", &[both]);
    check("  <<: [*a, *b]\n", "B=b S=a A=a | a", &[]);
    let kept = (Severity::Note, "`environment` also keeps what `<<` brings");
    check("  <<: *a\n  environment: {S: own}\n", "A=a S=own | a", &[kept]);
    check("  <<: *a\n  environment: {S: own, A: own}\n", "A=own S=own | a", &[]);
    check(
        "  commands: [own]\n  <<: *a\n",
        "A=a S=a | a",
        &[warned("`commands` is what this `<<` brings, not what stands in line 9")],
    );
}

#[test]
fn what_a_step_is_given() {
    let plan = plan(
        "\
kind: pipeline
type: vm
name: p
environment:
  TAG: ${DRONE_TAG##v}
steps:
- name: a
  shell: bash
  user: root
  working_dir: sub/${DRONE_REPO_NAME}
  environment:
    TOKEN: {from_secret: token}
    MISSING: {from_secret: nope}
    SHORT: ${DRONE_COMMIT_SHA:0:4}
    NUMBER: 010
    FLAG: true
    PRICE: 5$$
    EMPTY:
  commands:
  - echo \"$${HOME} ${DRONE_TAG^^}\"
  - |
    if true; then
      echo 'multi'
    fi
",
    );
    let facts = Facts::default().with("ref", "refs/tags/v1.2").with("commit", "abcdef").with("repo", "o/r");
    let scope = scope(&facts);
    let step = kind(&plan, 0, 0);
    let stage = &plan.stages.nodes[0].item;
    insta::assert_snapshot!(variables(&stage.env, &scope) + &variables(step.env(), &scope), @r"
    DRONE_STAGE_KIND=pipeline
    DRONE_STAGE_TYPE=vm
    DRONE_STAGE_NAME=p
    DRONE_STAGE_NUMBER=1
    DRONE_STAGE_OS=linux
    DRONE_STAGE_ARCH=amd64
    DRONE_STAGE_VARIANT=
    DRONE_STAGE_DEPENDS_ON=
    TAG=1.2
    DRONE_STEP_NAME=a
    DRONE_STEP_NUMBER=1
    TOKEN=s3cret
    MISSING: the secret `nope` was not given; pass it with `--secret nope=VALUE` or `--secret-file`
    SHORT=abcd
    NUMBER=010
    FLAG=true
    PRICE=5$
    EMPTY=
    ");
    insta::assert_snapshot!(script(step).render(&scope).expect("a script"), @r#"
    set -e

    printf '%s\n' '+ echo "${HOME} V1.2"'
    echo "${HOME} V1.2"

    printf '%s\n' '+ if true; then
      echo '\''multi'\''
    fi'
    if true; then
      echo 'multi'
    fi
    "#);
    assert_eq!(step.process().expect("a process").user.as_deref(), Some("0"));
    let directory = step.process().expect("a process").working_dir.as_ref().expect("a directory").render(&scope);
    assert_eq!(directory.as_deref(), Ok("sub/r"));
}

/// The scope of a run, as the executor makes it, has the build's variables, the stage's, and those given by the caller.
#[test]
fn a_run_has_the_variables_of_the_build() {
    let plan = plan(
        "\
kind: pipeline
type: vm
name: p
steps:
- name: a
  commands: ['${DRONE_TAG} ${DRONE_STAGE_NAME} ${GIVEN} ${MISSING}. $${HOME}']
",
    );
    let facts = Facts::default().with("ref", "refs/tags/v1");
    let given = [("drone.GIVEN".to_owned(), "given".to_owned())];
    let stage = &plan.stages.nodes[0].item;
    let book = Book::new(&plan, &facts, &given, "run", 0);
    let scope = book.scope(&Place { stage: Some((stage, &stage.id)), ..Place::default() });
    let script = script(kind(&plan, 0, 0)).render(&scope).expect("a script");
    assert!(script.ends_with("\nv1 p given . ${HOME}\n"), "{script}");
}

#[test]
fn containers_and_plugins_are_planned() {
    let text = "\
kind: pipeline
type: docker
name: p
steps:
- name: notify
  image: plugins/slack:${DRONE_TAG}
  entrypoint: [/bin/slack]
  settings:
    webhook: {from_secret: token}
    channels: [a, b]
    build-args: {x: 1, y: [true, ~, '1']}
    template: 'at ${DRONE_COMMIT}'
";
    let loaded = load(".drone.yml", text.as_bytes(), &Options::default());
    assert_eq!(loaded.report.status(), Status::Ok, "{}", loaded.report.text(false));
    let plan = loaded.plan.expect("a plan");
    let scope = scope(&Facts::default().with("ref", "refs/tags/v1").with("commit", "abc"));
    let StepKind::Plugin(Plugin { container, .. }) = kind(&plan, 0, 0) else { panic!("no plugin") };
    assert_eq!(container.image.render(&scope).as_deref(), Ok("plugins/slack:v1"));
    assert_eq!(container.entrypoint[0].text(), "/bin/slack");
    insta::assert_snapshot!(variables(&container.settings, &scope), @r#"
    PLUGIN_WEBHOOK=s3cret
    PLUGIN_CHANNELS=a,b
    PLUGIN_BUILD_ARGS={"x":1,"y":[true,null,"1"]}
    PLUGIN_TEMPLATE=at abc
    "#);
}

#[test]
fn other_documents_are_noted() {
    let text = "\
kind: pipeline
type: vm
name: p
node: {disk: ssd}
concurrency: {limit: 1}
clone: {depth: 50}
steps:
- name: a
  commands: [x]
  volumes: [{name: v, path: /v}]
---
kind: secret
name: token
get: {path: secret/x, name: y}
---
kind: cron
name: nightly
spec: {schedule: '0 0 * * *', branch: main}
---
kind: signature
hmac: 0123
";
    let loaded = load(".drone.yml", text.as_bytes(), &Options::default());
    assert_eq!(loaded.report.status(), Status::Ok);
    assert!(
        loaded.report.diagnostics.iter().all(|found| found.severity == Severity::Note && found.code == "no-effect")
    );
    let lines: Vec<u32> = loaded.report.diagnostics.iter().map(|found| found.location.line).collect();
    assert_eq!(lines, [4, 5, 6, 10, 12, 16, 20]);
}

/// Files near the limits of size are read in about a second, whatever they name; with a cost that grows with the
/// square of their size this would not end within the time that a test is given.
#[test]
fn large_files_are_read() {
    let many = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let head = "kind: pipeline\ntype: exec\nname: p\nsteps:\n";
    let files = [
        many(200, &|n| {
            format!(
                "kind: pipeline\ntype: exec\nname: p{n}\ndepends_on: [p{}]\nsteps: [{{name: a, commands: [x]}}]\n---\n",
                n + 1
            )
        }),
        head.to_owned()
            + &many(4_000, &|n| format!("- name: s{n}\n  depends_on: [s{}]\n  commands: [x]\n", (n + 1) % 4_000)),
        head.to_owned() + &many(4_000, &|_| "- name: same\n  depends_on: [other]\n  commands: [x]\n".to_owned()),
        head.to_owned()
            + "- name: s\n"
            + &many(15_000, &|n| format!("  environment: {{V{n}: x}}\n"))
            + "  commands: [x]\n",
        head.to_owned()
            + "- name: s\n"
            + &many(15_000, &|n| format!("  <<: {{environment: {{V{n}: x}}}}\n"))
            + "  commands: [x]\n",
        head.to_owned() + "- name: s\n  commands:\n  - \"" + &many(40_000, &|n| format!("${{V{n}}}")) + "\"\n",
    ];
    for text in files {
        let loaded = load(".drone.yml", text.as_bytes(), &Options::default());
        assert!(!loaded.report.diagnostics.is_empty(), "{}", &text[..60]);
    }
}
