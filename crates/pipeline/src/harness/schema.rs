//! The dialect as JSON Schema: the tables, and what only the readers know about them.

use serde_json::{Value, json};

use super::{tables, words};
use crate::schema::json::Definitions;
use crate::schema::{Shape, Table};

/// The schema of a file.
#[must_use]
pub fn definition() -> Value {
    let mut definitions = Definitions::new(true);
    let file = definitions.table(&tables::FILE);
    let stage = definitions.table(&tables::STAGE);
    let stage_spec = definitions.table(&tables::STAGE_SPEC);
    let stage_item = definitions.table(&tables::STAGE_ITEM);
    let step_item = definitions.table(&tables::STEP_ITEM);
    let step = definitions.table(&tables::STEP);
    let group = definitions.table(&tables::GROUP);
    definitions.insert("build-stage", json!({
        "if": { "properties": { "type": { "const": "CI" } }, "required": ["type"] },
        "then": { "allOf": [stage, { "properties": { "spec": stage_spec } }] },
        "else": { "properties": { "type": { "enum": words::STAGE_TYPES } } },
        "anyOf": [{ "required": ["name"] }, { "required": ["identifier"] }],
    }));
    let kinds = [("Run", &tables::RUN), ("Background", &tables::BACKGROUND), ("Plugin", &tables::PLUGIN)];
    let branches: Vec<Value> = kinds.into_iter().map(|(kind, table)| branch(&mut definitions, kind, table)).collect();
    let types: Vec<&str> = words::RUN_TYPES.iter().chain(words::OTHER_TYPES).copied().collect();
    definitions.insert("any-step", json!({
        "allOf": [step, { "properties": { "type": { "enum": types } } }, { "allOf": branches }],
        "anyOf": [{ "required": ["name"] }, { "required": ["identifier"] }],
    }));
    let list = |item: &Value| json!({ "type": "array", "items": item });
    let refine = [
        ("list-of-stages", "stage", json!({ "$ref": "#/$defs/build-stage" })),
        ("list-of-stages", "parallel", list(&stage_item)),
        ("list-of-steps", "step", json!({ "$ref": "#/$defs/any-step" })),
        ("list-of-steps", "stepGroup", group),
        ("list-of-steps", "parallel", list(&step_item)),
        ("pipeline", "stages", list(&stage_item)),
        ("-execution-", "steps", list(&step_item)),
        ("step-group", "steps", list(&step_item)),
    ];
    for (name, key, value) in refine {
        if let Some(definition) = definitions.get_mut(name) {
            definition["properties"][key] = value;
        }
    }
    for (name, key, table) in [("-infrastructure-", "VM", &tables::VM)] {
        let spec = definitions.shape(&Shape::Of(table));
        if let Some(definition) = definitions.get_mut(name) {
            definition["if"] = json!({ "properties": { "type": { "const": key } }, "required": ["type"] });
            definition["then"] = json!({ "properties": { "spec": spec } });
        }
    }
    json!({ "allOf": [file], "$defs": definitions.into_value() })
}

fn branch(definitions: &mut Definitions, kind: &str, table: &Table) -> Value {
    let spec = definitions.table(table);
    json!({
        "if": { "properties": { "type": { "const": kind } }, "required": ["type"] },
        "then": { "properties": { "spec": spec } },
    })
}
