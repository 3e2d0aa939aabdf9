//! Strategies of Harness files: what their runs are called, and what expressions in them see.

use kiln_document::Status;
use kiln_pipeline::expr::Template;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Plan, Stage, Strategy};
use kiln_pipeline::scope::{Book, Looped, Place};
use kiln_pipeline::strategy::{Expansion, Iteration, expand};
use kiln_pipeline::{Loaded, Options, load};

fn read(text: &str) -> Loaded {
    load("pipeline.yml", text.as_bytes(), &Options::default())
}

#[track_caller]
fn plan(text: &str) -> Plan {
    let loaded = read(text);
    assert_eq!(loaded.report.status(), Status::Ok, "{}", loaded.report.text(false));
    loaded.plan.expect("a plan")
}

/// A pipeline with the variable `list`, one stage and one step; what a stage and a step have beside their content stands in
/// flow style.
fn pipeline(list: &str, stage: &str, step: &str) -> String {
    format!(
        "pipeline:
  name: p
  variables: [{{name: list, type: String, value: '{list}'}}]
  stages:
    - stage:
        name: s
        type: CI
        {stage}
        spec:
          execution:
            steps:
              - step:
                  name: t
                  type: Run
                  {step}
                  spec: {{command: echo}}
"
    )
}

fn only_stage(plan: &Plan) -> &Stage {
    &plan.stages.nodes[0].item
}

/// The runs of a strategy at a place, in short: `_0_1 a=1, b=x`.
#[track_caller]
fn runs(plan: &Plan, strategy: &Strategy, place: &Place<'_>) -> Expansion {
    let book = Book::new(plan, &Facts::default(), &[], "run", 0);
    expand(strategy, &book.scope(place)).unwrap_or_else(|error| panic!("{error}"))
}

fn short(expansion: &Expansion) -> Vec<String> {
    expansion.iterations.iter().map(|run| format!("{} {}", run.postfix, run.title)).collect()
}

/// The runs of a stage whose one axis is this.
#[track_caller]
fn axis(list: &str, axis: &str) -> Vec<String> {
    let plan = plan(&pipeline(list, &format!("strategy: {{matrix: {{v: {axis}}}}}"), ""));
    let strategy = only_stage(&plan).strategy.as_ref().expect("a strategy");
    short(&runs(&plan, strategy, &Place::default()))
}

#[test]
fn an_axis_that_ends_in_a_method_is_one_expression() {
    let expected = ["_0 v=a", "_1 v=b", "_2 v=c"];
    for written in [
        "\"<+pipeline.variables.list>.split(',')\"",
        "\"<+<+pipeline.variables.list>.split(',')>\"",
        "\"<+pipeline.variables.list.split(',')>\"",
        "\" <+pipeline.variables.list>.replace('x', 'c').split(',') \"",
        "\"<+pipeline.variables.list> ?: ''\"",
        "<+pipeline.variables.list>",
    ] {
        assert_eq!(axis("a,b,c", written), expected, "{written}");
    }
    // A list can also be written with an expression for some of its values.
    assert_eq!(axis("c", "\"a, b, <+pipeline.variables.list>\""), expected);
    assert_eq!(axis("C", "[a, b, \"<+pipeline.variables.list>.toLowerCase()\"]"), expected);
    assert_eq!(axis("1", "[\"v<+pipeline.variables.list>.2\"]"), ["_0 v=v1.2"]);
}

#[test]
fn an_axis_that_is_neither_expression_nor_list_is_refused() {
    for written in ["\"<+pipeline.variables.list>.split(',\"", "\"<+pipeline.variables.list>; (x)\""] {
        let loaded = read(&pipeline("a,b", &format!("strategy: {{matrix: {{v: {written}}}}}"), ""));
        assert_ne!(loaded.report.status(), Status::Ok, "{written}");
        let told = loaded.report.diagnostics.iter().any(|found| found.code.starts_with("expression-"));
        assert!(told, "{}", loaded.report.text(false));
    }
}

#[test]
fn repeated_items_and_counts_take_whole_expressions_too() {
    let text = pipeline("a,b", "strategy: {repeat: {items: \"<+pipeline.variables.list>.split(',')\"}}", "");
    let plan_of_items = plan(&text);
    let strategy = only_stage(&plan_of_items).strategy.as_ref().expect("a strategy");
    assert_eq!(short(&runs(&plan_of_items, strategy, &Place::default())), ["_0 a", "_1 b"]);
    let text = pipeline("a,b", "strategy: {parallelism: \"<+pipeline.variables.list>.split(',').size()\"}", "");
    let plan_of_copies = plan(&text);
    let strategy = only_stage(&plan_of_copies).strategy.as_ref().expect("a strategy");
    assert_eq!(short(&runs(&plan_of_copies, strategy, &Place::default())), ["_0 0", "_1 1"]);
}

