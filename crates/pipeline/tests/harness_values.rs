//! Values that come from outside of the file: input sets, `--var`, templates of the same repository.

use std::collections::BTreeMap;

use kiln_document::Status;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Plan, Run, StepKind, StepNode};
use kiln_pipeline::reach::Reach;
use kiln_pipeline::scope::{Book, Place};
use kiln_pipeline::strategy::expand;
use kiln_pipeline::{Loaded, Options, Source, load};

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(name, text)| Source { name: (*name).to_owned(), bytes: text.as_bytes().to_vec() }).collect()
}

/// Returns the paths of the values that are still to be given.
fn inputs(plan: &Plan) -> Vec<String> {
    let facts = Facts::default();
    plan.inputs(&Reach::new(plan, &[], &facts, &[])).into_iter().map(|input| input.name).collect()
}

fn with_sets(text: &str, sets: &[&str], given: &[(&str, &str)]) -> Loaded {
    let named: Vec<(&str, &str)> = ["one.yml", "two.yml"].into_iter().zip(sets.iter().copied()).collect();
    let inputs: BTreeMap<String, String> = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let options = Options { input_sets: sources(&named), inputs, ..Options::default() };
    load("pipeline.yml", text.as_bytes(), &options)
}

fn with_templates(text: &str, templates: &[(&str, &str)]) -> Loaded {
    load("pipeline.yml", text.as_bytes(), &Options { templates: sources(templates), ..Options::default() })
}

/// All findings above a note: their text and line.
fn told(loaded: &Loaded) -> Vec<String> {
    let heavy = loaded.report.diagnostics.iter().filter(|found| found.severity > kiln_document::Severity::Note);
    heavy.map(|found| format!("{}: {}: {}", found.location.line, found.code, found.message)).collect()
}

#[track_caller]
fn plan(loaded: Loaded) -> Plan {
    assert_eq!(loaded.report.status(), Status::Ok, "{}", loaded.report.text(false));
    loaded.plan.expect("a plan")
}

/// The scripts of a plan's steps with everything replaced, by stage and step.
fn scripts(plan: &Plan) -> Vec<String> {
    fn steps(plan: &Plan, stage: usize, nodes: &[kiln_pipeline::plan::Node<StepNode>], out: &mut Vec<String>) {
        let stage_of = &plan.stages.nodes[stage].item;
        for node in nodes {
            match &node.item {
                StepNode::Group(group) => steps(plan, stage, &group.steps.nodes, out),
                StepNode::Step(step) => {
                    let place = Place { stage: Some((stage_of, &stage_of.id)), ..Place::default() };
                    let scope = Book::new(plan, &Facts::default(), &[], "run", 0).scope(&place);
                    let StepKind::Run(Run { script: Some(script), .. }) = &step.kind else { panic!("{step:?}") };
                    let script = script.render(&scope).unwrap_or_else(|error| error.to_string());
                    out.push(format!("{}/{}: {script}", stage_of.id, step.id));
                }
            }
        }
    }
    let mut out = Vec::new();
    for index in 0..plan.stages.nodes.len() {
        steps(plan, index, &plan.stages.nodes[index].item.steps.nodes, &mut out);
    }
    out
}

/// The titles of the runs of the first stage's strategy.
fn titles(plan: &Plan) -> Vec<String> {
    let scope = Book::new(plan, &Facts::default(), &[], "run", 0).scope(&Place::default());
    let strategy = plan.stages.nodes[0].item.strategy.as_ref().expect("a strategy");
    let expansion = expand(strategy, &scope).unwrap_or_else(|error| panic!("{error}"));
    expansion.iterations.into_iter().map(|run| run.title).collect()
}

const PIPELINE: &str = "pipeline:
  name: p
  identifier: p
  variables:
    - {name: v, type: String, value: <+input>}
    - {name: level, type: String, value: '<+input>.default(low).allowedValues(low,high)'}
  stages:
    - parallel:
        - stage:
            name: s
            identifier: s
            type: CI
            timeout: <+input>
            spec:
              platform: {os: Linux, arch: Amd64}
              execution:
                steps:
                  - step: {name: t, identifier: t, type: Run, spec: {command: 'make <+pipeline.variables.v> <+pipeline.variables.level>', shell: <+input>}}
";

const SET: &str = "inputSet:
  name: set
  identifier: set
  pipeline:
    identifier: p
    variables:
      - {name: v, type: String, value: one}
    stages:
      - parallel:
          - stage:
              identifier: s
              type: CI
              timeout: 3m
              spec: {execution: {steps: [{step: {identifier: t, type: Run, spec: {shell: Bash}}}]}}
";

#[test]
fn an_input_set_gives_every_value_by_its_place() {
    let read = plan(with_sets(PIPELINE, &[SET], &[]));
    assert_eq!(scripts(&read), ["s/t: make one low"]);
    let limit = read.stages.nodes[0].item.timeout.as_ref().map(|limit| limit.written.as_str());
    assert_eq!(limit, Some("3m"));
    assert!(inputs(&read).is_empty(), "{:?}", inputs(&read));
    // The pipeline's own root does as well, as runs are given their inputs.
    let bare = SET
        .replace("inputSet:\n  name: set\n  identifier: set\n", "")
        .replace("\n  ", "\n")
        .replace("  pipeline:", "pipeline:");
    assert_eq!(scripts(&plan(with_sets(PIPELINE, &[&bare], &[]))), ["s/t: make one low"]);
}

