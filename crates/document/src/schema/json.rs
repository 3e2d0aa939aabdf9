//! The tables as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::{Key, Role, Shape, Table};

/// Turns tables into definitions, each table once.
#[derive(Debug, Default)]
pub struct Definitions {
    definitions: Map<String, Value>,
    /// Prefix of every definition's name, so that the definitions of several languages fit into one schema.
    prefix: &'static str,
    /// Regular expression for text that holds an expression, which may stand for any value.
    expression_pattern: Option<&'static str>,
}

impl Definitions {
    /// Returns an empty set of definitions. `prefix` starts their names. Text that matches the regular expression
    /// `expression_pattern` may stand for any value.
    #[must_use]
    pub fn new(prefix: &'static str, expression_pattern: Option<&'static str>) -> Definitions {
        Definitions { definitions: Map::new(), prefix, expression_pattern }
    }

    /// Returns the name of a table's definition.
    #[must_use]
    pub fn name(&self, table: &Table) -> String {
        let words: Vec<&str> =
            table.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        format!("{}-{}", self.prefix, words.join("-"))
    }

    /// Returns a reference to a definition.
    #[must_use]
    pub fn reference(name: &str) -> Value {
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// Returns a reference to a table's definition, which is added when it is missing.
    pub fn table(&mut self, table: &Table) -> Value {
        let name = self.name(table);
        let reference = Definitions::reference(&name);
        if self.definitions.contains_key(&name) {
            return reference;
        }
        // The name is reserved before the keys are visited, because tables refer to each other in circles.
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

    /// Adds a definition that has no table and returns a reference to it.
    pub fn insert(&mut self, name: &str, definition: Value) -> Value {
        let name = format!("{}-{name}", self.prefix);
        let reference = Definitions::reference(&name);
        self.definitions.insert(name, definition);
        reference
    }

    /// Replaces the schema of a key in a table that was added, where its shape alone says too little.
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

    /// Returns the schema of a value. Readers take null as absent everywhere, but the schema allows it only where an empty
    /// text is useful: elsewhere an editor should point at a key without a value.
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
        match self.expression_pattern {
            Some(pattern) if !matches!(shape, Shape::Of(_)) => {
                json!({ "anyOf": [strict, { "type": "string", "pattern": pattern }] })
            }
            _ => strict,
        }
    }

    /// Returns all definitions by their names, the value of a schema's `$defs`.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        self.definitions
    }
}
