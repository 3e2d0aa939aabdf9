//! The limits that the documentation states are those of the program.

use kiln_document::yaml;
use kiln_pipeline::{environment, expr, harness, strategy};

#[test]
fn the_documented_limits_are_the_programs() {
    let text = include_str!("../../../docs/pipelines.md");
    let table = text.split("## Limits").nth(1).expect("the section");
    let row = |line: &str| -> Option<(String, usize)> {
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        let (of, limit) = (cells.next()?, cells.next()?);
        Some((of.to_owned(), limit.split(' ').next()?.parse().ok()?))
    };
    let documented: Vec<(String, usize)> = table.lines().filter_map(row).collect();
    let expected = [
        ("a file: size", yaml::MAX_BYTES),
        ("a file: documents", yaml::MAX_DOCUMENTS),
        ("a file: values, with those that aliases stand for", yaml::MAX_NODES),
        ("a file: nesting", yaml::MAX_DEPTH),
        ("a file: text that aliases stand for", yaml::MAX_ALIAS_BYTES),
        ("stages of a pipeline, steps of a list", harness::MAX_ITEMS),
        ("runs of a strategy", strategy::MAX_ITERATIONS),
        ("retries of a step", harness::MAX_RETRIES as usize),
        ("links to templates in a pipeline", harness::MAX_LINKS),
        ("templates in templates", harness::MAX_TEMPLATES),
        ("an expression: size", expr::MAX_EXPRESSION_BYTES),
        ("an expression: nesting", expr::MAX_NESTING),
        ("an expression: fields and operators", expr::MAX_LINKS),
        ("an expression: variables that refer to variables", expr::MAX_INDIRECTIONS),
        ("an expression: result", expr::MAX_TEXT_BYTES),
        ("an environment variable of a step", environment::LARGEST_VARIABLE_BYTES),
        ("the environment of a step", environment::LARGEST_BYTES),
    ];
    assert_eq!(documented, expected.map(|(of, limit)| (of.to_owned(), limit)));
}
