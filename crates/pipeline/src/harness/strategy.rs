//! Reads `strategy`: matrix, parallelism, repeat.

use kiln_document::diagnostic::{Diagnostic, Location};
use kiln_document::schema::{did_you_mean, is_number};
use kiln_document::yaml::{Kind, Node};

use super::reader::{Reader, is_expression};
use crate::expr::Template;
use crate::plan::{Axis, AxisValue, Cut, Strategy, StrategyKind};
use crate::strategy::slice;

/// Keys of `matrix` that are not axes.
const NO_AXES: &[&str] = &["exclude", "maxConcurrency", "nodeName"];

/// Reads the strategy of a stage, group or step.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Strategy> {
    let (key, strategy) = node.entry("strategy")?;
    if is_expression(strategy) {
        return Some(to_be_given(reader, "strategy", strategy, &key.location));
    }
    let kinds: Vec<&str> =
        ["matrix", "parallelism", "repeat"].into_iter().filter(|kind| strategy.get(kind).is_some()).collect();
    if let [first, second, ..] = kinds.as_slice() {
        let message = format!("a strategy has `{first}` or `{second}`, not both");
        reader.push(Diagnostic::invalid("conflicting-keys", &key.location, message));
        return None;
    }
    let skip_queued = reader.fixed(strategy, "onFailure") == Some("SkipQueued");
    let own = positive(reader, strategy, "maxConcurrency");
    let (kind, inner) = match kinds.first() {
        Some(&"matrix") if strategy.get("matrix").is_some_and(is_expression) => {
            return Some(to_be_given(reader, "matrix", strategy.get("matrix")?, &key.location));
        }
        Some(&"matrix") => matrix(reader, strategy.get("matrix")?)?,
        Some(&"parallelism") => (StrategyKind::Parallelism(positive(reader, strategy, "parallelism")?), None),
        Some(_) => repeat(reader, strategy.get("repeat")?)?,
        None => {
            if strategy.entries().is_some_and(|entries| !entries.is_empty()) {
                let message = "the strategy says neither how many runs nor with what";
                let help = "give it `matrix`, `parallelism` or `repeat`";
                reader.missing(strategy, &["matrix", "parallelism", "repeat"], &key.location, message, help);
            }
            return None;
        }
    };
    Some(Strategy { kind, max_concurrency: inner.or(own), skip_queued, location: key.location.clone() })
}

/// Returns a strategy that is an expression as a whole. Only an `<+input>` can be given before the run, and the runs have
/// to be known when the stage or step begins.
fn to_be_given(reader: &mut Reader<'_>, what: &'static str, value: &Node, at: &Location) -> Strategy {
    let template = reader.template(value);
    if !template.inputs() {
        let text = value.text().unwrap_or_default();
        let message = format!("a strategy has to be written out, `{text}` is only known in the run");
        let found = Diagnostic::unsupported("expression-not-possible", &value.location, message);
        reader.push(found.help("an axis may be an expression: `matrix: {axis: <+...>}`"));
    }
    let kind = StrategyKind::Input { what, value: template };
    Strategy { kind, max_concurrency: None, skip_queued: false, location: at.clone() }
}

type Read = Option<(StrategyKind, Option<Template>)>;

/// Reads a template that is an expression or a whole number from 1; for `maxConcurrency`, 0 means no limit.
fn positive(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<Template> {
    whole(reader, node, key, u32::from(key != "maxConcurrency"))
}

/// Reads a template that is an expression or a whole number from `least`.
fn whole(reader: &mut Reader<'_>, node: &Node, key: &str, least: u32) -> Option<Template> {
    let value = node.get(key)?;
    let text = value.text()?.trim();
    if !is_expression(value) && !text.parse::<u32>().is_ok_and(|number| number >= least) {
        // What is no number at all was reported by the check, but for the keys of a matrix, which has no table.
        if key == "maxConcurrency" || is_number(value) {
            let message = format!("`{key}` takes a whole number from {least}, not `{text}`");
            reader.push(Diagnostic::invalid("out-of-range", &value.location, message));
        }
        return None;
    }
    Some(reader.whole(value))
}

fn matrix(reader: &mut Reader<'_>, node: &Node) -> Read {
    let mut axes: Vec<(String, Axis)> = Vec::new();
    for (key, value) in node.entries()? {
        let name = key.text().unwrap_or_default();
        if NO_AXES.contains(&name) {
            continue;
        }
        if let Some(axis) = axis(reader, value, &format!("the axis `{name}`")) {
            axes.push((name.to_owned(), axis));
        }
    }
    if axes.is_empty() {
        if node
            .entries()
            .is_some_and(|entries| entries.iter().all(|(key, _)| NO_AXES.contains(&key.text().unwrap_or_default())))
        {
            reader.push(Diagnostic::invalid("empty-list", &node.location, "the matrix has no axis"));
        }
        return None;
    }
    let exclude = exclude(reader, node, &axes);
    let node_name = reader.unchecked(node, "nodeName");
    let concurrency = positive(reader, node, "maxConcurrency");
    Some((StrategyKind::Matrix { axes, exclude, node_name }, concurrency))
}

fn axis(reader: &mut Reader<'_>, value: &Node, what: &str) -> Option<Axis> {
    match &value.kind {
        Kind::Sequence(items) if items.is_empty() => {
            reader.push(Diagnostic::invalid("empty-list", &value.location, format!("{what} has no values")));
            None
        }
        Kind::Sequence(items) => Some(Axis::List(items.iter().map(|item| axis_value(reader, item)).collect())),
        Kind::Scalar(_) if is_expression(value) => Some(Axis::Expr(reader.whole(value))),
        _ => {
            let found = Diagnostic::invalid(
                "wrong-type",
                &value.location,
                format!("{what} takes a list, not {}", value.kind_name()),
            );
            let found = match value.text() {
                Some(text) => found.help(format!("a list of one value is `[{text}]`")),
                None => found,
            };
            reader.push(found);
            None
        }
    }
}

fn axis_value(reader: &mut Reader<'_>, node: &Node) -> AxisValue {
    match &node.kind {
        Kind::Scalar(_) => AxisValue::Scalar(reader.whole_with_method(node)),
        Kind::Mapping(entries) => AxisValue::Object(
            entries
                .iter()
                .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), axis_value(reader, value)))
                .collect(),
        ),
        // A list inside a value reaches expressions as its JSON, as everything that is no scalar does in Harness.
        Kind::Sequence(_) => AxisValue::Scalar(Template::literal(node.to_json().to_string())),
    }
}

