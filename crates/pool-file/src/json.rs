//! Specs as JSON: conversion of values to the kind of their key, and merging of one value into another.

use kiln_document::schema::{Shape, truth};
use kiln_document::yaml::{Kind, Node};
use serde_json::Value;

/// Returns a node as JSON: text where the table says text, even if it looks like a number. Null is left out.
pub(crate) fn of(node: &Node, shape: &Shape) -> Value {
    match (&node.kind, shape) {
        (Kind::Mapping(entries), Shape::Of(table)) => {
            object(entries, |key| table.key(key).map_or(Shape::Any, |key| key.shape))
        }
        (Kind::Mapping(entries), Shape::Map(inner)) => object(entries, |_| **inner),
        (Kind::Mapping(entries), Shape::Any) => object(entries, |_| Shape::Any),
        (Kind::Sequence(items), Shape::List(inner)) => items.iter().map(|item| of(item, inner)).collect(),
        (Kind::Scalar(scalar), Shape::Text | Shape::Enum(_) | Shape::OpenEnum(_)) if !node.is_null() => {
            scalar.text.as_str().into()
        }
        (Kind::Scalar(_), Shape::Bool) => truth(node).map_or_else(|| node.to_json(), Value::from),
        (Kind::Scalar(scalar), Shape::Number) => {
            scalar.text.trim().parse::<i64>().map_or_else(|_| node.to_json(), Value::from)
        }
        _ => node.to_json(),
    }
}

fn object(entries: &[(Node, Node)], shape_of: impl Fn(&str) -> Shape) -> Value {
    let named = entries.iter().filter(|(_, value)| !value.is_null());
    let typed = named.map(|(key, value)| {
        let key = key.text().unwrap_or_default();
        (key.to_owned(), of(value, &shape_of(key)))
    });
    Value::Object(typed.collect())
}

/// Merges `over` into `base`: mappings key by key, everything else as a whole. Returns the paths at which a value was
/// replaced by false, 0 or an empty value.
pub(crate) fn merge(base: &mut Value, over: &Value) -> Vec<String> {
    let mut emptied = Vec::new();
    lay(base, over, "", &mut emptied);
    emptied
}

fn lay(base: &mut Value, over: &Value, path: &str, emptied: &mut Vec<String>) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match base.get_mut(key) {
                    Some(below) => lay(below, value, &path, emptied),
                    None => {
                        base.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (base, over) => {
            if is_nothing(over) && !is_nothing(base) {
                emptied.push(path.to_owned());
            }
            *base = over.clone();
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

/// Puts a value at a path, and creates the objects on the way.
pub fn put(target: &mut Value, path: &[&str], value: Value) {
    let mut at = target;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = &mut at[*key];
    }
    *at = value;
}

/// Returns the text at a JSON pointer, unless it is empty.
#[must_use]
pub fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the number at a JSON pointer, unless it is zero, negative or beyond `u32`.
#[must_use]
pub fn number(value: &Value, pointer: &str) -> Option<u32> {
    let number = value.pointer(pointer)?.as_i64()?;
    u32::try_from(number).ok().filter(|number| *number > 0)
}
