//! Checks that every driver's section must pass, for each driver's tests.

use kiln_document::schema::{Key, Shape, Table};
use kiln_pool::config::Launch;
use serde_json::Value;

use crate::section::{Limit, Section};
use crate::{Loaded, Options, json, load};

/// Returns the breaches of a section, one sentence for each.
///
/// - Its example is good and has no findings.
/// - Every key is documented in `documentation`, as code, and a key that the section does not know is reported.
/// - Each limit belongs to a number of the table, and the pool file enforces it.
#[must_use]
pub fn breaches(section: &dyn Section, documentation: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let example = file(section, section.example());
    if !example.is_ok() || !example.report.diagnostics.is_empty() {
        breaches.push(format!("the example is not good: {}", example.report.text(false)));
    }
    let mut tables = Vec::new();
    collect(&section.shape(), &mut tables);
    for (table, key) in tables.iter().flat_map(|table| table.keys.iter().map(move |key| (table, key))) {
        if !is_documented(key, documentation) {
            breaches.push(format!("`{}` of {} is not documented", key.name, table.name));
        }
    }
    let misspelt = file(section, "{xImage: a}");
    if !misspelt.report.diagnostics.iter().any(|found| found.code == "unknown-key") {
        breaches.push("an unknown key is not reported".to_owned());
    }
    for limit in section.limits() {
        if !is_number(&section.shape(), limit.path) {
            breaches.push(format!("`{}` has a limit and is no number of the table", limit.path.join(".")));
        }
    }
    breaches.extend(verdicts(section, &|_| None));
    breaches
}

/// Returns where the pool file and the driver disagree about a section's example and limits. Both have to accept the
/// ends of each limit and to refuse values beyond them. `takes` is the driver's own check of a launch. Zero counts as
/// absent, and the driver is not asked about it.
#[must_use]
pub fn disagreements(section: &dyn Section, takes: &dyn Fn(&Launch) -> bool) -> Vec<String> {
    let mut all = verdicts(section, &|launch| Some(takes(launch)));
    if !takes(&section.instances(spec_of(section)).launch) {
        all.insert(0, "the driver refuses the example".to_owned());
    }
    all
}

fn verdicts(section: &dyn Section, takes: &dyn Fn(&Launch) -> Option<bool>) -> Vec<String> {
    let mut all = Vec::new();
    for limit in section.limits() {
        let (start, end) = (*limit.range.start(), *limit.range.end());
        for (number, within) in [(start, true), (end, true), (start - 1, false), (end + 1, false)] {
            all.extend(disagreement(section, limit, number, within, takes));
        }
    }
    all
}

fn disagreement(
    section: &dyn Section,
    limit: &Limit,
    number: i64,
    within: bool,
    takes: &dyn Fn(&Launch) -> Option<bool>,
) -> Option<String> {
    let mut spec = spec_of(section);
    json::put(&mut spec, limit.path, number.into());
    // JSON is YAML.
    let loaded = file(section, &spec.to_string());
    let by_file = loaded.config.is_some();
    let by_driver = if number == 0 { None } else { takes(&section.instances(spec).launch) };
    if by_file == within && by_driver.is_none_or(|taken| taken == within) {
        return None;
    }
    let verdict = |taken| if taken { "takes" } else { "refuses" };
    let driver = by_driver.map_or(String::new(), |taken| format!(", the driver {} it", verdict(taken)));
    Some(format!("`{}: {number}`: the pool file {} it{driver}", limit.path.join("."), verdict(by_file)))
}

/// Returns the example as JSON.
fn spec_of(section: &dyn Section) -> Value {
    let mut findings = kiln_document::diagnostic::Findings::new(false);
    let documents = kiln_document::yaml::parse(section.example().as_bytes(), &mut findings);
    documents.first().map_or(Value::Null, kiln_document::yaml::Node::to_json)
}

fn file(section: &dyn Section, spec: &str) -> Loaded {
    let text = format!("instances: [{{name: a, type: {}, spec: {spec}}}]", section.name());
    load("pool.yml", text.as_bytes(), &Options { env: &|_| None, sections: &[section] })
}

fn collect(shape: &Shape, tables: &mut Vec<&'static Table>) {
    match shape {
        Shape::Of(table) if !tables.iter().any(|known| std::ptr::eq(*known, *table)) => {
            tables.push(table);
            table.keys.iter().for_each(|key| collect(&key.shape, tables));
        }
        Shape::List(inner) | Shape::OneOrMore(inner) | Shape::Map(inner) => collect(inner, tables),
        Shape::AnyOf(shapes) => shapes.iter().for_each(|shape| collect(shape, tables)),
        _ => {}
    }
}

fn is_number(shape: &Shape, path: &[&str]) -> bool {
    match (shape, path) {
        (Shape::Number, []) => true,
        (Shape::Of(table), [key, rest @ ..]) => table.key(key).is_some_and(|key| is_number(&key.shape, rest)),
        _ => false,
    }
}

/// Returns whether a text has the key as a word of its own within backquotes.
fn is_documented(key: &Key, documentation: &str) -> bool {
    let code = documentation.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(['.', ' ', ',', '{', '}', ':'])).any(|word| word == key.name)
}