fn exclude(reader: &mut Reader<'_>, node: &Node, axes: &[(String, Axis)]) -> Vec<Vec<(String, Template)>> {
    let Some(list) = node.get("exclude") else { return Vec::new() };
    if is_expression(list) {
        reader.fixed(node, "exclude");
        return Vec::new();
    }
    let Some(items) = list.items() else {
        let message = format!("`exclude` takes a list, not {}", list.kind_name());
        reader.push(Diagnostic::invalid("wrong-type", &list.location, message));
        return Vec::new();
    };
    let mut read = Vec::new();
    for item in items {
        let Some(entries) = item.entries() else {
            let message = format!("an item of `exclude` is a mapping from axes to values, not {}", item.kind_name());
            reader.push(Diagnostic::invalid("wrong-type", &item.location, message));
            continue;
        };
        let mut combination = Vec::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            if !axes.iter().any(|(axis, _)| axis == name) {
                let mut found =
                    Diagnostic::invalid("unknown-axis", &key.location, format!("the matrix has no axis `{name}`"));
                found.help = did_you_mean(name, axes.iter().map(|(axis, _)| axis.as_str()));
                reader.push(found);
            }
            combination.push((name.to_owned(), reader.template(value)));
        }
        read.push(combination);
    }
    read
}

fn repeat(reader: &mut Reader<'_>, node: &Node) -> Read {
    let concurrency = positive(reader, node, "maxConcurrency");
    match (node.get("times"), node.get("items")) {
        (Some(_), Some(items)) => {
            reader.push(Diagnostic::invalid(
                "conflicting-keys",
                &items.location,
                "`repeat` has `times` or `items`, not both",
            ));
            None
        }
        (Some(_), None) => {
            without_effect(reader, node, &["start", "end", "unit", "partitionSize"], "`times`, which counts the runs");
            Some((StrategyKind::Times(positive(reader, node, "times")?), concurrency))
        }
        (None, Some(items)) => {
            let items = axis(reader, items, "`items`")?;
            let cut = cut(reader, node)?;
            if leaves_nothing(&items, &cut) {
                let message = "`start` and `end` leave none of the items";
                reader.push(Diagnostic::invalid("empty-list", &node.location, message));
                return None;
            }
            Some((StrategyKind::Items { items, cut }, concurrency))
        }
        (None, None) => {
            reader.missing(node, &["times", "items"], &node.location, "`repeat` says neither `times` nor `items`", "");
            None
        }
    }
}

/// Notes the keys that Harness passes over beside another one.
fn without_effect(reader: &mut Reader<'_>, node: &Node, keys: &[&str], beside: &str) {
    for (key, value) in keys.iter().filter_map(|key| node.entry(key)) {
        if !value.is_null() {
            let message = format!("`{}` has no effect beside {beside}", key.text().unwrap_or_default());
            reader.push(Diagnostic::note("no-effect", &key.location, message));
        }
    }
}

/// Reads what is taken of the items. Absent when something is wrong with it, which is reported.
fn cut(reader: &mut Reader<'_>, node: &Node) -> Option<Cut> {
    let percent = reader.fixed(node, "unit") == Some("Percentage");
    if node.get("partitionSize").is_some() {
        without_effect(reader, node, &["start", "end"], "`partitionSize`");
        return Some(Cut::Parts { size: whole(reader, node, "partitionSize", 1)?, percent });
    }
    if node.get("start").is_none() && node.get("end").is_none() {
        return Some(Cut::All);
    }
    let mut bound = |key| match node.get(key) {
        Some(_) => whole(reader, node, key, 0).map(Some),
        None => Some(None),
    };
    Some(Cut::Slice { start: bound("start")?, end: bound("end")?, percent })
}

/// Tells what is known before the run: that bounds which are written out leave none of the items that are.
fn leaves_nothing(items: &Axis, cut: &Cut) -> bool {
    let (Axis::List(items), Cut::Slice { start, end, percent }) = (items, cut) else { return false };
    let known = |bound: &Option<Template>| match bound {
        Some(bound) => bound.text().trim().parse().ok().map(Some),
        None => Some(None),
    };
    let (Some(start), Some(end)) = (known(start), known(end)) else { return false };
    slice(items.len(), start, end, *percent).is_empty()
}
