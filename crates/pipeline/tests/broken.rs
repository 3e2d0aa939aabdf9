//! Broken files and exactly what is told about them: place, text, way out.
//!
//! Each case names the code of a finding, and the whole rendering is a snapshot per group.

use std::fmt::Write as _;

use kiln_document::{Severity, Status};
use kiln_pipeline::{Options, load};

/// A name, the code of a finding that makes it invalid, and the file.
type Case<'a> = (&'a str, &'a str, String);

fn check(group: &str, cases: &[Case<'_>]) {
    let mut out = String::new();
    for (name, code, text) in cases {
        let mut loaded = load("pipeline.yml", text.as_bytes(), &Options::default());
        assert_eq!(loaded.report.status(), Status::Invalid, "{name}: {:?}", loaded.report.diagnostics);
        assert!(loaded.plan.is_none(), "{name}: an invalid file has no plan");
        let mut codes = loaded
            .report
            .diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Invalid)
            .map(|found| found.code);
        assert!(codes.any(|found| found == *code), "{name}: {:?}", loaded.report.diagnostics);
        loaded.report.diagnostics.retain(|found| found.severity > Severity::Note);
        let _ = write!(out, "=== {name}\n{}", loaded.report.text(false));
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(group, out) });
}

fn indented(text: &str, by: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect();
    lines.join("\n")
}

/// A pipeline around the items of `stages`.
fn stages(items: &str) -> String {
    format!("pipeline:\n  name: p\n  stages:\n{}\n", indented(items, 4))
}

/// A pipeline of one stage around further keys of the stage.
fn stage(keys: &str) -> String {
    let own = "name: s\ntype: CI\nspec:\n  platform: {os: Linux}\n  execution:\n    steps:\n      - step: {name: a, type: Run, spec: {command: 'true'}}";
    stages(&format!("- stage:\n{}", indented(&format!("{own}\n{keys}"), 4)))
}

/// A pipeline of one stage around further keys of its `spec`.
fn spec(keys: &str) -> String {
    let own = "execution:\n  steps:\n    - step: {name: a, type: Run, spec: {command: 'true'}}";
    stages(&format!("- stage:\n    name: s\n    type: CI\n    spec:\n{}", indented(&format!("{own}\n{keys}"), 6)))
}

/// A pipeline of one stage around the items of `steps`.
fn steps(items: &str) -> String {
    let list = indented(items, 10);
    stages(&format!(
        "- stage:\n    name: s\n    type: CI\n    spec:\n      platform: {{os: Linux}}\n      execution:\n        steps:\n{list}"
    ))
}

/// A pipeline of one `Run` step with further keys.
fn step(keys: &str) -> String {
    steps(&format!("- step:\n    name: a\n    type: Run\n    spec: {{command: 'true'}}\n{}", indented(keys, 4)))
}

/// A pipeline of one `Run` step around the keys of its `spec`.
fn run(keys: &str) -> String {
    steps(&format!("- step:\n    name: a\n    type: Run\n    spec:\n{}", indented(keys, 6)))
}

#[test]
fn text_and_yaml() {
    check(
        "text_and_yaml",
        &[
            ("empty file", "empty-file", String::new()),
            ("only a comment", "empty-file", "# nothing\n".into()),
            ("a list", "not-a-pipeline", "- a\n- b\n".into()),
            ("a word", "not-a-pipeline", "hello\n".into()),
            ("misspelt top key", "not-a-pipeline", "pipelines:\n  name: x\n".into()),
            (
                "GitHub Actions",
                "not-a-pipeline",
                "name: CI\non: push\njobs:\n  build: {runs-on: ubuntu-latest}\n".into(),
            ),
            ("GitLab CI", "not-a-pipeline", "stages: [build]\nbuild: {script: make}\n".into()),
            ("a tab", "tab-indentation", "pipeline:\n\tname: x\n".into()),
            ("a tab in a later line", "tab-indentation", "pipeline:\n  name: x\n\n  stages:\n  \t- a\n".into()),
            ("an open quote", "yaml-syntax", "pipeline:\n  name: \"x\n".into()),
            ("an open bracket", "yaml-syntax", "pipeline:\n  stages: [a, b\n".into()),
            ("bad indentation", "yaml-syntax", "pipeline:\n  name: x\n stages: []\n".into()),
            ("a second colon", "yaml-syntax", "pipeline:\n  name: a: b\n".into()),
            ("an unknown anchor", "unknown-anchor", "pipeline:\n  name: *missing\n".into()),
            ("an anchor inside itself", "alias-cycle", "pipeline: &all\n  stages: [*all]\n".into()),
            ("a merge of a word", "merge-not-mapping", "pipeline:\n  <<: word\n  name: x\n  stages: []\n".into()),
            ("a key twice", "duplicate-key", "pipeline:\n  name: x\n  name: y\n  stages: []\n".into()),
            ("a mapping as key", "key-not-text", "pipeline:\n  ? {a: b}\n  : c\n  stages: []\n".into()),
            ("two documents", "several-documents", "pipeline: {name: a}\n---\npipeline: {name: b}\n".into()),
        ],
    );
}

