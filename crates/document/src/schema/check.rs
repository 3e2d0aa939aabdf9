//! Checks a tree against its table.

use std::fmt::Write as _;

use super::{Key, Role, Shape, Table, did_you_mean};
use crate::diagnostic::{Diagnostic, Findings, Location, Severity};
use crate::yaml::{Kind, Node, Resolved, unquoted};
use crate::{duration, lookalike};

/// Rules for checking the files of one language against their tables.
#[derive(Debug, Clone, Copy)]
pub struct Language<'t> {
    /// Text that starts an expression. An expression may stand for any value and is only known when the file is carried
    /// out.
    pub expression_marker: Option<&'static str>,
    /// Whether the language's own parser ignores unknown keys. If so, an unknown key is an error only when it is close
    /// to a known one or in the wrong place.
    pub ignores_unknown: bool,
    /// All tables of the language, so that a finding can say where a misplaced key belongs.
    pub tables: &'t [&'static Table],
}

/// Reports everything in `node` that does not have the shape `shape`. Returns whether the node itself, apart from its
/// content, is of the right kind.
pub fn check(node: &Node, shape: &Shape, language: Language<'_>, findings: &mut Findings) -> bool {
    Walk { language, findings }.value(node, shape, "this")
}

/// Returns the boolean that a scalar stands for, in any of the spellings that YAML 1.1 parsers accept.
#[must_use]
pub fn truth(node: &Node) -> Option<bool> {
    match node.text()?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

struct Walk<'a> {
    language: Language<'a>,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn is_expression(&self, node: &Node) -> bool {
        let marker = self.language.expression_marker;
        marker.is_some_and(|marker| node.text().is_some_and(|text| text.contains(marker)))
    }

    fn value(&mut self, node: &Node, shape: &Shape, what: &str) -> bool {
        if node.is_null() || self.is_expression(node) {
            return true;
        }
        match shape {
            Shape::Any => true,
            Shape::Text => self.scalar(node, what, "text", |_| true),
            Shape::Bool => {
                self.scalar(node, what, "true or false", |node| truth(node).is_some() || node.text() == Some(""))
            }
            Shape::Number => {
                self.scalar(node, what, "a number", |node| is_number(node) || node.text() == Some(""))
                    && self.one_reading(node, what)
            }
            Shape::Duration => self.duration(node, what),
            Shape::Enum(words) => self.word(node, what, words, false),
            Shape::OpenEnum(words) => self.word(node, what, words, true),
            Shape::List(item) => self.list(node, what, item),
            Shape::OneOrMore(item) => match &node.kind {
                Kind::Sequence(_) => self.list(node, what, item),
                _ => self.value(node, item, what),
            },
            Shape::Map(value) => self.map(node, what, value),
            Shape::Of(table) => self.table(node, what, table),
            Shape::AnyOf(shapes) => match shapes.iter().find(|shape| fits(node, shape)) {
                Some(shape) => self.value(node, shape, what),
                None => self.mismatch(node, what, &alternatives(shapes)),
            },
        }
    }

    fn scalar(&mut self, node: &Node, what: &str, wanted: &str, holds: impl Fn(&Node) -> bool) -> bool {
        if matches!(node.kind, Kind::Scalar(_)) && holds(node) { true } else { self.mismatch(node, what, wanted) }
    }

    fn mismatch(&mut self, node: &Node, what: &str, wanted: &str) -> bool {
        self.unfit(node, what, wanted, None)
    }

    /// Reports a value of the wrong kind, with advice.
    fn unfit(&mut self, node: &Node, what: &str, wanted: &str, help: Option<&str>) -> bool {
        let found = match node.text() {
            Some(text) if text.chars().count() <= 40 && !text.contains('\n') => format!("`{text}`"),
            _ => node.kind_name().to_owned(),
        };
        let message = format!("{what} takes {wanted}, not {found}");
        self.findings.push(match colon(node).filter(|_| wanted == "text") {
            Some(colon) => {
                let message = format!("{message}: the `:` here makes one");
                Diagnostic::invalid("wrong-type", &colon, message).help(unquoted::of_mapping(what))
            }
            None => {
                let mut found = Diagnostic::invalid("wrong-type", &node.location, message);
                found.help = help.map(str::to_owned);
                found
            }
        });
        false
    }

    /// Reports a number that is read differently by the programs for which the file was written, because they read YAML
    /// 1.1.
    fn one_reading(&mut self, node: &Node, what: &str) -> bool {
        let Some((octal, decimal)) = readings(node).filter(|(octal, decimal)| octal != decimal) else { return true };
        let text = node.text().unwrap_or_default();
        let message = format!("{what} is {octal} in YAML 1.1 and {decimal} in YAML 1.2: `{text}`");
        let found = Diagnostic::invalid("two-readings", &node.location, message);
        self.findings.push(found.help(format!("write `{octal}` or `{decimal}`")));
        false
    }

    fn duration(&mut self, node: &Node, what: &str) -> bool {
        let Some(text) = node.text() else { return self.mismatch(node, what, "a duration such as `10m`") };
        if text.trim().is_empty() || duration::parse(text).is_some() {
            return true;
        }
        let message = format!("{what} takes a duration, not `{text}`");
        self.findings.push(
            Diagnostic::invalid("bad-duration", &node.location, message)
                .help("a duration is a number with w, d, h, m, s or ms: `10m`, `1h 30m`, `500ms`"),
        );
        false
    }

    fn word(&mut self, node: &Node, what: &str, words: &[&'static str], open: bool) -> bool {
        let Some(text) = node.text() else { return self.mismatch(node, what, &format!("one of {}", words.join(", "))) };
        if text.is_empty() || words.contains(&text) {
            return true;
        }
        let message = format!("{what} cannot be `{text}`");
        let mut found = match open {
            true => Diagnostic::warning("unknown-value", &node.location, message),
            false => Diagnostic::invalid("unknown-value", &node.location, message),
        };
        found.help = did_you_mean(text, words.iter().copied());
        self.findings.push(found);
        open
    }

    fn list(&mut self, node: &Node, what: &str, item: &Shape) -> bool {
        let Some(items) = node.items() else { return self.no_list(node, what, item) };
        for element in items {
            self.value(element, item, &format!("an item of {what}"));
        }
        true
    }

    /// Reports a value in the place of a list. A mapping with the keys of the list's items lacks their `-`.
    fn no_list(&mut self, node: &Node, what: &str, item: &Shape) -> bool {
        let first = node.entries().and_then(|entries| entries.first()).and_then(|(key, _)| key.text());
        let help = match (item, first) {
            (Shape::Of(table), Some(key)) if table.key(key).is_some() => {
                Some(format!("begin each item with `- `: `- {key}: ...`"))
            }
            _ => node.text().map(|_| "put each item on a line of its own, after a `- `".to_owned()),
        };
        self.unfit(node, what, "a list", help.as_deref())
    }

    fn map(&mut self, node: &Node, what: &str, value: &Shape) -> bool {
        let Some(entries) = node.entries() else { return self.mismatch(node, what, "a mapping") };
        for (key, element) in entries {
            self.value(element, value, &format!("`{}`", key.text().unwrap_or_default()));
        }
        true
    }

    fn table(&mut self, node: &Node, what: &str, table: &Table) -> bool {
        let Some(entries) = node.entries() else {
            let name = if what == "this" { with_article(table.name) } else { what.to_owned() };
            return self.mismatch(node, &name, "a mapping");
        };
        let free: Vec<&str> = match entries.iter().all(|(key, _)| table.key(key.text().unwrap_or_default()).is_some()) {
            true => Vec::new(),
            false => table.keys.iter().map(|key| key.name).filter(|known| node.entry(known).is_none()).collect(),
        };
        // The known key without a value right above, and the unknown keys that belong below it.
        let mut empty: Option<(&Node, &Key, Vec<&Node>)> = None;
        for (key, value) in entries {
            match (table.key(key.text().unwrap_or_default()), &mut empty) {
                (None, Some((_, above, below))) if belongs_below(key, above, &free) => below.push(key),
                (None, _) => self.unknown(key, table, &free),
                (Some(known), _) => {
                    self.beside(empty.take(), table);
                    self.known(key, value, known);
                    empty = value.is_null().then(|| (key, known, Vec::new()));
                }
            }
        }
        self.beside(empty, table);
        true
    }

    /// Reports keys at the level of the key that they belong below.
    fn beside(&mut self, empty: Option<(&Node, &Key, Vec<&Node>)>, table: &Table) {
        let Some((key, known, below)) = empty.filter(|(.., below)| !below.is_empty()) else { return };
        let names: Vec<String> = below.iter().map(|key| format!("`{}`", key.text().unwrap_or_default())).collect();
        let verb = if names.len() == 1 { "stands" } else { "stand" };
        let message = format!("`{}` is empty, and {} {verb} beside it", known.name, listed(&names));
        let sure = matches!(known.shape, Shape::Of(_));
        let weigh = match self.findings.lenient || !sure && (table.open || self.language.ignores_unknown) {
            true => Diagnostic::warning,
            false => Diagnostic::invalid,
        };
        let help = format!("indent the lines below `{}:`", known.name);
        self.findings.push(weigh("empty-key", &key.location, message).help(help));
    }

    fn known(&mut self, key: &Node, value: &Node, known: &Key) {
        let fits = self.value(value, &known.shape, &format!("`{}`", known.name));
        if !fits || !says_something(value) {
            return;
        }
        // A reader takes collections apart before the run.
        let collection = matches!(known.shape, Shape::List(_) | Shape::Map(_) | Shape::Of(_));
        if collection && known.role == Role::Read && !known.may_be_expression && self.is_expression(value) {
            let message =
                format!("`{}` has to be written out, `{}` is only known in the run", known.name, quoted(value));
            self.findings.push(Diagnostic::unsupported("expression-not-possible", &value.location, message));
        }
        match known.role {
            Role::Read | Role::Describes => {}
            Role::NoEffect(why) => {
                let message = format!("`{}` has no effect here: {why}", known.name);
                self.findings.push(Diagnostic::note("no-effect", &key.location, message));
            }
            Role::Unsupported(what) => {
                let message = format!("`{}` is not run yet: {what}", known.name);
                self.findings.push(Diagnostic::unsupported("unsupported-key", &key.location, message));
            }
        }
    }

    /// Reports an unknown key. `free` are the table's keys that the mapping does not have yet; one of them may have
    /// been meant.
    fn unknown(&mut self, key: &Node, table: &Table, free: &[&str]) {
        let name = key.text().unwrap_or_default();
        let message = format!("unknown key `{name}` in {}", with_article(table.name));
        if self.findings.is_full(Severity::Invalid) {
            // The finding would only be counted, and the file is already invalid.
            return self.findings.push(Diagnostic::invalid("unknown-key", &key.location, message));
        }
        let near = super::closest(name, free.iter().copied());
        let homes: Vec<&Table> =
            self.language.tables.iter().copied().filter(|table| table.key(name).is_some()).collect();
        // A misplaced key of the dialect that has no effect in its right place has none here.
        let harmless =
            !homes.is_empty() && homes.iter().filter_map(|home| home.key(name)).all(|key| key.role != Role::Read);
        let ignored = self.language.ignores_unknown && near.is_none() && homes.is_empty();
        let weigh = if lookalike::is_in(name) {
            Diagnostic::invalid
        } else if table.open || harmless || ignored || self.findings.lenient {
            Diagnostic::warning
        } else {
            Diagnostic::invalid
        };
        let mut found = weigh("unknown-key", &key.location, message);
        found.help = match (near, homes.as_slice()) {
            (Some(word), _) => Some(format!("did you mean `{word}`?")),
            (None, []) => did_you_mean(name, free.iter().copied()),
            (None, homes) => Some(belongs(name, homes)),
        };
        self.findings.push(found);
    }
}

