//! The JSON Schema for editors: it comes from the tables that the readers use, so what is tested is its make.

use serde_json::Value;

/// Calls `visit` with every object below a value.
fn objects(value: &Value, visit: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(map);
            map.values().for_each(|inner| objects(inner, visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| objects(inner, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_has_its_definition() {
    let schema = kiln_pipeline::json_schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let mut used = std::collections::BTreeSet::new();
    objects(&schema, &mut |object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            let name = reference.strip_prefix("#/$defs/").expect("a reference within the file");
            assert!(definitions.get(name).is_some_and(Value::is_object), "{name} is not defined");
            used.insert(name.to_owned());
        }
    });
    let unused: Vec<&String> = definitions.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "nothing refers to {unused:?}");
}

#[test]
fn the_keys_of_both_dialects_are_there() {
    let schema = kiln_pipeline::json_schema();
    let has = |definition: &str, key: &str| schema["$defs"][definition]["properties"].get(key).is_some();
    for (definition, key) in [
        ("harness-pipeline", "stages"),
        ("harness-stage", "failureStrategies"),
        ("harness-Run-step-s-spec", "command"),
        ("harness-Background-step-s-spec", "portBindings"),
        ("drone-pipeline", "depends_on"),
        ("drone-step", "commands"),
    ] {
        assert!(has(definition, key), "{definition} has no {key}");
    }
    assert_eq!(schema["$defs"]["harness-step"]["additionalProperties"], false);
}
