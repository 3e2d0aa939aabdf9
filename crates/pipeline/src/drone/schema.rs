//! The dialect as JSON Schema.

use kiln_document::schema::json::Definitions;
use serde_json::{Value, json};

use super::tables;

/// Returns the schema of one document, and the definitions it refers to.
pub(crate) fn definition() -> (Value, Definitions) {
    let mut definitions = Definitions::new("drone", None);
    let pipeline = definitions.table(&tables::PIPELINE);
    let when = definitions.table(&tables::WHEN);
    let trigger = definitions.table(&tables::TRIGGER);
    definitions.refine(&tables::STEP, "when", when);
    definitions.refine(&tables::PIPELINE, "trigger", trigger);
    let others = [("secret", &tables::SECRET), ("signature", &tables::SIGNATURE), ("cron", &tables::CRON)];
    let is = |kind: &str| json!({ "properties": { "kind": { "const": kind } }, "required": ["kind"] });
    let mut parts = vec![json!({ "if": is("pipeline"), "then": pipeline })];
    for (kind, table) in others {
        let table = definitions.table(table);
        parts.push(json!({ "if": is(kind), "then": table }));
    }
    let kinds = json!({ "properties": { "kind": { "enum": super::KINDS } } });
    parts.push(kinds);
    (json!({ "allOf": parts }), definitions)
}