#[test]
fn runs_of_several_axes_are_called_by_the_position_on_each() {
    let text = pipeline("", "strategy: {matrix: {a: [x, y], b: [1, 2], exclude: [{a: x, b: 1}]}}", "");
    let plan = plan(&text);
    let strategy = only_stage(&plan).strategy.as_ref().expect("a strategy");
    let names = short(&runs(&plan, strategy, &Place::default()));
    assert_eq!(names, ["_0_1 a=x, b=2", "_1_0 a=y, b=1", "_1_1 a=y, b=2"]);
}

/// What an expression in the step sees, in the last run of the stage's strategy and the last of the step's.
#[track_caller]
fn seen_in_step(plan: &Plan, expression: &str) -> String {
    let stage = only_stage(plan);
    let kiln_pipeline::plan::StepNode::Step(step) = &stage.steps.nodes[0].item else { panic!("a step") };
    let outer: Option<Iteration> =
        stage.strategy.as_ref().and_then(|strategy| runs(plan, strategy, &Place::default()).iterations.pop());
    let mut place = Place { stage: Some((stage, "s_1")), stage_run: outer.as_ref(), ..Place::default() };
    let inner = step.strategy.as_ref().and_then(|strategy| runs(plan, strategy, &place).iterations.pop());
    place.runs = inner.iter().map(|run| Looped { id: "t", group: false, run }).collect();
    let book = Book::new(plan, &Facts::default(), &[], "run", 0);
    Template::render_text(expression, &book.scope(&place)).unwrap_or_else(|| "no value".to_owned())
}

#[test]
fn a_steps_matrix_sees_the_stages_and_each_keeps_its_own() {
    let text = pipeline(
        "",
        "strategy: {matrix: {v: [1, 2], only: [o]}}",
        "strategy: {matrix: {v: [\"<+stage.matrix.v>0\", \"<+stage.matrix.v>1\"]}}",
    );
    let plan = plan(&text);
    for (expression, expected) in [
        ("<+stage.matrix.v>", "2"),
        ("<+matrix.v>", "21"),
        ("<+step.matrix.v>", "21"),
        ("<+matrix.only>", "o"),
        ("<+stage.matrix.only>", "o"),
        ("<+stage.strategy.iteration>", "1"),
        ("<+stage.strategy.identifierPostFix>", "_1_0"),
        ("<+strategy.identifierPostFix>", "_1"),
        ("<+step.identifierPostFix> <+stage.identifierPostFix>", "_1 _1_0"),
        ("<+strategy.node.s.identifierPostFix> <+strategy.node.t.identifierPostFix>", "_1_0 _1"),
        ("<+strategy.node.s.matrix.v> of <+strategy.node.s.iterations>", "2 of 2"),
        ("<+strategy.node.get(\"t\").iteration>", "1"),
        ("<+<+strategy.node>.get(\"s\").iteration>", "1"),
        ("<+strategy.currentStatus>", "RUNNING"),
        ("t <+matrix.v> on <+stage.matrix.v>", "t 21 on 2"),
    ] {
        assert_eq!(seen_in_step(&plan, expression), expected, "{expression}");
    }
}

#[test]
fn a_repeated_stage_is_seen_in_a_step_with_a_matrix() {
    let plan = plan(&pipeline("", "strategy: {repeat: {items: [p, q]}}", "strategy: {matrix: {v: [1]}}"));
    assert_eq!(seen_in_step(&plan, "<+repeat.item>/<+matrix.v>"), "q/1");
}

