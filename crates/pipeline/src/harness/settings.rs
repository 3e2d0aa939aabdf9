//! Reads a plugin's settings as the environment variables that it looks for.

use kiln_document::yaml::{Kind, Node};

use super::reader::Reader;
use crate::expr::Template;
use crate::plan::EnvVar;

/// Returns the settings as `PLUGIN_NAME=value`: scalars as they are, lists of scalars with commas, everything else as JSON.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Node) -> Vec<EnvVar> {
    let entries = spec.get("settings").and_then(Node::entries).unwrap_or_default();
    let setting = |(key, value): &(Node, Node)| {
        let name = format!("PLUGIN_{}", key.text().unwrap_or_default().to_ascii_uppercase().replace(['-', '.'], "_"));
        EnvVar { name, value: value_of(reader, value) }
    };
    entries.iter().map(setting).collect()
}

fn value_of(reader: &mut Reader<'_>, value: &Node) -> Template {
    match &value.kind {
        Kind::Scalar(_) => reader.template(value),
        Kind::Sequence(items) if items.iter().all(|item| matches!(item.kind, Kind::Scalar(_))) => {
            let mut parts = Vec::new();
            for (index, item) in items.iter().enumerate() {
                parts.extend((index > 0).then(|| Template::literal(",")));
                parts.push(reader.template(item));
            }
            Template::joined(parts)
        }
        Kind::Sequence(_) | Kind::Mapping(_) => json(reader, value),
    }
}

/// Returns a value as JSON, in which the values of expressions are written as JSON too.
fn json(reader: &mut Reader<'_>, value: &Node) -> Template {
    let text = |text: &str| Template::literal(text);
    match &value.kind {
        Kind::Sequence(items) => {
            let mut parts = vec![text("[")];
            for (index, item) in items.iter().enumerate() {
                parts.extend((index > 0).then(|| text(",")));
                parts.push(json(reader, item));
            }
            parts.push(text("]"));
            Template::joined(parts)
        }
        Kind::Mapping(entries) => {
            let mut parts = vec![text("{")];
            for (index, (key, value)) in entries.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let key = serde_json::Value::from(key.text().unwrap_or_default());
                parts.push(Template::literal(format!("{comma}{key}:")));
                parts.push(json(reader, value));
            }
            parts.push(text("}"));
            Template::joined(parts)
        }
        Kind::Scalar(_) => {
            let template = reader.template(value);
            if template.is_literal() { Template::literal(value.to_json().to_string()) } else { template.into_json() }
        }
    }
}
