//! Reads the variables of a step: its `environment`, and a plugin's `settings` in the form that its container gets.

use kiln_document::yaml::{Kind, MAX_DEPTH, Node, Resolved};

use super::reader::Reader;
use crate::expr::Template;
use crate::plan::EnvVar;

/// Reads `settings` as `PLUGIN_NAME=value`: scalars as they are, lists of scalars with commas, everything else as JSON.
pub(super) fn read(reader: &mut Reader<'_>, step: &Node) -> Vec<EnvVar> {
    let entries = step.get("settings").and_then(Node::entries).unwrap_or_default();
    let setting = |(key, value): &(Node, Node)| {
        let name: String = key.text()?.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() }).collect();
        Some(EnvVar { name: format!("PLUGIN_{name}"), value: self::value(reader, value) })
    };
    entries.iter().filter_map(setting).collect()
}

/// Returns the value of a variable or a setting.
pub(super) fn value(reader: &mut Reader<'_>, node: &Node) -> Template {
    if let Some(name) = node.get("from_secret").and_then(Node::text) {
        return Template::secret(name);
    }
    match &node.kind {
        Kind::Scalar(_) => reader.template(node),
        Kind::Sequence(items) if items.iter().all(|item| item.text().is_some()) => {
            let mut parts = Vec::new();
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    parts.push(Template::literal(","));
                }
                parts.push(reader.template(item));
            }
            Template::joined(parts)
        }
        _ => {
            let json = to_json(node, 0).to_string();
            Template::substituted(&json, &node.location).unwrap_or_else(|_| Template::literal(json))
        }
    }
}

/// Reads the `environment` of a pipeline or a step.
pub(super) fn environment(reader: &mut Reader<'_>, node: &Node) -> Vec<EnvVar> {
    let entries = node.get("environment").and_then(Node::entries).unwrap_or_default();
    let variable =
        |(key, value): &(Node, Node)| Some(EnvVar { name: key.text()?.to_owned(), value: self::value(reader, value) });
    entries.iter().filter_map(variable).collect()
}

fn to_json(node: &Node, depth: usize) -> serde_json::Value {
    // No file is deeper: the reader of YAML has refused it.
    if depth > MAX_DEPTH {
        return serde_json::Value::Null;
    }
    match &node.kind {
        Kind::Sequence(items) => items.iter().map(|item| to_json(item, depth + 1)).collect(),
        Kind::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), to_json(value, depth + 1)))
            .collect(),
        Kind::Scalar(scalar) => match scalar.resolved {
            Resolved::Null => serde_json::Value::Null,
            Resolved::Bool => scalar.text.eq_ignore_ascii_case("true").into(),
            Resolved::Int | Resolved::Float => {
                serde_json::from_str(&scalar.text).unwrap_or_else(|_| scalar.text.clone().into())
            }
            Resolved::Text => scalar.text.clone().into(),
        },
    }
}
