//! Expands a matrix, a repetition or a parallelism into its runs.

use std::collections::HashMap;
use std::ops::Range;

use kiln_document::diagnostic::Location;

use crate::expr::{EvalError, Map, Scope, Template, Value};
use crate::plan::{Axis, AxisValue, Cut, Strategy, StrategyKind};

/// Most runs of a strategy.
pub const MAX_ITERATIONS: usize = 256;

/// One run of a strategy.
#[derive(Debug, Clone, PartialEq)]
pub struct Iteration {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub total: u32,
    /// What its id has after that of its item: `_0_1`, the positions on the axes, or `_2`; `_` and the `nodeName`, where
    /// there is one.
    pub postfix: String,
    /// Name for people: `jdk=11, os=linux`.
    pub title: String,
    /// `<+matrix.*>`
    pub matrix: Map,
    /// `<+repeat.item>`
    pub item: Value,
    /// `<+repeat.partition>`, a list.
    pub partition: Value,
}

/// The runs of a strategy, and how many of them may run at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// In order.
    pub iterations: Vec<Iteration>,
    /// At least 1.
    pub max_concurrency: usize,
    /// Whether runs that have not begun are skipped once one has failed.
    pub skip_queued: bool,
}

/// Why a strategy cannot be expanded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StrategyError {
    /// A value of it could not be worked out.
    #[error("line {}: the strategy's `{what}` has no value", .at.line)]
    Value {
        /// Which part.
        what: String,
        /// Where the strategy stands.
        at: Location,
        /// Why.
        #[source]
        source: EvalError,
    },
    /// A value of it is of the wrong kind.
    #[error("line {}: the strategy's `{what}` must be {needs}, and is `{got}`", .at.line)]
    Kind {
        /// Which part.
        what: String,
        /// What it must be.
        needs: &'static str,
        /// What it is.
        got: String,
        /// Where the strategy stands.
        at: Location,
    },
    /// Too many runs.
    #[error("line {}: the strategy stands for {count} runs; at most {MAX_ITERATIONS} are allowed", .at.line)]
    TooMany {
        /// How many.
        count: usize,
        /// Where the strategy stands.
        at: Location,
    },
}

/// Returns the runs that a strategy stands for.
///
/// # Errors
/// A value that cannot be worked out or is of the wrong kind, or too many runs.
pub fn expand(strategy: &Strategy, scope: &Scope) -> Result<Expansion, StrategyError> {
    let at = &strategy.location;
    let mut iterations = match &strategy.kind {
        StrategyKind::Matrix { axes, exclude, node_name } => matrix(axes, exclude, node_name.as_ref(), scope, at)?,
        StrategyKind::Input { what, value } => {
            let value = value.value(scope);
            return Err(match value {
                Err(source) => StrategyError::Value { what: (*what).into(), at: at.clone(), source },
                Ok(got) => StrategyError::Kind {
                    what: (*what).into(),
                    needs: "known before the run",
                    got: got.to_string(),
                    at: at.clone(),
                },
            });
        }
        StrategyKind::Parallelism(count) => copies(number("parallelism", count, scope, at)?, at)?,
        StrategyKind::Times(count) => copies(number("repeat.times", count, scope, at)?, at)?,
        StrategyKind::Items { items, cut } => repetition(items, cut, scope, at)?,
    };
    let total = u32::try_from(iterations.len()).unwrap_or(u32::MAX);
    for (index, iteration) in (0..).zip(&mut iterations) {
        (iteration.index, iteration.total) = (index, total);
        if iteration.postfix.is_empty() {
            iteration.postfix = format!("_{index}");
        }
    }
    tell_apart(&mut iterations);
    let all = iterations.len().max(1);
    let max_concurrency = match &strategy.max_concurrency {
        None => all,
        // 0 means no limit, as in the dialect.
        Some(limit) => match number("maxConcurrency", limit, scope, at)? {
            0 => all,
            limit => limit.min(all),
        },
    };
    Ok(Expansion { iterations, max_concurrency, skip_queued: strategy.skip_queued })
}

fn blank() -> Iteration {
    Iteration {
        index: 0,
        total: 0,
        postfix: String::new(),
        title: String::new(),
        matrix: Map::new(),
        item: Value::Null,
        partition: Value::Null,
    }
}

