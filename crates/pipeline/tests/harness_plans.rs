//! Harness files and the plans they become, in a short notation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use kiln_document::{Severity, Status};
use kiln_pipeline::expr::Template;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{
    Axis, AxisValue, Condition, Cut, FailureStrategy, Graph, Plan, Step, StepKind, StepNode, Strategy, StrategyKind,
    When,
};
use kiln_pipeline::reach::Reach;
use kiln_pipeline::{Loaded, Options, load};

fn loaded(text: &str, inputs: &[(&str, &str)]) -> Loaded {
    let inputs: BTreeMap<String, String> =
        inputs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    load("pipeline.yml", text.as_bytes(), &Options { inputs, ..Options::default() })
}

/// The reach of a run of all stages.
fn all(plan: &Plan) -> Reach<'_> {
    static FACTS: LazyLock<Facts> = LazyLock::new(Facts::default);
    Reach::new(plan, &[], &FACTS, &[])
}

/// The plan in a short notation, then the findings.
fn check(text: &str) -> String {
    let loaded = loaded(text, &[]);
    let mut out = loaded.plan.as_ref().map(outline).unwrap_or_default();
    for found in &loaded.report.diagnostics {
        let _ = writeln!(
            out,
            "{:?} {} at {}:{}: {}",
            found.severity, found.code, found.location.line, found.location.column, found.message
        );
    }
    out
}

fn outline(plan: &Plan) -> String {
    let mut out = format!("pipeline {} ({})", plan.id, plan.name);
    plan.timeout.iter().for_each(|limit| out += &format!(" timeout={:?}", limit.time));
    for variable in &plan.variables {
        let _ =
            write!(out, " {}{}={}", if variable.secret { "secret " } else { "" }, variable.name, variable.value.text());
    }
    out.push('\n');
    for (index, node) in plan.stages.nodes.iter().enumerate() {
        let stage = &node.item;
        let pool = &stage.pool;
        let _ = writeln!(
            out,
            "{index} stage {} needs={:?} pool={:?}/{:?}/{:?} source={}",
            stage.id,
            node.needs,
            pool.name.as_deref().unwrap_or("-"),
            pool.os,
            pool.arch,
            stage.workspace
        );
        around(&mut out, 1, &stage.when, stage.strategy.as_ref(), &stage.failure);
        for env in &stage.env {
            let _ = writeln!(out, "  env {}={}", env.name, env.value.text());
        }
        stage.timeout.iter().for_each(|limit| out += &format!("  timeout={:?}\n", limit.time));
        steps(&mut out, 1, &stage.steps);
    }
    out
}

fn around(out: &mut String, depth: usize, when: &When, strategy: Option<&Strategy>, failure: &[FailureStrategy]) {
    let pad = "  ".repeat(depth);
    let conditions: Vec<String> = when
        .conditions
        .iter()
        .map(|condition| match condition {
            Condition::Expr(template) => template.text().trim().to_owned(),
            Condition::Match(wanted) => format!("{wanted:?}"),
        })
        .collect();
    let _ = writeln!(out, "{pad}when {:?} {}", when.status, conditions.join(" and "));
    if let Some(strategy) = strategy {
        let limit = strategy.max_concurrency.as_ref().map(|limit| limit.text()).unwrap_or("all");
        let _ = writeln!(out, "{pad}strategy {} at most {limit}", kind(&strategy.kind));
    }
    for strategy in failure {
        let _ = writeln!(out, "{pad}on {:?} {:?}", strategy.errors, strategy.action);
    }
}

fn kind(kind: &StrategyKind) -> String {
    match kind {
        StrategyKind::Matrix { axes, exclude, node_name } => {
            let axes: Vec<String> = axes.iter().map(|(name, values)| format!("{name}={}", axis(values))).collect();
            let exclude: Vec<Vec<String>> = exclude
                .iter()
                .map(|entry| entry.iter().map(|(name, value)| format!("{name}={}", value.text())).collect())
                .collect();
            format!(
                "matrix {} without {exclude:?} named {:?}",
                axes.join(" "),
                node_name.as_ref().map(|name| name.text())
            )
        }
        StrategyKind::Parallelism(count) => format!("parallelism {}", count.text()),
        StrategyKind::Times(count) => format!("times {}", count.text()),
        StrategyKind::Items { items, cut } => format!("items {}{}", axis(items), taken(cut)),
        StrategyKind::Input { what, value } => format!("{what} to be given {}", value.text()),
    }
}

