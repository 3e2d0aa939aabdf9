//! Tests that the description of the API is true.

use kiln_runner::http::openapi;
use serde_json::{Value, json};

use crate::rig::{Runner, setup, step};

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in verbs.as_object().expect("verbs") {
            all.push((verb.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

#[tokio::test]
async fn every_operation_is_served() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("x").await;
    let document = runner.ok("GET", "/kiln/v1/openapi.json", &Value::Null).await;
    assert_eq!(document, openapi());
    // The stage and the instance are ended last.
    let mut all = operations(&document);
    all.sort_by_key(|(verb, path, _)| (path.contains("cancel"), verb == "DELETE", path.clone(), verb.clone()));
    for (verb, path, _) in all.into_iter().filter(|(_, path, _)| path != "/kiln/v1/events") {
        let at = path.replace("{id}", "x").replace("{name}", "ubuntu");
        let answer = runner.send(&verb, &at, "{}").await;
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        assert!(status != 405 && text != "404 page not found\n", "{verb} {at}: {status} {text}");
    }
    runner.end().await;
}

/// Returns the parts of a value that its schema lacks or contradicts.
fn untold(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(path) = schema["$ref"].as_str() {
        let name = path.rsplit('/').next().unwrap_or_default();
        return untold(document, &document["components"]["schemas"][name], value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return if value.is_null() { Vec::new() } else { untold(document, &any[0], value, at) };
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.iter().any(|k| k == kind || (k == "number" && kind == "integer")) {
        return vec![format!("{at} is {kind}, not {kinds:?}")];
    }
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(untold(document, &schema["items"], item, &format!("{at}[]")));
    }
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, field) in fields {
            match properties.get(name) {
                Some(schema) => found.extend(untold(document, schema, field, &format!("{at}.{name}"))),
                None => found.push(format!("{at}.{name} is not told")),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{at}.{name} is missing")));
    }
    found
}

#[tokio::test]
async fn answers_are_as_they_are_told() {
    let runner = Runner::with_machines(1).await;
    let document = openapi();
    let instance = runner.set_up("s1").await;
    runner.ok("POST", "/step", &step("s1", "a", "echo A=1 > \"$DRONE_ENV\"; exit 2")).await;
    let of = |path: &str| path.replace("INSTANCE", &instance);
    let cases = [
        ("POST", "/setup", setup("s1"), "SetupVmResponse"),
        ("POST", "/setup", json!({}), "ErrorBody"),
        ("POST", "/step", step("s1", "a", ""), "PollStepResponse"),
        ("POST", "/pool_owner?pool=ubuntu", Value::Null, "PoolOwnerResponse"),
        ("GET", "/healthz?verbose", Value::Null, "HealthReport"),
        ("GET", "/kiln/v1/pools", Value::Null, "PoolList"),
        ("GET", "/kiln/v1/instances", Value::Null, "InstanceList"),
        ("GET", "/kiln/v1/instances/INSTANCE", Value::Null, "InstanceDetail"),
        ("POST", "/kiln/v1/instances/INSTANCE/hold", json!({"seconds": 5}), "Instance"),
        ("POST", "/kiln/v1/instances/INSTANCE/release", Value::Null, "Instance"),
        ("GET", "/kiln/v1/stages", Value::Null, "StageList"),
        ("GET", "/kiln/v1/stages/s1", Value::Null, "StageDetail"),
        ("GET", "/kiln/v1/stages/s1/steps", Value::Null, "StepList"),
        ("POST", "/kiln/v1/pools/ubuntu/drain", json!({"drained": false}), "Pool"),
        ("POST", "/kiln/v1/stages/s1/cancel", Value::Null, "Stage"),
        ("POST", "/step", step("s1", "b", ""), "ErrorBody"),
    ];
    for (verb, path, body, name) in cases {
        let (_, answer) = runner.json(verb, &of(path), &body).await;
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        assert_eq!(untold(&document, &schema, &answer, name), Vec::<String>::new(), "{verb} {path}: {answer}");
    }
    runner.end().await;
}

#[test]
fn requests_of_these_tests_are_told_too() {
    let document = openapi();
    for (name, request) in [("SetupVmRequest", setup("s1")), ("ExecuteVmRequest", step("s1", "a", "true"))] {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        assert_eq!(untold(&document, &schema, &request, name), Vec::<String>::new());
    }
    let wrong = json!({"id": 5, "unknown": true});
    let schema = json!({"$ref": "#/components/schemas/SetupVmRequest"});
    let found = untold(&document, &schema, &wrong, "it");
    assert_eq!(found, ["it.id is integer, not [String(\"string\")]", "it.unknown is not told"]);
}