#[test]
fn later_sets_and_single_values_come_first() {
    let second = "inputSet: {pipeline: {variables: [{name: v, value: two}, {name: level, value: high}]}}";
    assert_eq!(scripts(&plan(with_sets(PIPELINE, &[SET, second], &[]))), ["s/t: make two high"]);
    assert_eq!(scripts(&plan(with_sets(PIPELINE, &[SET, second], &[("v", "three")]))), ["s/t: make three high"]);
}

#[test]
fn what_is_wrong_with_an_input_set_is_told_with_its_file_and_line() {
    let not_allowed = SET.replace("value: one", "value: one}\n      - {name: level, value: middle");
    assert_eq!(
        told(&with_sets(PIPELINE, &[&not_allowed], &[])),
        ["6: input-not-allowed: `middle` is not allowed for `pipeline.variables.level`"]
    );
    let without_place = SET.replace("timeout: 3m", "timeout: 3m\n              colour: red");
    assert_eq!(
        told(&with_sets(PIPELINE, &[&without_place], &[])),
        [
            "0: unused-input: `one.yml`, line 14: `pipeline.stages.s.colour` has no `<+input>` in this pipeline; the value has no effect"
        ]
    );
    let broken = told(&with_sets(PIPELINE, &["pipeline:\n  a: {"], &[]));
    assert_eq!(broken[0], "0: yaml-syntax: `one.yml`, line 2: not YAML: unclosed bracket '{'");
    assert_eq!(told(&with_sets(PIPELINE, &[""], &[]))[0], "0: input-set: `one.yml`: this is no input set");
    let other = told(&with_sets(PIPELINE, &["steps: []"], &[]));
    assert_eq!(other[0], "0: input-set: `one.yml`: this is no input set");
    let overlay = told(&with_sets(PIPELINE, &["overlayInputSet: {inputSetReferences: [a, b]}"], &[]));
    assert_eq!(overlay[0], "0: input-set: `one.yml`: an overlay names input sets that are kept elsewhere");
}

fn strategy(written: &str) -> String {
    format!(
        "pipeline:
  name: p
  stages:
    - stage:
        name: s
        type: CI
        strategy: {written}
        spec:
          platform: {{os: Linux, arch: Amd64}}
          execution:
            steps:
              - step: {{name: t, type: Run, spec: {{command: 'echo <+matrix.g>'}}}}
"
    )
}

#[test]
fn an_axis_a_matrix_and_a_strategy_can_be_inputs() {
    let one = "pipeline: {stages: [{stage: {identifier: s, strategy: {matrix: {g: [1.20, 1.21]}}}}]}";
    let from_set = |written: &str| {
        titles(&plan(with_sets(&strategy(written).replace("name: s", "name: s\n        identifier: s"), &[one], &[])))
    };
    let path = "pipeline.stages.s.strategy";
    for (written, below, value) in [
        ("{matrix: {g: <+input>}}", ".matrix.g", "1.20, 1.21"),
        ("{matrix: {g: <+input>}}", ".matrix.g", "[1.20, 1.21]"),
        ("{matrix: <+input>}", ".matrix", "{g: [1.20, 1.21]}"),
        ("<+input>", "", "{matrix: {g: [1.20, 1.21]}}"),
    ] {
        let text = strategy(written);
        let open = plan(with_sets(&text, &[], &[]));
        let names = inputs(&open);
        assert_eq!(names, [format!("{path}{below}")], "what is to be given is named: {written}");
        let given = plan(with_sets(&text, &[], &[(&format!("{path}{below}"), value)]));
        assert_eq!(titles(&given), ["g=1.20", "g=1.21"], "{written} {value}");
        assert_eq!(from_set(written), ["g=1.20", "g=1.21"], "{written}");
    }
    let default = strategy("{matrix: {g: '<+input>.default(1.20, 1.21)'}}");
    assert_eq!(titles(&plan(with_sets(&default, &[], &[]))), ["g=1.20", "g=1.21"]);
}

#[test]
fn a_strategy_that_only_the_run_would_know_is_refused() {
    let told = told(&with_sets(&strategy("{matrix: <+pipeline.name>}"), &[], &[]));
    assert!(told.iter().any(|line| line.contains("expression-not-possible")), "{told:?}");
}

const LINKED: &str = "pipeline:
  name: p
  variables: [{name: v, type: String, value: 7}]
  stages:
    - stage:
        name: Build it
        identifier: b
        template:
          templateRef: build
          versionLabel: \"1\"
          templateInputs:
            type: CI
            variables: [{name: target, type: String, value: all}]
    - stage:
        name: s
        type: CI
        spec:
          platform: {os: Linux, arch: Amd64}
          execution:
            steps:
              - step:
                  name: u
                  identifier: u
                  template: {templateRef: account.say, templateInputs: {type: Run, spec: {command: hello}}}
              - stepGroup: {name: g, identifier: g, template: {templateRef: twice}}
