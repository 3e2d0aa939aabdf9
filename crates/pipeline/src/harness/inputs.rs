//! `<+input>`: values that are given before the run.
//!
//! They are put into the tree before anything else looks at it, so that a given value is checked exactly like one
//! that is written in the file. What stays open is for [`crate::plan::Plan::inputs`] to tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kiln_document::diagnostic::{Diagnostic, Findings, Location};
use kiln_document::schema::did_you_mean;
use kiln_document::yaml::{Kind, Node, Resolved, Scalar};

use super::input_sets::{self, ItemPath, Set, below};

/// The paths by which values are given for inputs that are still open, by their place in the file.
pub(super) type Open = HashMap<usize, String>;

/// The caller's values, and what became of them.
pub(super) struct Inputs<'a> {
    given: &'a BTreeMap<String, String>,
    sets: &'a [Set],
    used: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl<'a> Inputs<'a> {
    pub fn new(given: &'a BTreeMap<String, String>, sets: &'a [Set]) -> Inputs<'a> {
        Inputs { given, sets, used: BTreeSet::new(), names: BTreeSet::new() }
    }

    /// Puts the caller's values, and the defaults where there are none, in their places. Returns what is still open.
    pub fn fill(&mut self, root: &mut Node, findings: &mut Findings) -> Open {
        let values: Vec<BTreeMap<String, &Node>> = self.sets.iter().map(Set::values).collect();
        let (used, names) = (&mut self.used, &mut self.names);
        let mut fill =
            Fill { given: self.given, sets: &values, defaults: true, used, names, open: Open::new(), findings };
        fill.walk(root, "");
        fill.open
    }

    /// Reports values that have no place in the pipeline.
    pub fn unused(&self, findings: &mut Findings) {
        for name in self.given.keys().filter(|name| !self.used.contains(*name) && !is_outside(name)) {
            let message = format!("a value is given for `{name}`, which this pipeline does not have");
            let mut found = Diagnostic::invalid("unknown-input", &Location::default(), message);
            found.help = did_you_mean(name, self.names.iter().map(String::as_str));
            findings.push(found);
        }
        // What is below a value that was taken as a whole was taken with it.
        let taken = |path: &str| {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| self.used.contains(&path[..end]))
        };
        self.sets.iter().for_each(|set| set.unused(taken, findings));
    }
}