fn taken(cut: &Cut) -> String {
    let text = |bound: &Option<Template>| bound.as_ref().map(|bound| bound.text().to_owned()).unwrap_or_default();
    let unit = |percent: &bool| if *percent { "%" } else { "" };
    match cut {
        Cut::All => String::new(),
        Cut::Slice { start, end, percent } => format!(" from {} to {}{}", text(start), text(end), unit(percent)),
        Cut::Parts { size, percent } => format!(" by {}{}", size.text(), unit(percent)),
    }
}

fn axis(axis: &Axis) -> String {
    match axis {
        Axis::Expr(template) => template.text().to_owned(),
        Axis::List(values) => format!("[{}]", values.iter().map(value).collect::<Vec<_>>().join(", ")),
    }
}

fn value(value: &AxisValue) -> String {
    match value {
        AxisValue::Scalar(template) => template.text().to_owned(),
        AxisValue::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, field)| format!("{name}: {}", self::value(field))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn steps(out: &mut String, depth: usize, graph: &Graph<StepNode>) {
    let pad = "  ".repeat(depth);
    for (index, node) in graph.nodes.iter().enumerate() {
        match &node.item {
            StepNode::Group(group) => {
                let _ = writeln!(out, "{pad}{index} group {} needs={:?}", group.id, node.needs);
                around(out, depth + 1, &group.when, group.strategy.as_ref(), &group.failure);
                steps(out, depth + 1, &group.steps);
            }
            StepNode::Step(step) => {
                let _ = writeln!(out, "{pad}{index} step {} needs={:?}", step.id, node.needs);
                one(out, depth + 1, step);
            }
        }
    }
}

fn one(out: &mut String, depth: usize, step: &Step) {
    around(out, depth, &step.when, step.strategy.as_ref(), &step.failure);
    let pad = "  ".repeat(depth);
    match &step.kind {
        StepKind::Run(run) | StepKind::Background(run) | StepKind::RunTests(run) => {
            let background = if step.kind.is_background() { " in background" } else { "" };
            let script = run.script.as_ref().map(Template::text);
            let _ = writeln!(out, "{pad}{:?}{background} {:?}", run.shell, script.unwrap_or_default());
        }
        StepKind::Plugin(_) => drop(writeln!(out, "{pad}plugin")),
        other => drop(writeln!(out, "{pad}{other:?}")),
    }
    let run = step.kind.process().cloned().unwrap_or_default();
    for env in &run.env {
        let _ = writeln!(out, "{pad}env {}={}", env.name, env.value.text());
    }
    for output in &run.outputs {
        let _ = writeln!(
            out,
            "{pad}output {} from {}{}",
            output.name,
            output.value,
            if output.secret { " secret" } else { "" }
        );
    }
    for path in &run.reports {
        let _ = writeln!(out, "{pad}report {}", path.text());
    }
    if let Some(container) = step.kind.container() {
        let _ = writeln!(out, "{pad}image {}", container.image.text());
        for setting in &container.settings {
            let _ = writeln!(out, "{pad}setting {}={}", setting.name, setting.value.text());
        }
    }
    if step.timeout.is_some() || run.user.is_some() {
        let _ = writeln!(out, "{pad}timeout={:?} user={:?}", step.timeout.as_ref().map(|limit| limit.time), run.user);
    }
}

const FULL: &str = r#"
pipeline:
  name: Build & Test
  timeout: 1h 30m
  variables:
    - {name: version, type: String, value: "1.2"}
    - {name: count, type: Number, value: 3}
    - {name: token, type: Secret, value: deploy_token}
  stages:
    - stage:
        name: build
        type: CI
        variables:
          - {name: MODE, type: String, value: <+pipeline.variables.version>-rc}
          - {name: not-an-env, type: String, value: x}
        spec:
          cloneCodebase: true
          caching: {enabled: true}
          sharedPaths: [/root/.m2]
          infrastructure: {type: VM, spec: {type: Pool, spec: {poolName: ubuntu, os: Linux}}}
          execution:
            steps:
              - step:
                  name: Compile
                  identifier: compile
                  type: Run
                  timeout: 10m
                  spec:
                    shell: Bash
                    command: |
                      make
                      echo done
                    envVariables: {A: text, B: 7, C: true, D: <+secrets.getValue("account.key")>}
                    outputVariables:
                      - name: VERSION
                      - {name: digest, type: Secret, value: DIGEST}
                    reports: {type: JUnit, spec: {paths: ["**/*.xml", out.xml]}}
                    runAsUser: 1000
              - parallel:
                  - step: {name: Unit, type: Run, spec: {shell: Python, command: print(1)}}
                  - stepGroup:
                      name: Integration
                      when: {stageStatus: All}
                      strategy: {repeat: {items: [a, b, c, d], start: 1, end: 3, maxConcurrency: 1}}
                      steps:
                        - step: {name: Server, type: Background, spec: {shell: Sh, command: serve}}
                        - step: {name: Client, type: Run, spec: {command: echo <+repeat.item>}}
              - step:
                  name: Last
                  type: Run
                  when: {stageStatus: Failure, condition: <+execution.steps.compile.output.outputVariables.VERSION> == "1"}
                  failureStrategies:
                    - onFailure: {errors: [Timeout, Unknown, Verification], action: {type: Ignore}}
                    - onFailure:
                        errors: [AllErrors]
                        action:
                          type: Retry
                          spec: {retryCount: 2, retryIntervals: [10s, 1m], onRetryFailure: {action: {type: MarkAsSuccess}}}
                  spec: {command: echo last}
    - parallel:
        - stage:
            name: test
            type: CI
            strategy:
              matrix:
                jdk: [8, 11]
                os: [{name: debian, version: 13}]
                exclude: [{jdk: 8}]
                maxConcurrency: 2
                nodeName: jdk <+matrix.jdk>
            when: {pipelineStatus: All}
            spec:
              platform: {os: Linux, arch: Arm64}
              runtime: {type: Cloud, spec: {size: large}}
              execution:
                steps:
                  - step: {name: test, type: Run, spec: {command: 'test <+matrix.jdk> <+matrix.os.name>'}}
        - stage:
            name: same
            type: CI
            strategy: {parallelism: <+pipeline.variables.count>, maxConcurrency: 1}
            failureStrategies:
              - onFailure: {errors: [AllErrors], action: {type: StageRollback}}
            spec:
              infrastructure: {useFromStage: build}
              execution:
                steps:
                  - step: {name: a, type: Run, spec: {command: 'echo <+pipeline.stages.build.spec.execution.steps.compile.output.outputVariables.VERSION>'}}
    - stage:
        name: last
        type: CI
        spec:
          execution: {steps: [{step: {name: a, type: Run, spec: {command: 'true'}}}]}
"#;

#[test]
fn a_full_pipeline() {
    insta::assert_snapshot!(check(FULL));
}

#[test]
fn what_a_plan_needs() {
    let text = FULL.replace("command: echo last", "command: echo <+pipeline.variables.token>");
    let loaded = loaded(&text, &[]);
    let plan = loaded.plan.expect("a plan");
    let secrets: Vec<(String, u32)> =
        plan.secrets(&all(&plan)).into_iter().map(|secret| (secret.name, secret.location.line)).collect();
    assert_eq!(secrets, [("deploy_token".to_owned(), 8), ("account.key".to_owned(), 25)]);
    assert_eq!(plan.inputs(&all(&plan)), []);
}

const CONTAINERS: &str = "
pipeline:
  name: p
  stages:
    - stage:
        name: s
        type: CI
        spec:
          platform: {os: Linux}
          execution:
            steps:
              - step: {name: run, type: Run, spec: {connectorRef: hub, image: 'golang:1', command: go build}}
              - step: {name: db, type: Background, spec: {image: postgres, envVariables: {P: x}, entrypoint: [run], portBindings: {'5432': '5432'}}}
              - step:
                  name: notify
                  type: Plugin
                  spec:
                    image: plugins/slack
                    settings:
                      webhook: <+secrets.getValue('hook')>
                      list: [a, b]
                      map: {k: 1, l: [true]}
                      some-flag: true
";

#[test]
fn containers_are_planned() {
    assert_eq!(loaded(CONTAINERS, &[]).report.status(), Status::Ok);
    insta::assert_snapshot!(check(CONTAINERS));
}

const INPUTS: &str = "
pipeline:
  name: p
  variables:
    - {name: open, type: String, value: <+input>}
    - {name: preset, type: String, value: '<+input>.default(dev).allowedValues(dev,prod)'}
    - {name: fallback, type: String, default: xyz, value: <+input>}
  stages:
    - stage:
        name: s
        type: CI
        timeout: <+input>.default(5m)
        spec:
          platform: {os: Linux, arch: '<+input>.allowedValues(Amd64,Arm64).default(Arm64)'}
          execution:
            steps:
              - step: {name: a, type: Run, spec: {command: <+input>, envVariables: {E: <+input>}}}
  properties: {ci: {codebase: {connectorRef: x, build: <+input>}}}
";

#[test]
fn inputs_are_listed_until_they_are_given() {
    let open = loaded(INPUTS, &[]);
    let names = |loaded: &Loaded| -> Vec<String> {
        loaded
            .plan
            .as_ref()
            .map(|plan| plan.inputs(&all(plan)).into_iter().map(|input| input.name).collect())
            .unwrap_or_default()
    };
    let step = "pipeline.stages.s.spec.execution.steps.a.spec";
    assert_eq!(
        names(&open),
        ["pipeline.variables.open".to_owned(), format!("{step}.command"), format!("{step}.envVariables.E")]
    );
    let command = format!("{step}.command");
    let environment = format!("{step}.envVariables.E");
    let given = loaded(
        INPUTS,
        &[("open", "a"), ("pipeline.variables.preset", "prod"), (&command, "make"), (&environment, "e")],
    );
    assert_eq!((given.report.status(), names(&given)), (Status::Ok, Vec::new()), "{}", given.report.text(false));
    insta::assert_snapshot!(outline(given.plan.as_ref().expect("a plan")));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let told = |inputs: &[(&str, &str)]| {
        let loaded = loaded(INPUTS, inputs);
        let found = loaded.report.diagnostics.iter().find(|found| found.severity == Severity::Invalid);
        found.map(|found| format!("{}: {} ({})", found.code, found.message, found.help.as_deref().unwrap_or_default()))
    };
    let not_allowed = "input-not-allowed: `test` is not allowed for `pipeline.variables.preset` (allowed: dev, prod)";
    assert_eq!(told(&[("preset", "test")]).as_deref(), Some(not_allowed));
    assert_eq!(told(&[("codebase.tag", "v1")]), None, "what is not in the file can be given too");
    let unknown =
        "unknown-input: a value is given for `opne`, which this pipeline does not have (did you mean `open`?)";
    assert_eq!(told(&[("opne", "x")]).as_deref(), Some(unknown));
    let duration = "bad-duration: `timeout` takes a duration, not `soon` (a duration is a number with w, d, h, m, s or ms: `10m`, `1h 30m`, `500ms`)";
    assert_eq!(told(&[("pipeline.stages.s.timeout", "soon")]).as_deref(), Some(duration));
}

#[test]
fn lenient_reading_warns_about_unknown_keys() {
    let text = INPUTS.replace("        timeout:", "        colour: red\n        timeout:");
    assert_eq!(loaded(&text, &[]).report.status(), Status::Invalid);
    let lenient = load("f", text.as_bytes(), &Options { lenient: true, ..Options::default() });
    assert_eq!(lenient.report.status(), Status::Ok);
    assert!(
        lenient
            .report
            .diagnostics
            .iter()
            .any(|found| (found.code, found.severity) == ("unknown-key", Severity::Warning))
    );
    // What cannot be done without is still missed: nothing is left out of the plan silently.
    let text = INPUTS.replace("spec: {command: <+input>", "spce: {command: <+input>");
    let lenient = load("f", text.as_bytes(), &Options { lenient: true, ..Options::default() });
    assert!(
        lenient.report.diagnostics.iter().any(|found| found.code == "missing-key"),
        "{:?}",
        lenient.report.diagnostics
    );
}

#[test]
fn a_report_for_programs() {
    let loaded = loaded("pipeline:\n  name: x\n  stagez: []\n", &[]);
    insta::assert_snapshot!(loaded.report.json(), @r#"{"file":"pipeline.yml","status":"invalid","diagnostics":[{"code":"unknown-key","severity":"invalid","message":"unknown key `stagez` in a pipeline","line":3,"column":3,"help":"did you mean `stages`?"}]}"#);
}

const UNSUPPORTED: &str = "
pipeline:
  name: p
  stages:
    - stage:
        name: s
        type: CI
        timeout: <+pipeline.variables.t>
        skipCondition: 'true'
        spec:
          platform: {os: Windows}
          serviceDependencies: [{identifier: db, type: Service, spec: {image: redis}}]
          execution:
            steps:
              - step: {name: b, type: Action, spec: {anything: goes}}
              - step: {name: c, template: {templateRef: t}}
              - insert: {identifier: i, name: i, steps: []}
              - step:
                  name: d
                  type: Run
                  strategy: {matrix: <+input>}
                  failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: Retry, spec: {retryCount: 1, condition: c}}}}]
                  spec: {command: x, outputAlias: {key: k, scope: Stage}}
              - step: {name: e, type: Run, strategy: {parallelism: 2, when: c}, spec: {command: x}}
              - stepGroup:
                  name: f
                  failureStrategies: [{onFailure: {errors: [AllErrors], action: {type: RetryStepGroup, spec: {retryCount: 1}}}}]
                  steps: [{step: {name: a, type: Background, spec: {command: x}}}]
              - stepGroup: {name: g, timeout: 1m, steps: []}
    - stage: {name: t, type: Approval, spec: {anything: goes}}
    - stage: {name: u, template: {templateRef: t}}
    - stage:
        name: v
        type: CI
        variables: <+input>
        spec:
          platform: <+input>
          execution:
            steps:
              - step: {name: a, type: Run, spec: <+input>}
              - step: {name: b, type: Run, strategy: <+input>, spec: {command: x, outputVariables: <+input>}}
              - stepGroup: {name: c, steps: <+input>}
              - <+input>
  variables: [{name: t, value: 1m}]