";

const BUILD: &str = "template:
  name: build
  identifier: build
  versionLabel: \"1\"
  type: Stage
  spec:
    type: CI
    variables: [{name: target, type: String, value: <+input>}, {name: kind, type: String, value: <+input>.default(fast)}]
    spec:
      platform: {os: Linux, arch: Amd64}
      execution:
        steps:
          - step: {name: make, identifier: make, type: Run, spec: {command: make <+stage.variables.target> <+stage.variables.kind>}}
          - step: {name: say, identifier: say, template: {templateRef: say, templateInputs: {spec: {command: inner}}}}
";
const SAY: &str = "template:
  identifier: say
  versionLabel: v2
  type: Step
  spec:
    type: Run
    spec: {command: <+input>}
";
const TWICE: &str = "template:
  identifier: twice
  versionLabel: v1
  type: StepGroup
  spec:
    steps:
      - step: {name: a, type: Run, spec: {command: a}}
      - step: {name: b, type: Run, spec: {command: b <+pipeline.variables.v>}}
";
const ALL: &[(&str, &str)] =
    &[("t/build.yaml", BUILD), ("t/say.yaml", SAY), ("t/twice.yaml", TWICE), ("other", ": ["), ("set", SET)];

#[test]
fn templates_of_the_same_repository_take_the_place_of_their_links() {
    let read = plan(with_templates(LINKED, ALL));
    assert_eq!(read.stages.nodes[0].item.name, "Build it");
    assert_eq!(scripts(&read), ["b/make: make all fast", "b/say: inner", "s/u: hello", "s/a: a", "s/b: b 7"]);
    let whole = "pipeline: {name: p, identifier: p, template: {templateRef: w, templateInputs: {stages: [{stage: {identifier: s, spec: {execution: {steps: [{step: {identifier: t, spec: {command: x}}}]}}}}]}}}";
    let pipeline = "template:
  {identifier: w, versionLabel: a, type: Pipeline, spec: {stages: [{stage: {name: s, identifier: s, type: CI, spec: {platform: {os: Linux, arch: Amd64}, execution: {steps: [{step: {name: t, identifier: t, type: Run, spec: {command: <+input>}}}]}}}}]}}";
    assert_eq!(scripts(&plan(with_templates(whole, &[("w", pipeline)]))), ["s/t: x"]);
}

#[test]
fn an_input_of_a_template_that_is_not_given_is_asked_for() {
    let text = LINKED
        .replace("templateInputs: {type: Run, spec: {command: hello}}", "templateInputs: {spec: {command: <+input>}}");
    let names = inputs(&plan(with_templates(&text, ALL)));
    assert_eq!(names, ["pipeline.stages.s.spec.execution.steps.u.spec.command"]);
}

#[test]
fn what_is_wrong_in_a_template_is_told_at_the_link_with_its_file_and_line() {
    let broken = BUILD.replace("type: Run, spec: {command: make", "type: Run, spec: {comand: make");
    let files = [("t/build.yaml", broken.as_str()), ("t/say.yaml", SAY), ("t/twice.yaml", TWICE)];
    let told = told(&with_templates(LINKED, &files));
    assert_eq!(told, ["9: unknown-key: unknown key `comand` in `Run` step's `spec` (`t/build.yaml`, line 13)"]);
}

#[test]
fn templates_that_are_not_here_are_refused_with_the_reason() {
    assert_eq!(
        told(&with_templates(LINKED, &ALL[..2])),
        ["25: template: the step group is made from the template `twice`, which is not in this repository"]
    );
    let other_version = BUILD.replace("versionLabel: \"1\"", "versionLabel: \"2\"");
    let files = [("t", other_version.as_str()), ("t/say.yaml", SAY), ("t/twice.yaml", TWICE)];
    let versions = told(&with_templates(LINKED, &files));
    assert!(versions[0].ends_with("the template `build` is here as `2`, not as `1`"), "{versions:?}");
    let kind = BUILD.replace("type: Stage", "type: Step");
    let files = [("t", kind.as_str()), ("t/say.yaml", SAY), ("t/twice.yaml", TWICE)];
    let kinds = told(&with_templates(LINKED, &files));
    assert!(kinds[0].ends_with("the template `build` is for a Step, not for a Stage"), "{kinds:?}");
}

#[test]
fn a_template_in_itself_comes_to_an_end() {
    let own = "template:\n  {identifier: twice, versionLabel: v1, type: StepGroup, spec: {steps: [{stepGroup: {name: g, identifier: g, template: {templateRef: twice}}}, {stepGroup: {name: h, identifier: h, template: {templateRef: twice}}}]}}";
    let files = [("t/build.yaml", BUILD), ("t/say.yaml", SAY), ("t/twice.yaml", own)];
    assert!(told(&with_templates(LINKED, &files)).iter().any(|line| line.contains("template-limit")));
}