/// Adds the number of the run to postfixes that a `nodeName` gave to several runs: ids have to differ.
fn tell_apart(iterations: &mut [Iteration]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for iteration in iterations.iter() {
        *counts.entry(iteration.postfix.clone()).or_default() += 1;
    }
    for iteration in iterations.iter_mut().filter(|iteration| counts[&iteration.postfix] > 1) {
        iteration.postfix = format!("{}_{}", iteration.postfix, iteration.index);
    }
}

fn few(count: usize, at: &Location) -> Result<(), StrategyError> {
    if count > MAX_ITERATIONS { Err(StrategyError::TooMany { count, at: at.clone() }) } else { Ok(()) }
}

fn copies(count: usize, at: &Location) -> Result<Vec<Iteration>, StrategyError> {
    few(count, at)?;
    Ok((0..count).map(|index| Iteration { title: index.to_string(), ..blank() }).collect())
}

fn repetition(items: &Axis, cut: &Cut, scope: &Scope, at: &Location) -> Result<Vec<Iteration>, StrategyError> {
    let mut items = axis_values("repeat.items", items, scope, at)?;
    let (start, end, percent) = match cut {
        Cut::Parts { size, percent } => {
            let size = number("repeat.partitionSize", size, scope, at)?;
            let size = if *percent { share(items.len(), size) } else { size }.max(1);
            few(items.len().div_ceil(size), at)?;
            let part = |part: &[Value]| {
                let title = part.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
                Iteration { title, partition: Value::List(part.to_vec()), ..blank() }
            };
            return Ok(items.chunks(size).map(part).collect());
        }
        Cut::Slice { start, end, percent } => (start.as_ref(), end.as_ref(), *percent),
        Cut::All => (None, None, false),
    };
    let bound = |what: &str, bound: Option<&Template>| bound.map(|bound| number(what, bound, scope, at)).transpose();
    let kept = slice(items.len(), bound("repeat.start", start)?, bound("repeat.end", end)?, percent);
    items.truncate(kept.end);
    let items = items.split_off(kept.start);
    few(items.len(), at)?;
    Ok(items.into_iter().map(|item| Iteration { title: item.to_string(), item, ..blank() }).collect())
}

/// Returns which of so many items lie between two bounds, the second one excluded. As in Harness, hundredths are rounded, and an
/// end of at least one hundredth leaves an item.
pub(crate) fn slice(count: usize, start: Option<usize>, end: Option<usize>, percent: bool) -> Range<usize> {
    let (start, end) = match percent {
        true => (start.map(|start| share(count, start)), end.map(|end| share(count, end).max(usize::from(end > 0)))),
        false => (start, end),
    };
    let end = end.unwrap_or(count).min(count);
    start.unwrap_or(0).min(end)..end
}

/// So many hundredths of a count, rounded.
fn share(count: usize, hundredths: usize) -> usize {
    count.saturating_mul(hundredths).saturating_add(50) / 100
}

fn matrix(
    axes: &[(String, Axis)],
    exclude: &[Vec<(String, Template)>],
    node_name: Option<&Template>,
    scope: &Scope,
    at: &Location,
) -> Result<Vec<Iteration>, StrategyError> {
    let mut combinations = vec![(String::new(), Map::new())];
    for (name, axis) in axes {
        let values = axis_values(name, axis, scope, at)?;
        few(combinations.len().saturating_mul(values.len()), at)?;
        let mut longer = Vec::new();
        for (postfix, map) in &combinations {
            for (position, value) in values.iter().enumerate() {
                let mut map = map.clone();
                map.insert(name, value.clone());
                longer.push((format!("{postfix}_{position}"), map));
            }
        }
        combinations = longer;
    }
    let mut excluded = Vec::new();
    for entry in exclude {
        let fields = entry.iter().map(|(name, value)| Ok((name.as_str(), text("exclude", value, scope, at)?)));
        excluded.push(fields.collect::<Result<Vec<_>, StrategyError>>()?);
    }
    let left_out = |map: &Map| {
        excluded
            .iter()
            .any(|entry| entry.iter().all(|(name, value)| map.get(name).is_some_and(|v| v.to_string() == *value)))
    };
    combinations.retain(|(_, map)| !left_out(map));
    let named = |(postfix, matrix): (String, Map)| {
        let Some(template) = node_name else {
            let title = matrix.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
            return Ok(Iteration { title, postfix, matrix, ..blank() });
        };
        let mut scope = scope.clone();
        for (name, value) in matrix.iter() {
            scope.set(&["matrix", name], value.clone());
        }
        let title = text("nodeName", template, &scope, at)?;
        let postfix = if title.is_empty() { postfix } else { format!("_{}", identifier(&title)) };
        Ok(Iteration { title, postfix, matrix, ..blank() })
    };
    combinations.into_iter().map(named).collect()
}

