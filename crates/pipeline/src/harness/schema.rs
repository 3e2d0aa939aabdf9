//! The dialect as JSON Schema: the tables, and what only the readers know about them.

use kiln_document::schema::Table;
use kiln_document::schema::json::Definitions;
use serde_json::{Value, json};

use super::{kinds, step_tables, tables, words};

/// Returns the schema of a file, and the definitions it refers to.
#[must_use]
pub(crate) fn definition() -> (Value, Definitions) {
    let mut definitions = Definitions::new("harness", Some(r"<\+"));
    let file = definitions.table(&tables::FILE);
    let stage_item = definitions.table(&tables::STAGE_ITEM);
    let step_item = definitions.table(&step_tables::STEP_ITEM);
    let group = definitions.table(&step_tables::GROUP);
    let stage = stage(&mut definitions);
    let step = step(&mut definitions);
    let list = |item: &Value| json!({ "type": "array", "items": item });
    definitions.refine(&tables::PIPELINE, "stages", list(&stage_item));
    definitions.refine(&tables::STAGE_ITEM, "stage", stage);
    definitions.refine(&tables::STAGE_ITEM, "parallel", list(&stage_item));
    definitions.refine(&tables::EXECUTION, "steps", list(&step_item));
    definitions.refine(&step_tables::GROUP, "steps", list(&step_item));
    definitions.refine(&step_tables::STEP_ITEM, "step", step);
    definitions.refine(&step_tables::STEP_ITEM, "stepGroup", group);
    definitions.refine(&step_tables::STEP_ITEM, "parallel", list(&step_item));
    let machine = by_type(
        &mut definitions,
        &tables::INFRASTRUCTURE,
        &[("VM", &tables::VM), ("KubernetesDirect", &tables::MACHINE)],
    );
    let machine = definitions.insert("any-infrastructure", machine);
    definitions.refine(&tables::STAGE_SPEC, "infrastructure", machine);
    let action = by_type(&mut definitions, &step_tables::ACTION, &[("Retry", &step_tables::RETRY)]);
    let action = definitions.insert("any-failure-action", action);
    definitions.refine(&step_tables::ON_FAILURE, "action", action.clone());
    definitions.refine(&step_tables::ON_RETRY_FAILURE, "action", action);
    (file, definitions)
}

/// Returns the schema of a stage. A build stage is described; any other is accepted as it is.
fn stage(definitions: &mut Definitions) -> Value {
    let build = by_type(definitions, &tables::STAGE, &[("CI", &tables::STAGE_SPEC)]);
    let schema = json!({
        "if": { "properties": { "type": { "const": "CI" } }, "required": ["type"] },
        "then": build,
        "else": { "properties": { "type": { "enum": words::STAGE_TYPES } } },
        "anyOf": [{ "required": ["name"] }, { "required": ["identifier"] }],
    });
    definitions.insert("any-stage", schema)
}

fn step(definitions: &mut Definitions) -> Value {
    let types = kinds::TYPES.concat();
    let kinds: Vec<(&str, &Table)> = types.iter().map(|kind| (*kind, kinds::table(kind))).collect();
    let mut schema = by_type(definitions, &step_tables::STEP, &kinds);
    let types = [&types, words::OTHER_TYPES].concat();
    schema["properties"] = json!({ "type": { "enum": types } });
    schema["anyOf"] = json!([{ "required": ["name"] }, { "required": ["identifier"] }]);
    definitions.insert("any-step", schema)
}

/// Returns the schema of a mapping whose `type` tells what its `spec` holds.
fn by_type(definitions: &mut Definitions, table: &Table, kinds: &[(&str, &Table)]) -> Value {
    let mut parts = vec![definitions.table(table)];
    for (kind, spec) in kinds {
        let spec = definitions.table(spec);
        parts.push(json!({
            "if": { "properties": { "type": { "const": kind } }, "required": ["type"] },
            "then": { "properties": { "spec": spec } },
        }));
    }
    json!({ "allOf": parts })
}
