//! `<+input>`: values that are given before the run.
//!
//! They are put into the tree before anything else looks at it, so that a given value is checked exactly like one
//! that is written in the file. What stays open is for [`crate::plan::Plan::inputs`] to tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kiln_document::diagnostic::{Diagnostic, Findings, Location};
use kiln_document::schema::did_you_mean;
use kiln_document::yaml::{Kind, Node, Resolved, Scalar};

/// The paths by which values are given for inputs that are still open, by their place in the file.
pub(super) type Open = HashMap<usize, String>;

/// Puts the caller's values, and the defaults where there are none, in their places. Returns what is still open.
pub(super) fn fill(root: &mut Node, given: &BTreeMap<String, String>, findings: &mut Findings) -> Open {
    let mut fill = Fill { given, used: BTreeSet::new(), names: BTreeSet::new(), open: Open::new(), findings };
    fill.walk(root, "");
    let Fill { used, names, findings, open, .. } = fill;
    for name in given.keys().filter(|name| !used.contains(*name) && !is_outside(name)) {
        let message = format!("a value is given for `{name}`, which this pipeline does not have");
        let mut found = Diagnostic::invalid("unknown-input", &Location::default(), message);
        found.help = did_you_mean(name, names.iter().map(String::as_str));
        findings.push(found);
    }
    open
}

/// Tells whether a path names something outside of the file: `codebase.tag`, `trigger.branch`.
fn is_outside(name: &str) -> bool {
    let outside = ["codebase", "trigger", "account", "org", "project", "infra", "eventPayload"];
    name.split_once('.').is_some_and(|(root, _)| outside.contains(&root))
}

/// A value that is one `<+input>` as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Input {
    /// The text in `.default(...)`.
    default: Option<String>,
    /// The texts in `.allowedValues(...)` and its relatives; empty when everything is allowed.
    allowed: Vec<String>,
}

impl Input {
    /// Parses an input. Returns none when the text is anything else. Modifiers that only a form could use are skipped.
    fn parse(text: &str) -> Option<Input> {
        let mut rest = text.trim().strip_prefix("<+input>")?;
        let mut input = Input { default: None, allowed: Vec::new() };
        while !rest.is_empty() {
            let (name, after) = rest.strip_prefix('.')?.split_once('(')?;
            let end = closing(after)?;
            let argument = &after[..end];
            match name {
                "default" => input.default = Some(unquoted(argument)),
                "allowedValues" | "selectOneFrom" | "selectManyFrom" => {
                    input.allowed = argument.split(',').map(unquoted).collect();
                }
                _ => {}
            }
            rest = &after[end + 1..];
        }
        Some(input)
    }
}

/// Returns where the bracket closes that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => open += 1,
            ')' if open == 0 => return Some(at),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(text).to_owned()
}

struct Fill<'a> {
    given: &'a BTreeMap<String, String>,
    used: BTreeSet<String>,
    names: BTreeSet<String>,
    open: Open,
    findings: &'a mut Findings,
}