#[test]
fn hostile_text() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &(b'b'..=b'i')
            .map(|letter| {
                let (name, before) = (char::from(letter), char::from(letter - 1));
                format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 10].join(", "))
            })
            .collect::<String>();
    let chain: String = (1..200).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
    let many = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join("\n");
    let cases: [Case<'_>; 9] = [
        ("deep brackets", "too-deep", format!("pipeline: {}{}\n", "[".repeat(500), "]".repeat(500))),
        ("deep blocks", "too-deep", (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("an alias bomb", "alias-bomb", bomb),
        ("a chain of aliases", "too-deep", format!("a0: &a0 [x]\n{chain}")),
        ("too large", "file-too-large", format!("pipeline: {}\n", "x".repeat(kiln_document::yaml::MAX_BYTES))),
        ("many values", "too-many-nodes", format!("pipeline: [{}]\n", "x,".repeat(kiln_document::yaml::MAX_NODES))),
        ("many documents", "too-many-documents", "---\na: b\n".repeat(kiln_document::yaml::MAX_DOCUMENTS + 1)),
        (
            "many steps",
            "too-many-items",
            steps(&many(1100, &|n| format!("- step: {{name: s{n}, type: Run, spec: {{command: x}}}}"))),
        ),
        ("many unknown keys", "unknown-key", stage(&many(20_000, &|n| format!("key{n}: x")))),
    ];
    for (name, code, text) in cases {
        let loaded = load("pipeline.yml", text.as_bytes(), &Options::default());
        assert!(
            loaded.report.diagnostics.iter().any(|found| found.code == code),
            "{name}: {:?}",
            loaded.report.diagnostics.first()
        );
        assert_eq!(loaded.report.status(), Status::Invalid, "{name}");
        assert!(loaded.report.diagnostics.len() < 500, "{name}: the findings are bounded");
    }
}

#[test]
fn not_utf8() {
    let mut out = String::new();
    for bytes in
        [b"pipeline:\n  name: caf\xe9\n".as_slice(), b"\xff\xfep\0i\0".as_slice(), b"\xf0\x28\x8c\x28".as_slice()]
    {
        let loaded = load("pipeline.yml", bytes, &Options::default());
        assert_eq!(loaded.report.diagnostics.first().map(|found| found.code), Some("not-utf8"));
        out += &loaded.report.text(false);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn pipelines_and_stages() {
    check(
        "pipelines_and_stages",
        &[
            ("a pipeline without value", "missing-key", "pipeline:\n".into()),
            ("a pipeline that is a list", "wrong-type", "pipeline: [a]\n".into()),
            ("no stages", "missing-key", "pipeline:\n  name: x\n".into()),
            ("no stage", "empty-list", "pipeline:\n  name: x\n  stages: []\n".into()),
            (
                "no name",
                "missing-key",
                "pipeline:\n  stages:\n    - stage: {template: {templateRef: t}, name: s}\n".into(),
            ),
            ("misspelt key of the pipeline", "unknown-key", "pipeline:\n  name: x\n  stage: []\n  stages: []\n".into()),
            ("a stage without its wrapper", "missing-wrapper", stages("- name: s\n  type: CI\n  spec: {}")),
            ("an item that is no stage", "wrong-type", stages("- build")),
            ("an empty item", "missing-key", stages("- {}")),
            ("a stage without type", "missing-key", stages("- stage: {name: s}")),
            ("an unknown type of stage", "unknown-stage-type", stages("- stage: {name: s, type: Ci}")),
            ("a stage without spec", "missing-key", stages("- stage: {name: s, type: CI}")),
            (
                "a stage without steps",
                "missing-key",
                stages("- stage: {name: s, type: CI, spec: {platform: {os: Linux}}}"),
            ),
            ("an identifier with a space", "bad-identifier", stage("identifier: my stage")),
            ("an identifier that starts with a digit", "bad-identifier", stage("identifier: 1st")),
            (
                "two stages of one name",
                "duplicate-identifier",
                stages("- stage: {name: s, type: Custom}\n- stage: {name: s, type: Custom}"),
            ),
            (
                "parallel inside parallel",
                "nested-parallel",
                stages("- parallel:\n    - parallel:\n        - stage: {name: s, type: Custom}"),
            ),
            ("a bad duration", "bad-duration", stage("timeout: 10 minutes")),
            ("a step's key in a stage", "unknown-key", stage("command: make")),
            ("a step's status in a stage", "unknown-key", stage("when: {stageStatus: Success}")),
            ("an unknown state", "unknown-value", stage("when: {pipelineStatus: Succes}")),
            (
                "a condition that is no expression",
                "expression-syntax",
                stage("when: {pipelineStatus: All, condition: '<+trigger.branch> =='}"),
            ),
            ("a variable without name", "missing-key", stage("variables:\n  - {type: String, value: x}")),
            ("a variable of unknown type", "unknown-value", stage("variables:\n  - {name: v, type: Text, value: x}")),
            (
                "a variable twice",
                "duplicate-name",
                stage("variables:\n  - {name: v, value: x}\n  - {name: v, value: y}"),
            ),
            ("variables that are a mapping", "wrong-type", stage("variables: {v: x}")),
        ],
    );
}

#[test]
fn machines() {
    check(
        "machines",
        &[
            ("an unknown system", "unknown-value", spec("platform: {os: linux, arch: Amd64}")),
            ("an unknown processor", "unknown-value", spec("platform: {os: Linux, arch: x86_64}")),
            ("a misspelt key of the platform", "unknown-key", spec("platform: {os: Linux, architecture: Amd64}")),
            ("an unknown runtime", "unknown-value", spec("runtime: {type: Clowd, spec: {}}")),
            ("an infrastructure without type", "missing-key", spec("infrastructure: {spec: {}}")),
            ("an unknown infrastructure", "unknown-value", spec("infrastructure: {type: Vm, spec: {}}")),
            (
                "a VM without pool",
                "missing-key",
                spec("infrastructure: {type: VM, spec: {type: Pool, spec: {os: Linux}}}"),
            ),
            ("a VM without spec", "missing-key", spec("infrastructure: {type: VM}")),
            (
                "a misspelt pool",
                "unknown-key",
                spec("infrastructure: {type: VM, spec: {type: Pool, spec: {poolname: x, os: Linux}}}"),
            ),
            (
                "another kind of VM",
                "unknown-value",
                spec("infrastructure: {type: VM, spec: {type: Group, spec: {poolName: x}}}"),
            ),
            ("infrastructure of an unknown stage", "unknown-stage", spec("infrastructure: {useFromStage: build}")),
            ("a switch that is no switch", "wrong-type", spec("cloneCodebase: maybe")),
            ("a misspelt key of the spec", "unknown-key", spec("cloneCodeBase: true")),
        ],
    );
}

#[test]
fn steps_and_groups() {
    check(
        "steps_and_groups",
        &[
            ("an item that is nothing", "wrong-type", steps("-")),
            ("a step without its wrapper", "missing-wrapper", steps("- name: a\n  type: Run\n  spec: {command: make}")),
            ("a step without type", "missing-key", steps("- step: {name: a, spec: {command: make}}")),
            (
                "an unknown type of step",
                "unknown-step-type",
                steps("- step: {name: a, type: Rnu, spec: {command: make}}"),
            ),
            (
                "a type of step in lower case",
                "unknown-step-type",
                steps("- step: {name: a, type: run, spec: {command: make}}"),
            ),
            ("a step without spec", "missing-key", steps("- step: {name: a, type: Run}")),
            ("a run without command", "missing-key", run("shell: Bash")),
            ("a command that is a list", "wrong-type", run("command: [make, test]")),
            (
                "a background without command",
                "missing-key",
                steps("- step: {name: a, type: Background, spec: {shell: Sh}}"),
            ),
            ("a plugin without image", "missing-key", steps("- step: {name: a, type: Plugin, spec: {settings: {}}}")),
            ("an unknown shell", "unknown-value", run("command: make\nshell: bash")),
            ("a misspelt key of a run", "unknown-key", run("command: make\nenvVariable: {A: b}")),
            ("environment at the step", "unknown-key", step("envVariables: {A: b}")),
            ("environment that is a list", "wrong-type", run("command: make\nenvVariables:\n  - A=b")),
            ("a name no variable can have", "bad-env-name", run("command: make\nenvVariables: {'A=B': c}")),
            ("an output without name", "missing-key", run("command: make\noutputVariables:\n  - {type: String}")),
            ("outputs that are names", "wrong-type", run("command: make\noutputVariables: [A]")),
            ("an output twice", "duplicate-name", run("command: make\noutputVariables:\n  - name: A\n  - name: A")),
            ("an unknown report", "unknown-value", run("command: make\nreports: {type: TAP, spec: {paths: [a.xml]}}")),
            ("a user by name", "wrong-type", run("command: make\nrunAsUser: root")),
            (
                "two steps of one name",
                "duplicate-identifier",
                steps("- step: {name: a b, type: Wait}\n- step: {identifier: a_b, type: Wait}"),
            ),
            ("a group without steps", "missing-key", steps("- stepGroup: {name: g}")),
            (
                "parallel inside parallel",
                "nested-parallel",
                steps("- parallel:\n    - parallel:\n        - step: {name: a, type: Wait}"),
            ),
            ("parallel that is a mapping", "wrong-type", steps("- parallel: {step: {name: a, type: Wait}}")),
            ("a stage's status in a step", "unknown-key", step("when: {pipelineStatus: Success}")),
            ("an expression that is not closed", "expression-syntax", run("command: echo <+pipeline.name")),
        ],
    );
}

#[test]
fn strategies_and_failures() {
    check(
        "strategies_and_failures",
        &[
            ("a matrix and copies", "conflicting-keys", step("strategy: {matrix: {a: [1]}, parallelism: 2}")),
            ("a strategy of nothing", "missing-key", step("strategy: {maxConcurrency: 2}")),
            ("a matrix without axis", "empty-list", step("strategy: {matrix: {maxConcurrency: 2}}")),
            ("an axis without values", "empty-list", step("strategy: {matrix: {jdk: []}}")),
            ("an axis that is a word", "wrong-type", step("strategy: {matrix: {jdk: 11}}")),
            (
                "an exclusion of an unknown axis",
                "unknown-axis",
                step("strategy: {matrix: {jdk: [8, 11], exclude: [{jkd: 8}]}}"),
            ),
            (
                "exclusions that are a mapping",
                "wrong-type",
                step("strategy: {matrix: {jdk: [8, 11], exclude: {jdk: 8}}}"),
            ),
            ("no copies", "out-of-range", step("strategy: {parallelism: 0}")),
            ("copies by word", "wrong-type", step("strategy: {parallelism: many}")),
            ("times and items", "conflicting-keys", step("strategy: {repeat: {times: 2, items: [a]}}")),
            ("a repetition of nothing", "missing-key", step("strategy: {repeat: {maxConcurrency: 1}}")),
            ("a slice of nothing", "empty-list", step("strategy: {repeat: {items: [a, b], start: 2}}")),
            (
                "a failure strategy without onFailure",
                "unknown-key",
                step("failureStrategies:\n  - errors: [AllErrors]"),
            ),
            ("no errors", "missing-key", step("failureStrategies:\n  - onFailure: {action: {type: Ignore}}")),
            (
                "an unknown error",
                "unknown-value",
                step("failureStrategies:\n  - onFailure: {errors: [AllError], action: {type: Ignore}}"),
            ),
            ("no action", "missing-key", step("failureStrategies:\n  - onFailure: {errors: [Timeout]}")),
            (
                "an unknown action",
                "unknown-value",
                step("failureStrategies:\n  - onFailure: {errors: [Timeout], action: {type: Skip}}"),
            ),
            ("parts of nothing", "out-of-range", step("strategy: {repeat: {items: [a, b], partitionSize: 0}}")),
        ],
    );
}

#[test]
fn retries() {
    check(
        "retries",
        &[
            (
                "a retry without count",
                "missing-key",
                step("failureStrategies:\n  - onFailure: {errors: [Timeout], action: {type: Retry, spec: {}}}"),
            ),
            (
                "a retry without end",
                "out-of-range",
                step(
                    "failureStrategies:\n  - onFailure: {errors: [Timeout], action: {type: Retry, spec: {retryCount: 100000}}}",
                ),
            ),
            (
                "a step that runs its group again",
                "failure-action",
                step(
                    "failureStrategies:\n  - onFailure: {errors: [Timeout], action: {type: RetryStepGroup, spec: {retryCount: 1}}}",
                ),
            ),
            (
                "a stage that runs a group again",
                "failure-action",
                stage(
                    "failureStrategies:\n  - onFailure: {errors: [Timeout], action: {type: RetryStepGroup, spec: {retryCount: 1}}}",
                ),
            ),
            (
                "a group that runs again without a count",
                "missing-key",
                steps(
                    "- stepGroup:\n    name: g\n    steps: []\n    failureStrategies:\n      - onFailure: {errors: [Timeout], action: {type: RetryStepGroup}}",
                ),
            ),
            (
                "an interval without unit",
                "bad-duration",
                step(
                    "failureStrategies:\n  - onFailure: {errors: [Timeout], action: {type: Retry, spec: {retryCount: 1, retryIntervals: [10]}}}",
                ),
            ),
        ],
    );
}

#[test]
fn names_in_expressions() {
    let echo = |expression: &str| run(&format!("command: echo {expression}"));
    check(
        "names_in_expressions",
        &[
            (
                "variables in a circle",
                "variable-cycle",
                stage(
                    "variables:\n  - {name: a, value: <+stage.variables.b>}\n  - {name: b, value: x<+stage.variables.c>}\n  - {name: c, value: <+stage.variables.a>}",
                ),
            ),
            ("a variable of itself", "variable-cycle", stage("variables:\n  - {name: a, value: <+stage.variables.a>}")),
            ("an unknown variable", "unknown-name", echo("<+pipeline.variables.version>")),
            ("an unknown root", "unknown-name", echo("<+pipelin.name>")),
            (
                "an unknown stage",
                "unknown-name",
                echo("<+pipeline.stages.t.spec.execution.steps.a.output.outputVariables.X>"),
            ),
            ("an unknown step", "unknown-name", echo("<+execution.steps.b.output.outputVariables.X>")),
            ("an unknown output", "unknown-name", echo("<+steps.a.output.outputVariables.X>")),
            ("no matrix", "unknown-name", echo("<+matrix.jdk>")),
            (
                "an unknown axis",
                "unknown-name",
                step("strategy: {matrix: {jdk: [8]}}\nwhen: {stageStatus: All, condition: <+matrix.jkd> == 8}"),
            ),
            (
                "a misspelt output of another stage",
                "unknown-name",
                stages(
                    "- stage:\n    name: one\n    type: CI\n    spec:\n      platform: {os: Linux}\n      execution:\n        steps:\n          - step: {name: a, type: Run, spec: {command: make, outputVariables: [{name: VERSION}]}}\n- stage:\n    name: two\n    type: CI\n    when: {pipelineStatus: All, condition: <+pipeline.stages.one.spec.execution.steps.a.output.outputVariables.VERSON> == '1'}\n    spec:\n      platform: {os: Linux}\n      execution:\n        steps:\n          - step: {name: a, type: Run, spec: {command: make}}",
                ),
            ),
        ],
    );
}