/// Returns whether an unknown key belongs below a known one that has no value.
fn belongs_below(key: &Node, above: &Key, free: &[&str]) -> bool {
    let name = key.text().unwrap_or_default();
    let holds = match above.shape {
        Shape::Of(table) => table.key(name).is_some(),
        Shape::Map(_) | Shape::Any => above.role == Role::Read,
        _ => false,
    };
    holds && !lookalike::is_in(name) && super::closest(name, free.iter().copied()).is_none()
}

/// Joins names: `a`, `a and b`, `a, b and 3 more`.
fn listed(names: &[String]) -> String {
    /// Most names that are written out.
    const NAMED: usize = 4;
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if names.len() <= NAMED => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..NAMED - 1].join(", "), names.len() + 1 - NAMED),
    }
}

/// Returns the place of a colon that makes a mapping of a probable text: a mapping without brackets whose first key has
/// its value, or nothing, in the same line.
fn colon(node: &Node) -> Option<Location> {
    let (key, value) = node.entries()?.first()?;
    if key.location.span.start != node.location.span.start
        || !value.is_null() && value.location.line != key.location.line
    {
        return None;
    }
    let at = &key.location;
    let written =
        key.text().filter(|text| text.len() == at.span.len()).map_or(at.span.len(), |text| text.chars().count());
    let column = at.column.saturating_add(u32::try_from(written).unwrap_or(u32::MAX));
    Some(Location { line: at.line, column, span: at.span.end..at.span.end + 1 })
}