#[test]
fn the_items_of_a_repetition_are_taken_in_parts_and_slices() {
    for (repeat, expected) in [
        ("{items: [a, b, c], partitionSize: 2}", vec!["_0 a, b", "_1 c"]),
        ("{items: <+pipeline.variables.list>, partitionSize: 50, unit: Percentage}", vec!["_0 a, b", "_1 c"]),
        ("{items: <+pipeline.variables.list>, start: 1}", vec!["_0 b", "_1 c"]),
        ("{items: [a, b, c], start: 0, end: 50, unit: Percentage}", vec!["_0 a", "_1 b"]),
        (
            "{items: <+pipeline.variables.list>, end: \"<+pipeline.variables.list.split(',').get(0).length()>\"}",
            vec!["_0 a"],
        ),
        // As in Harness, a number of runs has nothing to be taken of.
        ("{times: 2, start: 1, end: 2, partitionSize: 9}", vec!["_0 0", "_1 1"]),
    ] {
        let plan = plan(&pipeline("a,b,c", &format!("strategy: {{repeat: {repeat}}}"), ""));
        let strategy = only_stage(&plan).strategy.as_ref().expect("a strategy");
        assert_eq!(short(&runs(&plan, strategy, &Place::default())), expected, "{repeat}");
    }
    let text = pipeline(
        "",
        "strategy: {repeat: {items: [a, b, c], partitionSize: 2}}",
        "strategy: {repeat: {items: <+repeat.partition>}}",
    );
    let plan_of_parts = plan(&text);
    assert_eq!(seen_in_step(&plan_of_parts, "<+repeat.item> of <+stage.repeat.partition>"), "c of [\"c\"]");
}

#[test]
fn the_stages_matrix_is_checked_before_the_run() {
    let named = |stage: &str| {
        let text = pipeline("", stage, "strategy: {matrix: {w: [\"<+stage.matrix.v>\"]}}");
        read(&text).report.diagnostics.iter().map(|found| found.message.clone()).collect::<Vec<_>>()
    };
    let note = "the stage names no infrastructure, it gets a Linux machine";
    assert_eq!(named("strategy: {matrix: {v: [1]}}"), [note]);
    assert!(named("").contains(&"`<+stage.matrix.v>`: the stage has no matrix".to_owned()), "{:?}", named(""));
    let other = named("strategy: {matrix: {u: [1]}}");
    assert!(other.contains(&"`<+stage.matrix.v>`: the matrix has no axis `v`".to_owned()), "{other:?}");
}

#[test]
fn what_stands_beside_the_pipeline_is_a_warning() {
    let loaded = read(&format!("version: 1\n{}", pipeline("", "", "")));
    assert_eq!(loaded.report.status(), Status::Ok, "{}", loaded.report.text(false));
    assert!(loaded.report.diagnostics.iter().any(|found| found.message.contains("`version`")));
}

#[test]
fn a_timeout_below_ten_seconds_is_refused_as_in_harness() {
    for (written, ok) in [("9s", false), ("500ms", false), ("10s", true), ("1m", true)] {
        for text in [pipeline("", &format!("timeout: {written}"), ""), pipeline("", "", &format!("timeout: {written}"))]
        {
            let report = read(&text).report;
            assert_eq!(report.status() == Status::Ok, ok, "{}", report.text(false));
            assert_eq!(report.diagnostics.iter().any(|found| found.code == "out-of-range"), !ok);
        }
    }
}

#[test]
fn steps_of_other_systems_are_refused_with_the_way_out() {
    for (kind, wanted) in [("Action", "`Run` step"), ("Bitrise", "`Run` step")] {
        let text = pipeline("", "", "").replace("type: Run", &format!("type: {kind}"));
        let report = read(&text).report;
        assert_eq!(report.status(), Status::Unsupported);
        let found = report.diagnostics.iter().find(|found| found.code == "step-type").expect("a finding");
        let help = found.help.as_deref().unwrap_or_default();
        assert!(help.contains(wanted) && help.contains(&kind.to_lowercase()), "{help}");
    }
}

#[test]
fn a_note_that_holds_in_many_places_stands_once_with_their_lines() {
    let stage = |name: &str| {
        format!(
            "    - stage: {{name: {name}, type: CI, spec: {{execution: {{steps: [{{step: {{name: t, type: Run, spec: {{command: x}}}}}}]}}}}}}\n"
        )
    };
    let stages: String = ["a", "b", "c"].map(stage).concat();
    let report = read(&format!("pipeline:\n  name: p\n  stages:\n{stages}")).report;
    let notes: Vec<&str> = report.diagnostics.iter().map(|found| found.message.as_str()).collect();
    assert_eq!(notes, ["the stage names no infrastructure, it gets a Linux machine (also in lines 5, 6)"]);
}

#[test]
fn a_count_that_is_not_written_in_decimal_is_refused() {
    for strategy in ["{parallelism: 0x2}", "{repeat: {times: 0o2}}", "{repeat: {items: [a], partitionSize: 1.5}}"] {
        let report = read(&pipeline("", &format!("strategy: {strategy}"), "")).report;
        assert!(
            report.diagnostics.iter().any(|found| found.code == "out-of-range"),
            "{strategy}: {}",
            report.text(false)
        );
    }
}