";

#[test]
fn what_is_not_run_yet_is_named_where_it_stands() {
    let refused = loaded(UNSUPPORTED, &[]);
    assert_eq!(refused.report.status(), Status::Unsupported, "{}", refused.report.text(false));
    insta::assert_snapshot!(refused.report.text(false));
}

#[test]
fn files_of_other_kinds() {
    let told = |text: &str| {
        let loaded = loaded(text, &[]);
        (loaded.report.status(), loaded.report.diagnostics.first().map(|found| found.code).unwrap_or_default())
    };
    let cases = [
        ("template: {name: t, type: Step}", Status::Unsupported, "harness-entity"),
        ("inputSet: {name: t}", Status::Unsupported, "harness-entity"),
        ("version: 1\nkind: pipeline\nspec: {stages: []}", Status::Unsupported, "harness-v1"),
        ("pipeline: {stages: [{steps: [{run: make}]}]}", Status::Unsupported, "harness-v1"),
        ("pipeline:\n  build: {image: golang, commands: [make]}", Status::Unsupported, "drone-0.8"),
        ("pipeline: {name: p, template: {templateRef: t}}", Status::Unsupported, "template"),
    ];
    for (text, status, code) in cases {
        assert_eq!(told(text), (status, code), "{text}");
    }
}