impl Fill<'_> {
    fn walk(&mut self, node: &mut Node, path: &str) {
        match &mut node.kind {
            Kind::Mapping(entries) => {
                for (key, value) in entries {
                    let key = key.text().unwrap_or_default();
                    self.walk(value, &below(path, key));
                }
            }
            Kind::Sequence(items) if path.ends_with(".variables") => {
                for item in items {
                    self.variable(item, path);
                }
            }
            Kind::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.item(item, path, index);
                }
            }
            Kind::Scalar(_) => self.scalar(node, path, None),
        }
    }

    /// Fills the inputs of a list's item. Stages and steps are named by their identifiers, all others by their number.
    fn item(&mut self, item: &mut Node, path: &str, index: usize) {
        let Kind::Mapping(entries) = &mut item.kind else { return self.walk(item, &below(path, &index.to_string())) };
        for (key, value) in entries {
            match key.text().unwrap_or_default() {
                "stage" | "step" | "stepGroup" => {
                    let id = value.get("identifier").or_else(|| value.get("name")).and_then(Node::text);
                    let inner = below(path, id.unwrap_or_default());
                    self.walk(value, &inner);
                }
                "parallel" => self.walk(value, path),
                other => {
                    let inner = below(&below(path, &index.to_string()), other);
                    self.walk(value, &inner);
                }
            }
        }
    }

    /// Fills the value of a declared variable, which may be given by the variable's name alone.
    fn variable(&mut self, item: &mut Node, path: &str) {
        let name = item.get("name").and_then(Node::text).unwrap_or_default().to_owned();
        let Kind::Mapping(entries) = &mut item.kind else { return };
        let default = entries.iter().find(|(key, _)| key.text() == Some("default"));
        let default = default.and_then(|(_, value)| value.text()).map(str::to_owned);
        let full = below(path, &name);
        for (key, value) in entries {
            if key.text() == Some("value") && matches!(value.kind, Kind::Scalar(_)) {
                self.scalar(value, &full, Some(&name));
                // A variable's `default` is what an input that nobody gave falls back to.
                if let (Some(default), Some(Input { default: None, .. })) =
                    (&default, value.text().and_then(Input::parse))
                {
                    replace(value, default);
                }
            }
        }
    }

    fn scalar(&mut self, node: &mut Node, path: &str, variable: Option<&str>) {
        let input = node.text().and_then(Input::parse);
        if input.is_none() && variable.is_none() {
            return;
        }
        self.names.insert(path.to_owned());
        self.names.extend(variable.map(str::to_owned));
        let name = [Some(path), variable].into_iter().flatten().find(|name| self.given.contains_key(*name));
        let value = match name {
            Some(name) => {
                self.used.insert(name.to_owned());
                self.given.get(name).cloned()
            }
            None => input.as_ref().and_then(|input| input.default.clone()),
        };
        let Some(value) = value else {
            self.open.insert(node.location.span.start, path.to_owned());
            return;
        };
        if let Some(input) = input.filter(|input| !input.allowed.is_empty() && !input.allowed.contains(&value)) {
            let message = format!("`{value}` is not allowed for `{path}`");
            let found = Diagnostic::invalid("input-not-allowed", &node.location, message);
            self.findings.push(found.help(format!("allowed: {}", input.allowed.join(", "))));
        }
        replace(node, &value);
    }
}

/// Returns the path of a key below a path. The length is bounded: nobody types longer paths, and every value has one.
fn below(path: &str, key: &str) -> String {
    const MAX_PATH: usize = 500;
    match path.len() + key.len() {
        0..=MAX_PATH if path.is_empty() => key.to_owned(),
        0..=MAX_PATH => format!("{path}.{key}"),
        _ => path.to_owned(),
    }
}

fn replace(node: &mut Node, value: &str) {
    node.kind = Kind::Scalar(Scalar { text: value.to_owned(), resolved: Resolved::Text, plain: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs() {
        let input = |default: Option<&str>, allowed: &[&str]| {
            Some(Input {
                default: default.map(str::to_owned),
                allowed: allowed.iter().map(|&text| text.to_owned()).collect(),
            })
        };
        let cases = [
            ("<+input>", input(None, &[])),
            (" <+input> ", input(None, &[])),
            ("<+input>.default(main)", input(Some("main"), &[])),
            ("<+input>.default('a b').allowedValues(a b,c)", input(Some("a b"), &["a b", "c"])),
            ("<+input>.allowedValues(\"x\", y).executionInput()", input(None, &["x", "y"])),
            ("<+input>.regex(^v(1|2)$).default(v1)", input(Some("v1"), &[])),
            ("<+input>.default(", None),
            ("<+input>!", None),
            ("v<+input>", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Input::parse(text), expected, "{text}");
        }
    }
}
