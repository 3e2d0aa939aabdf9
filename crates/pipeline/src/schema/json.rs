//! The tables as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::{Key, Role, Shape, Table};

/// Turns tables into definitions, each table once.
#[derive(Debug, Default)]
pub struct Definitions {
    definitions: Map<String, Value>,
    /// Starts every definition's name, so that dialects can stand side by side.
    prefix: &'static str,
    /// `<+...>` may stand for any value.
    expressions: bool,
}

impl Definitions {
    /// No definitions yet; `prefix` starts their names, `expressions` lets `<+...>` stand for any value.
    #[must_use]
    pub fn new(prefix: &'static str, expressions: bool) -> Definitions {
        Definitions { definitions: Map::new(), prefix, expressions }
    }

    /// What the definition of a table is called.
    #[must_use]
    pub fn name(&self, table: &Table) -> String {
        let words: Vec<&str> =
            table.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        format!("{}-{}", self.prefix, words.join("-"))
    }

    /// A reference to a definition.
    #[must_use]
    pub fn reference(name: &str) -> Value {
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// A reference to a table's definition, which is added when it is not there.
    pub fn table(&mut self, table: &Table) -> Value {
        let name = self.name(table);
        let reference = Definitions::reference(&name);
        if self.definitions.contains_key(&name) {
            return reference;
        }
        // The name is taken before the keys are walked: tables refer to each other in circles.
        self.definitions.insert(name.clone(), Value::Null);
        let properties: Map<String, Value> =
            table.keys.iter().map(|key| (key.name.to_owned(), self.key(key))).collect();
        let definition = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": table.open,
        });
        self.definitions.insert(name, definition);
        reference
    }

    /// Adds a definition that no table stands for; returns the reference to it.
    pub fn insert(&mut self, name: &str, definition: Value) -> Value {
        let name = format!("{}-{name}", self.prefix);
        let reference = Definitions::reference(&name);
        self.definitions.insert(name, definition);
        reference
    }

    /// Says more about a key of a table that was added than its shape does.
    pub fn refine(&mut self, table: &Table, key: &str, value: Value) {
        if let Some(definition) = self.definitions.get_mut(&self.name(table)) {
            definition["properties"][key] = value;
        }
    }

    fn key(&mut self, key: &Key) -> Value {
        let shape = self.shape(&key.shape);
        let doc = match key.role {
            Role::Read | Role::Describes => key.doc.to_owned(),
            Role::NoEffect(why) => format!("No effect in Kiln: {why}."),
            Role::Unsupported(what) => format!("Not run by Kiln yet: {what}."),
        };
        match shape {
            // A list of one keeps `$ref` free of siblings, which older editors ignore.
            Value::Object(mut shape) if !shape.contains_key("$ref") => {
                if !doc.is_empty() {
                    shape.insert("description".to_owned(), doc.into());
                }
                Value::Object(shape)
            }
            reference if doc.is_empty() => reference,
            reference => json!({ "allOf": [reference], "description": doc }),
        }
    }

    /// The schema of a value. Null is read as absent everywhere, but only allowed here where an empty text is
    /// useful: elsewhere an editor should point at a key without a value.
    pub fn shape(&mut self, shape: &Shape) -> Value {
        let strict = match shape {
            Shape::Any => return json!({}),
            Shape::Text => return json!({ "type": ["string", "number", "boolean", "null"] }),
            Shape::Bool => json!({ "type": "boolean" }),
            Shape::Number => json!({ "type": "number" }),
            Shape::Duration => json!({ "type": "string", "pattern": r"^(\s*[0-9.]+\s*(w|d|h|m|s|ms))*\s*$" }),
            Shape::Enum(words) => json!({ "enum": words }),
            Shape::OpenEnum(words) => json!({ "type": "string", "examples": words }),
            Shape::List(item) => json!({ "type": "array", "items": self.shape(item) }),
            Shape::OneOrMore(item) => {
                let item = self.shape(item);
                json!({ "anyOf": [item.clone(), { "type": "array", "items": item }] })
            }
            Shape::Map(value) => json!({ "type": "object", "additionalProperties": self.shape(value) }),
            Shape::Of(table) => self.table(table),
            Shape::AnyOf(shapes) => {
                let shapes: Vec<Value> = shapes.iter().map(|shape| self.shape(shape)).collect();
                json!({ "anyOf": shapes })
            }
        };
        if self.expressions && !matches!(shape, Shape::Of(_)) {
            json!({ "anyOf": [strict, { "type": "string", "pattern": r"<\+" }] })
        } else {
            strict
        }
    }
}

/// The schema of a file of either dialect. Each dialect gives the schema of its documents and its definitions.
#[must_use]
pub fn whole(harness: (Value, Definitions), drone: (Value, Definitions)) -> Value {
    let mut definitions = harness.1.definitions;
    definitions.extend(drone.1.definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline that Kiln reads",
        "type": "object",
        "if": { "required": ["pipeline"] },
        "then": harness.0,
        "else": { "required": ["kind"], "allOf": [drone.0] },
        "$defs": definitions,
    })
}
