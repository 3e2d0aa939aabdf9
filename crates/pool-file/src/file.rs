//! The file as a whole.

use std::collections::{BTreeMap, HashMap};

use kiln_document::diagnostic::Diagnostic;
use kiln_document::schema::{Shape, closest};
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
        // A value of the wrong kind has been reported.
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

/// Returns the finding for a file that has its pools elsewhere than under `instances`: in a list at its top, under
/// another name, or, as in `drone-runner-aws` of 2021, one at the top of each document.
pub(crate) fn other_format(root: &Node, drivers: Drivers<'_>) -> Option<Diagnostic> {
    let is_list_of_pools =
        |node: &Node| node.items().is_some_and(|items| items.iter().any(|item| item.entry("name").is_some()));
    if is_list_of_pools(root) {
        let found = Diagnostic::invalid("no-instances", &root.location, "the list of pools has no name");
        return Some(found.help("write a line `instances:` above the list"));
    }
    // A misspelt key is reported as such.
    let near = |key: &Node| key.text().is_some_and(|text| closest(text, ["instances", "kiln"]).is_some());
    let entries = root.entries().filter(|_| root.entry("instances").is_none())?;
    if entries.iter().any(|(key, value)| near(key) && value.items().is_some()) {
        return None;
    }
    if let Some((key, _)) = entries.iter().find(|(_, value)| is_list_of_pools(value)) {
        let name = key.text().unwrap_or_default();
        let message = format!("the list of pools is called `{name}`, which nothing reads");
        return Some(Diagnostic::invalid("no-instances", &key.location, message).help("call it `instances`"));
    }
    let name = root.get("name")?;
    if root.get("spec").is_some() {
        let found = Diagnostic::invalid("no-instances", &name.location, "a pool is at the top of the file");
        return Some(found.help(
            "pools are a list: write a line `instances:` above it, `- ` before its first key, and indent the others",
        ));
    }
    let message = "a pool is at the top of the file, as it did in 2021; pools are a list under `instances` now";
    let help = format!("write {}, and move what described the instance into `spec`", drivers.example());
    Some(Diagnostic::invalid("format-2021", &name.location, message).help(help))
}

/// Returns the pools with distinct, valid names.
fn named<'n>(items: &'n [Node], reader: &mut Reader<'_>) -> Vec<(String, &'n Node)> {
    let mut named = Vec::new();
    let mut lines: HashMap<&str, u32> = HashMap::new();
    for node in items.iter().filter(|node| node.entries().is_some() || node.is_null()) {
        let Some(place) = node.get("name") else {
            let help = "requests ask for a pool by its name: `name: linux-amd64`";
            reader.invalid("missing-key", &node.location, "a pool has no `name`".to_owned(), help);
            continue;
        };
        // A value other than text has been reported.
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
