//! The file as a whole.

use std::collections::{BTreeMap, HashMap};

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::Shape;
use kiln_document::yaml::Node;
use kiln_pool::Config;

use crate::reader::{Reader, Words};
use crate::types::Drivers;
use crate::{additions, instance, tables};

/// Reads the file's only document.
pub(crate) fn read(root: &Node, drivers: Drivers<'_>, reader: &mut Reader<'_>) -> Option<Config> {
    let root = reader.checked(root, &Shape::Of(&tables::FILE), Words::Incumbent)?;
    let items = root.get("instances").and_then(Node::items);
    if items.is_none_or(<[Node]>::is_empty) {
        // A value of the wrong kind was reported.
        if root.get("instances").is_none_or(|value| value.items().is_some()) {
            let place = root.entry("instances").map_or(&root.location, |(key, _)| &key.location);
            reader.push(Diagnostic::invalid("no-pools", place, "the file has no pools").help(drivers.example()));
        }
        return None;
    }
    let named = named(items.unwrap_or_default(), reader);
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    let mut pools = BTreeMap::new();
    for (name, node) in &named {
        if let Some(pool) = instance::read(node, name, &names, drivers, reader) {
            pools.insert(name.clone(), pool);
        }
    }
    additions::tell_unlike(&named, &pools, reader);
    let timing = additions::timing(&root, reader);
    Some(Config { pools, timing })
}

/// Returns what is to be said of a file that has its pools elsewhere than under `instances`: in a list at its top, or, as
/// `drone-runner-aws` had it in 2021, one at the top of each document.
pub(crate) fn other_format(root: &Node, drivers: Drivers<'_>) -> Option<Diagnostic> {
    let (code, message, help) = match root.items() {
        Some(items) if items.iter().any(|item| item.entries().is_some()) => {
            ("no-instances", "the list of pools has no name", "write a line `instances:` above the list".to_owned())
        }
        Some(_) => return None,
        None if root.get("instances").is_none() && root.get("name").is_some() => (
            "format-2021",
            "a pool stands at the top of the file, as it did in 2021; pools are a list under `instances` now",
            format!("write {}, and move what described the instance into `spec`", drivers.example()),
        ),
        None => return None,
    };
    let place = root.get("name").map_or(&root.location, |name| &name.location);
    Some(Diagnostic::invalid(code, place, message).help(help))
}

/// Returns the pools that have a name of their own.
fn named<'n>(items: &'n [Node], reader: &mut Reader<'_>) -> Vec<(String, &'n Node)> {
    let mut named = Vec::new();
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for node in items.iter().filter(|node| node.entries().is_some() || node.is_null()) {
        let Some(place) = node.get("name") else {
            let help = "requests ask for a pool by its name: `name: linux-amd64`";
            reader.invalid("missing-key", &node.location, "a pool has no `name`".to_owned(), help);
            continue;
        };
        // Something else than text was reported.
        let Some(name) = place.text() else { continue };
        if !reader.name("name of the pool", name, &place.location) {
            continue;
        }
        if let Some(line) = lines.get(name) {
            let message = format!("there are two pools of the name `{name}`");
            let help =
                format!("the first one is in line {line}: rename one of them, or make it a variant of the other");
            reader.invalid("duplicate-pool", &place.location, message, &help);
            continue;
        }
        lines.insert(name, place.location.line);
        named.push((name.to_owned(), node));
    }
    named
}
