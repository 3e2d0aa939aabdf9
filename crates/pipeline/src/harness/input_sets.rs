//! Input sets: files with values for a pipeline's inputs, in the shape of the pipeline.
//!
//! A set is a tree, and a value in it has the path that the input has in the pipeline: stages and steps are named by their
//! identifiers, variables by their names.

use std::collections::BTreeMap;

use kiln_document::diagnostic::{Diagnostic, Findings, Location};
use kiln_document::yaml::{self, Kind, Node};

use crate::options::Source;

/// The values of one set, by their paths.
#[derive(Debug)]
pub(super) struct Set {
    /// What messages call it.
    file: String,
    /// `pipeline` and what is below it.
    root: Node,
}

/// Reads sets. What is wrong with one is told with the name of its file.
pub(super) fn read(sources: &[Source], findings: &mut Findings) -> Vec<Set> {
    sources.iter().filter_map(|source| one(source, findings)).collect()
}

fn one(source: &Source, findings: &mut Findings) -> Option<Set> {
    let mut own = Findings::new(false);
    let documents = yaml::parse(&source.bytes, &mut own);
    let mut broken = false;
    for found in own.into_sorted() {
        broken |= found.severity > kiln_document::Severity::Warning;
        findings.push(elsewhere(&source.name, found));
    }
    let named = |code, message: String, help: &str| {
        Diagnostic::invalid(code, &Location::default(), format!("`{}`: {message}", source.name)).help(help)
    };
    let root = documents.first();
    if root.is_some_and(|root| root.entry("overlayInputSet").is_some()) {
        let help = "give the input sets that it lists, in their order: `--inputs a.yml --inputs b.yml`";
        findings.push(named("input-set", "an overlay names input sets that are kept elsewhere".to_owned(), help));
        return None;
    }
    let pipeline = root.and_then(|root| root.get("inputSet").unwrap_or(root).get("pipeline")).cloned();
    match pipeline {
        Some(pipeline) if pipeline.entries().is_some() => Some(Set { file: source.name.clone(), root: pipeline }),
        _ if broken => None,
        _ => {
            let help = "an input set has `inputSet:` and below it `pipeline:` with the values";
            findings.push(named("input-set", "this is no input set".to_owned(), help));
            None
        }
    }
}

/// Returns a finding about another file than the one that is read, which names that file and its line.
pub(super) fn elsewhere(file: &str, found: Diagnostic) -> Diagnostic {
    let line = found.location.line;
    Diagnostic { message: format!("`{file}`, line {line}: {}", found.message), location: Location::default(), ..found }
}

impl Set {
    /// Returns every value by its path.
    pub fn values(&self) -> BTreeMap<String, &Node> {
        values(&self.root, "pipeline")
    }

    /// Reports the values for which the pipeline has no input: they would change nothing. `used` and `asked` are paths.
    pub fn unused(&self, used: impl Fn(&str) -> bool, findings: &mut Findings) {
        /// Keys that say which part of the pipeline is meant.
        const NAMING: [&str; 5] = ["identifier", "name", "type", "projectIdentifier", "orgIdentifier"];
        for (path, value) in self.values() {
            let last = path.rsplit('.').next().unwrap_or_default();
            let is_value = match &value.kind {
                Kind::Scalar(_) => !value.is_null(),
                Kind::Sequence(items) => items.iter().all(|item| matches!(item.kind, Kind::Scalar(_))),
                Kind::Mapping(_) => false,
            };
            if is_value
                && !NAMING.contains(&last)
                && !used(&path)
                && !value.text().is_some_and(|t| t.starts_with("<+input>"))
            {
                let message = format!("`{path}` has no `<+input>` in this pipeline; the value has no effect");
                let found = Diagnostic::warning("unused-input", &value.location, message);
                findings.push(elsewhere(&self.file, found));
            }
        }
    }
}

/// Returns every value below a node by its path; `path` is that of the node.
pub(super) fn values<'n>(node: &'n Node, path: &str) -> BTreeMap<String, &'n Node> {
    let mut found = BTreeMap::new();
    walk(node, path, &mut found);
    found
}

fn walk<'n>(node: &'n Node, path: &str, found: &mut BTreeMap<String, &'n Node>) {
    found.entry(path.to_owned()).or_insert(node);
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                walk(value, &below(path, key.text().unwrap_or_default()), found);
            }
        }
        Kind::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                match item_path(item, path, index) {
                    ItemPath::Whole(path) => walk(item, &path, found),
                    ItemPath::Variable(path) => {
                        if let Some(value) = item.get("value") {
                            walk(value, &path, found);
                        }
                    }
                    ItemPath::Entries(entries) => {
                        for (index, path) in entries.into_iter().enumerate() {
                            if let Some((_, value)) = item.entries().and_then(|all| all.get(index)) {
                                walk(value, &path, found);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How an item of a list is named in paths.
pub(super) enum ItemPath {
    /// The item itself has the path.
    Whole(String),
    /// The item is a declared variable, whose value has the path.
    Variable(String),
    /// Each of the item's values has a path, in their order.
    Entries(Vec<String>),
}

/// Returns how an item of the list at `path` is named.
pub(super) fn item_path(item: &Node, path: &str, index: usize) -> ItemPath {
    let Some(entries) = item.entries() else { return ItemPath::Whole(below(path, &index.to_string())) };
    if path == "variables" || path.ends_with(".variables") {
        return ItemPath::Variable(below(path, item.get("name").and_then(Node::text).unwrap_or_default()));
    }
    let paths = entries.iter().map(|(key, value)| match key.text().unwrap_or_default() {
        "stage" | "step" | "stepGroup" => {
            let id = value.get("identifier").or_else(|| value.get("name")).and_then(Node::text);
            below(path, id.unwrap_or_default())
        }
        "parallel" => path.to_owned(),
        other => below(&below(path, &index.to_string()), other),
    });
    ItemPath::Entries(paths.collect())
}

/// Returns the path of a key below a path. The length is bounded: nobody types longer paths, and every value has one.
pub(super) fn below(path: &str, key: &str) -> String {
    const MAX_PATH: usize = 500;
    match path.len() + key.len() {
        0..=MAX_PATH if path.is_empty() => key.to_owned(),
        0..=MAX_PATH => format!("{path}.{key}"),
        _ => path.to_owned(),
    }
}
