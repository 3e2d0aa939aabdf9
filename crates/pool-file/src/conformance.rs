//! What every driver's section must hold to, as one check that each driver's tests call.

use kiln_document::schema::{Key, Shape, Table};
use kiln_pool::config::Launch;
use serde_json::Value;

use crate::section::{Limit, Section};
use crate::{Loaded, Options, json, load};

/// Returns what is wrong with a section, one sentence for each breach.
///
/// - Its example can be launched.
/// - Every key is documented in `documentation`, as code, and a key that it does not know is reported.
/// - The pool file and the driver agree about each limit: both take its ends, and both refuse what lies beyond. `takes` is
///   the driver's own check of a launch. Zero counts as not said, and only the pool file is asked about it.
#[must_use]
pub fn breaches(section: &dyn Section, documentation: &str, takes: &dyn Fn(&Launch) -> bool) -> Vec<String> {
    let mut breaches = Vec::new();
    let example = file(section, section.example());
    match example.config.as_ref().filter(|_| example.is_ok() && example.report.diagnostics.is_empty()) {
        None => breaches.push(format!("the example is not good: {}", example.report.text(false))),
        Some(config) if !takes(&config.pools["a"].flavors[0].launch) => {
            breaches.push("the driver does not take the example".to_owned());
        }
        Some(_) => {}
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
        if tables.is_empty() || number_at(&section.shape(), limit.path).is_none() {
            breaches.push(format!("`{}` has a limit and is no number of the table", limit.path.join(".")));
        }
        let (start, end) = (*limit.range.start(), *limit.range.end());
        for (number, within) in [(start, true), (end, true), (start - 1, false), (end + 1, false)] {
            breaches.extend(disagreement(section, limit, number, within, takes));
        }
    }
    breaches
}

fn disagreement(
    section: &dyn Section,
    limit: &Limit,
    number: i64,
    within: bool,
    takes: &dyn Fn(&Launch) -> bool,
) -> Option<String> {
    let mut spec = spec_of(section);
    json::put(&mut spec, limit.path, number.into());
    // JSON is YAML.
    let loaded = file(section, &spec.to_string());
    let by_file = loaded.config.is_some();
    let by_driver = if number == 0 { within } else { takes(&section.instances(spec).launch) };
    (by_file != within || by_driver != within).then(|| {
        let verdict = |takes| if takes { "takes" } else { "refuses" };
        let (file, driver) = (verdict(by_file), verdict(by_driver));
        format!("`{}: {number}`: the pool file {file} it, the driver {driver} it", limit.path.join("."))
    })
}

/// The example as JSON.
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

fn number_at(shape: &Shape, path: &[&str]) -> Option<()> {
    match (shape, path) {
        (Shape::Number, []) => Some(()),
        (Shape::Of(table), [key, rest @ ..]) => number_at(&table.key(key)?.shape, rest),
        _ => None,
    }
}

/// Returns whether a text has the key as a word of its own within backquotes.
fn is_documented(key: &Key, documentation: &str) -> bool {
    let code = documentation.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(['.', ' ', ',', '{', '}', ':'])).any(|word| word == key.name)
}
