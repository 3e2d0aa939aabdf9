//! The description of the API as OpenAPI 3.1: a table of operations, and schemas derived from the messages themselves,
//! so that the fields are always correct.

mod operations;
mod schemas;

use serde_json::{Map, Value, json};

use operations::{Answer, OPERATIONS, Operation, Taken};

/// Returns the document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.verb.to_ascii_lowercase()] = describe(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kiln runner",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Instances for stages, and the steps on them. Names of fields match in any case; `null` \
                stands for the empty value of any field; unknown fields are skipped.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:3000"}],
        "security": [{}, {"token": []}],
        "tags": [
            {"name": "stages", "description": "Routes of the runner that this one replaces"},
            {"name": "kiln", "description": "Routes of this runner only"},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas::all(),
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let in_path = operation
        .path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = operation.query.iter().map(|(name, about)| {
        let required = about.starts_with("Mandatory");
        json!({"name": name, "in": "query", "required": required, "description": about, "schema": {"type": "string"}})
    });
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "tags": [if operation.path.starts_with("/kiln/") { "kiln" } else { "stages" }],
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": answer(operation.answer),
            "default": {
                "description": "The failure, its place, its reason, and advice.",
                "content": {"application/json": {"schema": reference("ErrorBody")}},
            },
        },
    });
    match operation.taken {
        Taken::Nothing => {}
        Taken::Json(name, required) => {
            described["requestBody"] =
                json!({"required": required, "content": {"application/json": {"schema": reference(name)}}});
        }
        Taken::Tar => described["requestBody"] = json!({"required": true, "content": {"application/x-tar": {}}}),
    }
    if operation.path == kiln_wire::runner::HEALTHZ {
        described["security"] = json!([{}]);
    }
    described
}

fn answer(answer: Answer) -> Value {
    match answer {
        Answer::Json(name) => {
            json!({"description": "Done.", "content": {"application/json": {"schema": reference(name)}}})
        }
        Answer::TextOrJson(text, name) => json!({
            "description": text,
            "content": {"text/plain": {}, "application/json": {"schema": reference(name)}},
        }),
        Answer::Bytes(media, about) => json!({"description": about, "content": {media: {}}}),
        Answer::Empty => json!({"description": "Done; the answer has no body."}),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for (at, _) in text.match_indices("#/components/schemas/") {
            let name = text[at..].split('"').next().and_then(|path| path.rsplit('/').next()).expect("a name");
            assert!(schemas.contains_key(name), "{name} is not described");
        }
        for name in schemas.keys() {
            assert!(text.contains(&format!("#/components/schemas/{name}\"")), "{name} is used nowhere");
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let mut routes = crate::http::route_list();
        let mut described: Vec<_> = OPERATIONS.iter().map(|operation| (operation.verb, operation.path)).collect();
        routes.sort_unstable();
        described.sort_unstable();
        assert_eq!(routes, described);
    }
}