fn belongs(name: &str, homes: &[&Table]) -> String {
    let mut help = format!("`{name}` is a key of ");
    for (index, home) in homes.iter().take(3).enumerate() {
        let _ = write!(help, "{}{}", if index == 0 { "" } else { " or " }, with_article(home.name));
    }
    help
}

/// Returns a table's name with its article: "a step", "an output variable". A name that is a key of the file gets none.
#[must_use]
pub fn with_article(name: &str) -> String {
    if name.starts_with('`') && name.ends_with('`') {
        name.to_owned()
    } else if name.starts_with(['a', 'e', 'i', 'o', 'u']) {
        format!("an {name}")
    } else {
        format!("a {name}")
    }
}

/// Returns the beginning of a scalar's text.
fn quoted(node: &Node) -> String {
    const SHOWN: usize = 60;
    node.text().unwrap_or_default().chars().take(SHOWN).collect()
}

/// Returns whether a value asks for anything. Settings that are off or empty do not.
fn says_something(value: &Node) -> bool {
    match &value.kind {
        Kind::Scalar(scalar) => !scalar.text.is_empty() && !value.is_null() && truth(value) != Some(false),
        Kind::Sequence(items) => !items.is_empty(),
        Kind::Mapping(entries) => {
            !entries.is_empty() && value.get("enabled").is_none_or(|enabled| truth(enabled) != Some(false))
        }
    }
}

