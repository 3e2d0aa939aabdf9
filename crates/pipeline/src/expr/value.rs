//! What an expression evaluates to.

use std::fmt;

use super::Template;

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// A known name without a value. Its fields are null as well.
    #[default]
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number; written without a fraction when it has none.
    Number(f64),
    /// Text.
    String(String),
    /// Values in order.
    List(Vec<Value>),
    /// Named values in order.
    Map(Map),
    /// A template declared in the file, which is evaluated where it is used.
    Lazy(Box<Template>),
}

/// Named values in the order in which they were put in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    entries: Vec<(String, Value)>,
}

impl Map {
    /// Returns an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of that name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns the value of that name, to be changed; a null is put in when there is none.
    pub fn entry(&mut self, key: &str) -> &mut Value {
        let index = match self.entries.iter().position(|(name, _)| name == key) {
            Some(index) => index,
            None => {
                self.entries.push((key.to_owned(), Value::Null));
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].1
    }

    /// Puts a value in, over one of the same name.
    pub fn insert(&mut self, key: &str, value: impl Into<Value>) {
        *self.entry(key) = value.into();
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the names in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let mut map = Map::new();
        for (key, value) in iter {
            map.insert(&key.into(), value);
        }
        map
    }
}

impl Value {
    /// Puts a value at a path of names below this one, making maps on the way; what is not a map is replaced.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let mut at = self;
        for segment in path {
            if !matches!(at, Value::Map(_)) {
                *at = Value::Map(Map::new());
            }
            let Value::Map(map) = at else { return };
            at = map.entry(segment);
        }
        *at = value.into();
    }

    /// Returns the value at a path of names below this one.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |at, segment| match at {
            Value::Map(map) => map.get(segment),
            _ => None,
        })
    }

    /// Reads a value as JEXL does where a condition is wanted: null, `false`, 0, the empty text and the text `false`
    /// are false.
    pub fn truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(value) => *value != 0.0 && !value.is_nan(),
            Value::String(text) => !text.is_empty() && text != "false",
            Value::List(_) | Value::Map(_) | Value::Lazy(_) => true,
        }
    }

    /// Returns what people call this kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Lazy(_) => "an expression",
        }
    }

    /// Returns the value as JSON; an expression that was not evaluated is its text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => whole(*value).map_or_else(|| (*value).into(), Into::into),
            Value::String(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(map) => map.iter().map(|(name, value)| (name.to_owned(), value.to_json())).collect(),
            Value::Lazy(template) => template.text().into(),
        }
    }

    /// Writes JSON that keeps the order of the maps.
    fn write_json(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    item.write_json(f)?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("{")?;
                for (index, (name, value)) in map.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write!(f, "{}:", serde_json::Value::from(name))?;
                    value.write_json(f)?;
                }
                f.write_str("}")
            }
            other => write!(f, "{}", other.to_json()),
        }
    }
}

/// Returns the number as an integer, where it is one that a double holds exactly.
pub(super) fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// How a value appears in text: strings as they are, lists and maps as JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => f.write_str(text),
            Value::Number(value) => match whole(*value) {
                Some(value) => write!(f, "{value}"),
                None => write!(f, "{value}"),
            },
            other => other.write_json(f),
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(value) => Value::Number(value.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Value::String(text),
            serde_json::Value::Array(items) => Value::List(items.into_iter().map(Into::into).collect()),
            // Its names differ already.
            serde_json::Value::Object(fields) => {
                let entries = fields.into_iter().map(|(name, value)| (name, value.into())).collect();
                Value::Map(Map { entries })
            }
        }
    }
}

impl From<Template> for Value {
    fn from(template: Template) -> Self {
        if template.is_literal() { Value::String(template.text().to_owned()) } else { Value::Lazy(Box::new(template)) }
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Value::Map(map)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::List(items)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Number(value.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