/// Puts the values of a template's `templateInputs` into its content. What has no value there is left as it is.
pub(super) fn fill_template(content: &mut Node, given: &Node, findings: &mut Findings) {
    let (nothing, sets) = (BTreeMap::new(), [input_sets::values(given, "")]);
    let (mut used, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut fill = Fill {
        given: &nothing,
        sets: &sets,
        defaults: false,
        used: &mut used,
        names: &mut names,
        open: Open::new(),
        findings,
    };
    fill.walk(content, "");
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

struct Fill<'a, 'v> {
    given: &'a BTreeMap<String, String>,
    /// Values of input sets by their paths; the last set comes first.
    sets: &'a [BTreeMap<String, &'v Node>],
    /// Whether an input that nobody gave takes its default.
    defaults: bool,
    used: &'a mut BTreeSet<String>,
    names: &'a mut BTreeSet<String>,
    open: Open,
    findings: &'a mut Findings,
}

impl Fill<'_, '_> {
    fn walk(&mut self, node: &mut Node, path: &str) {
        match &mut node.kind {
            Kind::Mapping(entries) => {
                for (key, value) in entries {
                    let key = key.text().unwrap_or_default();
                    self.walk(value, &below(path, key));
                }
            }
            Kind::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    match input_sets::item_path(item, path, index) {
                        ItemPath::Whole(path) => self.walk(item, &path),
                        ItemPath::Variable(path) => self.variable(item, &path),
                        ItemPath::Entries(paths) => {
                            let Kind::Mapping(entries) = &mut item.kind else { continue };
                            for ((_, value), path) in entries.iter_mut().zip(paths) {
                                self.walk(value, &path);
                            }
                        }
                    }
                }
            }
            Kind::Scalar(_) => self.scalar(node, path, None),
        }
    }

    /// Fills the value of a declared variable, which may be given by the variable's name alone.
    fn variable(&mut self, item: &mut Node, path: &str) {
        let name = item.get("name").and_then(Node::text).unwrap_or_default().to_owned();
        let Kind::Mapping(entries) = &mut item.kind else { return };
        let default = entries.iter().find(|(key, _)| key.text() == Some("default"));
        let default = default.and_then(|(_, value)| value.text()).map(str::to_owned);
        for (key, value) in entries {
            if key.text() == Some("value") && matches!(value.kind, Kind::Scalar(_)) {
                self.scalar(value, path, Some(&name));
                // A variable's `default` is what an input that nobody gave falls back to.
                if let (true, Some(default), Some(Input { default: None, .. })) =
                    (self.defaults, &default, value.text().and_then(Input::parse))
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
        let text = match name {
            Some(name) => {
                self.used.insert(name.to_owned());
                self.given.get(name).cloned()
            }
            None => None,
        };
        let Some(input) = input else {
            text.iter().for_each(|text| replace(node, text));
            return;
        };
        let in_set = self.sets.iter().rev().find_map(|set| set.get(path));
        if in_set.is_some() {
            self.used.insert(path.to_owned());
        }
        let value = match (text, in_set) {
            (Some(text), _) => from_text(&text, path, &node.location),
            // An input that is handed on as an input stays one.
            (None, Some(value)) if value.text().is_none_or(|text| Input::parse(text).is_none()) => {
                relocated((*value).clone(), &node.location)
            }
            (None, _) => match input.default.as_ref().filter(|_| self.defaults) {
                Some(default) => from_text(default, path, &node.location),
                None => {
                    self.open.insert(node.location.span.start, path.to_owned());
                    return;
                }
            },
        };
        let refused = |text: &str| !input.allowed.is_empty() && !input.allowed.iter().any(|allowed| allowed == text);
        if let Some(text) = value.text().filter(|text| refused(text)) {
            let message = format!("`{text}` is not allowed for `{path}`");
            let found = Diagnostic::invalid("input-not-allowed", &node.location, message);
            self.findings.push(found.help(format!("allowed: {}", input.allowed.join(", "))));
        }
        *node = value;
    }
}

/// Returns a value that is given as text. Where a strategy takes a list or a mapping, it is YAML, or values between commas.
fn from_text(text: &str, path: &str, place: &Location) -> Node {
    let scalar = |text: &str| {
        let kind = Kind::Scalar(Scalar { text: text.to_owned(), resolved: Resolved::Text, plain: false });
        Node { kind, location: place.clone() }
    };
    let Some(wanted) = Wanted::at(path) else { return scalar(text) };
    if text.trim_start().starts_with(['[', '{']) {
        let mut findings = Findings::new(false);
        let documents = kiln_document::yaml::parse(text.as_bytes(), &mut findings);
        if let (None, Ok([read])) = (findings.heaviest(), <[Node; 1]>::try_from(documents)) {
            return relocated(read, place);
        }
    }
    match wanted {
        Wanted::List if !text.contains(crate::expr::MARKER) => Node {
            kind: Kind::Sequence(text.split(',').map(|item| scalar(item.trim())).collect()),
            location: place.clone(),
        },
        Wanted::List | Wanted::Mapping => scalar(text),
    }
}

/// What a place of a strategy takes.
enum Wanted {
    List,
    Mapping,
}

impl Wanted {
    fn at(path: &str) -> Option<Wanted> {
        let mut segments = path.rsplit('.');
        match (segments.next()?, segments.next(), segments.next()) {
            ("strategy", _, _) | ("matrix" | "repeat", Some("strategy"), _) => Some(Wanted::Mapping),
            ("nodeName" | "maxConcurrency", Some("matrix"), _) => None,
            (_, Some("matrix"), Some("strategy")) | ("items", Some("repeat"), Some("strategy")) => Some(Wanted::List),
            _ => None,
        }
    }
}

/// Returns a value as if it stood at another place, with all that is below it.
fn relocated(mut node: Node, place: &Location) -> Node {
    fn walk(node: &mut Node, place: &Location) {
        node.location = place.clone();
        match &mut node.kind {
            Kind::Scalar(_) => {}
            Kind::Sequence(items) => items.iter_mut().for_each(|item| walk(item, place)),
            Kind::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
                walk(key, place);
                walk(value, place);
            }),
        }
    }
    walk(&mut node, place);
    node
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