/// Returns whether a value is a number in any form: `2`, `0x1F`, `1e3`.
#[must_use]
pub fn is_number(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(scalar) => {
            matches!(scalar.resolved, Resolved::Int | Resolved::Float) || scalar.text.trim().parse::<f64>().is_ok()
        }
        _ => false,
    }
}

/// Returns the value of a number that begins with a zero, in base 8 as in YAML 1.1, and in base 10.
fn readings(node: &Node) -> Option<(i64, i64)> {
    let Kind::Scalar(scalar) = &node.kind else { return None };
    let digits = scalar.text.trim_start_matches(['+', '-']);
    let is_octal = scalar.plain && scalar.resolved == Resolved::Int && digits.starts_with('0');
    is_octal.then(|| Some((i64::from_str_radix(&scalar.text, 8).ok()?, scalar.text.parse().ok()?))).flatten()
}

fn fits(node: &Node, shape: &Shape) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Text | Shape::Enum(_) | Shape::OpenEnum(_) | Shape::Duration => matches!(node.kind, Kind::Scalar(_)),
        Shape::Bool => truth(node).is_some(),
        Shape::Number => is_number(node),
        Shape::List(_) => matches!(node.kind, Kind::Sequence(_)),
        Shape::OneOrMore(_) => true,
        Shape::Map(_) | Shape::Of(_) => matches!(node.kind, Kind::Mapping(_)),
        Shape::AnyOf(shapes) => shapes.iter().any(|shape| fits(node, shape)),
    }
}

fn alternatives(shapes: &[Shape]) -> String {
    let names: Vec<&str> = shapes
        .iter()
        .map(|shape| match shape {
            Shape::Bool => "true or false",
            Shape::Number => "a number",
            Shape::Duration => "a duration",
            Shape::List(_) | Shape::OneOrMore(_) => "a list",
            Shape::Map(_) | Shape::Of(_) => "a mapping",
            _ => "text",
        })
        .collect();
    names.join(" or ")
}