/// Returns a name as the part of an id: what cannot stand there becomes `_`, and what is too long is left off.
fn identifier(name: &str) -> String {
    /// Most characters of a `nodeName` in an id, as in Harness.
    const LONGEST: usize = 126;
    name.chars().take(LONGEST).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn axis_values(what: &str, axis: &Axis, scope: &Scope, at: &Location) -> Result<Vec<Value>, StrategyError> {
    let template = match axis {
        Axis::List(items) => return items.iter().map(|item| axis_value(what, item, scope, at)).collect(),
        Axis::Expr(template) => template,
    };
    let value =
        template.value(scope).map_err(|source| StrategyError::Value { what: what.into(), at: at.clone(), source })?;
    match value {
        Value::List(items) => Ok(items),
        // A list that came out of a step is text: JSON, or values between commas.
        Value::String(list) => Ok(match serde_json::from_str(&list) {
            Ok(serde_json::Value::Array(items)) => items.into_iter().map(Value::from).collect(),
            _ => list.split(',').map(|item| Value::from(item.trim())).collect(),
        }),
        other => {
            Err(StrategyError::Kind { what: what.into(), needs: "a list", got: other.to_string(), at: at.clone() })
        }
    }
}

fn axis_value(what: &str, value: &AxisValue, scope: &Scope, at: &Location) -> Result<Value, StrategyError> {
    match value {
        AxisValue::Scalar(template) => {
            template.value(scope).map_err(|source| StrategyError::Value { what: what.into(), at: at.clone(), source })
        }
        AxisValue::Object(fields) => {
            let mut map = Map::new();
            for (name, field) in fields {
                map.insert(name, axis_value(what, field, scope, at)?);
            }
            Ok(map.into())
        }
    }
}

fn text(what: &str, template: &Template, scope: &Scope, at: &Location) -> Result<String, StrategyError> {
    template.render(scope).map_err(|source| StrategyError::Value { what: what.into(), at: at.clone(), source })
}

fn number(what: &str, template: &Template, scope: &Scope, at: &Location) -> Result<usize, StrategyError> {
    let text = text(what, template, scope, at)?;
    text.trim().parse().map_err(|_| StrategyError::Kind {
        what: what.into(),
        needs: "a whole number",
        got: text,
        at: at.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> AxisValue {
        AxisValue::Scalar(Template::literal(text))
    }

    fn axis(name: &str, values: &[&str]) -> (String, Axis) {
        (name.to_owned(), Axis::List(values.iter().map(|v| scalar(v)).collect()))
    }

    fn check(kind: StrategyKind, limit: Option<&str>, expect: &str) {
        let max_concurrency = limit.map(Template::literal);
        let location = Location { line: 7, ..Location::default() };
        let strategy = Strategy { kind, max_concurrency, skip_queued: false, location };
        let scope = Scope::new(Map::from_iter([("list", "[\"x\", \"y\"]"), ("words", "p, q"), ("bad", "many")]));
        let got = match expand(&strategy, &scope) {
            Err(error) => error.to_string(),
            Ok(e) => {
                let titles: Vec<_> =
                    e.iterations.iter().map(|i| format!("{}/{} {}", i.postfix, i.total, i.title)).collect();
                format!("{} at {}", titles.join("; "), e.max_concurrency)
            }
        };
        assert_eq!(got, expect);
    }

    fn matrix_of(axes: Vec<(String, Axis)>, exclude: &[&[(&str, &str)]]) -> StrategyKind {
        let exclude = exclude
            .iter()
            .map(|entry| entry.iter().map(|(n, v)| ((*n).to_owned(), Template::literal(*v))).collect())
            .collect();
        StrategyKind::Matrix { axes, exclude, node_name: None }
    }

    #[test]
    fn strategies_stand_for_their_runs() {
        let template = |text: &str| Template::parse(text, &Location::default()).unwrap();
        let two = || vec![axis("a", &["1", "2"]), axis("b", &["x", "y"])];
        check(matrix_of(two(), &[]), None, "_0_0/4 a=1, b=x; _0_1/4 a=1, b=y; _1_0/4 a=2, b=x; _1_1/4 a=2, b=y at 4");
        check(
            matrix_of(two(), &[&[("a", "1"), ("b", "y")]]),
            Some("2"),
            "_0_0/3 a=1, b=x; _1_0/3 a=2, b=x; _1_1/3 a=2, b=y at 2",
        );
        check(matrix_of(two(), &[&[("a", "1")]]), Some("0"), "_1_0/2 a=2, b=x; _1_1/2 a=2, b=y at 2");
        check(StrategyKind::Parallelism(template("3")), None, "_0/3 0; _1/3 1; _2/3 2 at 3");
        let items = |text: &str, cut| StrategyKind::Items { items: Axis::Expr(template(text)), cut };
        check(items("<+list>", Cut::All), None, "_0/2 x; _1/2 y at 2");
        check(items("<+words>", Cut::All), None, "_0/2 p; _1/2 q at 2");
        let slice = |start: &str, end: &str| Cut::Slice {
            start: Some(template(start)),
            end: Some(template(end)),
            percent: false,
        };
        check(items("<+words>", slice("1", "9")), None, "_0/1 q at 1");
        check(items("<+words>", slice("0", "0")), None, " at 1");
        let parts = |size: &str, percent| Cut::Parts { size: template(size), percent };
        check(items("a,b,c,<+words>", parts("2", false)), Some("1"), "_0/3 a, b; _1/3 c, p; _2/3 q at 1");
        check(items("a,b,c,<+words>", parts("50", true)), None, "_0/2 a, b, c; _1/2 p, q at 2");
        check(items("<+words>", parts("9", false)), None, "_0/1 p, q at 1");
        check(StrategyKind::Times(template("0")), None, " at 1");
    }

    #[test]
    fn bounds_in_hundredths_are_rounded_as_in_harness() {
        for (count, start, end, expected) in [
            (10, Some(0), Some(50), 0..5),
            (10, Some(50), Some(100), 5..10),
            (3, Some(50), None, 2..3),
            (3, None, Some(50), 0..2),
            (3, None, Some(1), 0..1),
            (3, None, Some(0), 0..0),
            (3, Some(100), None, 3..3),
            (0, Some(50), Some(100), 0..0),
        ] {
            assert_eq!(slice(count, start, end, true), expected, "{start:?} to {end:?} of {count}");
        }
        assert_eq!(slice(5, Some(4), Some(2), false), 2..2);
        assert_eq!(slice(usize::MAX, None, Some(usize::MAX), true).start, 0);
    }

    #[test]
    fn a_node_name_is_the_runs_title_and_part_of_its_id() {
        let template = |text: &str| Some(Template::parse(text, &Location::default()).unwrap());
        let named = |node_name| {
            let axes = vec![axis("a", &["1.2", "2"]), axis("b", &["x", "y"])];
            StrategyKind::Matrix { axes, exclude: Vec::new(), node_name }
        };
        check(
            named(template("v<+matrix.a>-<+matrix.b>")),
            None,
            "_v1_2_x/4 v1.2-x; _v1_2_y/4 v1.2-y; _v2_x/4 v2-x; _v2_y/4 v2-y at 4",
        );
        // Ids differ also where names do not.
        check(named(template("<+matrix.b>")), None, "_x_0/4 x; _y_1/4 y; _x_2/4 x; _y_3/4 y at 4");
    }

    #[test]
    fn strategies_that_stand_for_nothing_say_why() {
        let template = |text: &str| Template::parse(text, &Location::default()).unwrap();
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let wide = vec![axis("a", &many), axis("b", &many)];
        check(matrix_of(wide, &[]), None, "line 7: the strategy stands for 289 runs; at most 256 are allowed");
        let bad = "line 7: the strategy's `repeat.times` must be a whole number, and is `many`";
        check(StrategyKind::Times(template("<+bad>")), None, bad);
        check(StrategyKind::Times(template("<+nothing>")), None, "line 7: the strategy's `repeat.times` has no value");
    }
}
