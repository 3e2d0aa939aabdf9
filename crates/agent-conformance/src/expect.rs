//! What is expected of an answer.

use serde_json::{Map, Value};

/// Why a check does not pass.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// The agent does not keep the protocol.
    #[error("{0}")]
    Breach(String),
    /// The check says nothing about this agent.
    #[error("{0}")]
    NotApplicable(String),
}

pub(crate) type Expected<T = ()> = Result<T, Finding>;

/// A breach, in words.
pub(crate) fn breach<T>(what: impl Into<String>) -> Expected<T> {
    Err(Finding::Breach(what.into()))
}

/// Two values are the same.
pub(crate) fn same<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, got: A, expected: B) -> Expected {
    if got == expected { Ok(()) } else { breach(format!("{what} is {got:?} and should be {expected:?}")) }
}

/// Something holds.
pub(crate) fn holds(what: impl Into<String>, is: bool) -> Expected {
    if is { Ok(()) } else { breach(what) }
}

/// The object that a value is.
pub(crate) fn object<'a>(what: &str, value: &'a Value) -> Expected<&'a Map<String, Value>> {
    value.as_object().map_or_else(|| breach(format!("{what} is {value} and should be an object")), Ok)
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    Flag,
    Whole,
    Number,
    /// Names to texts.
    Texts,
    /// Whatever another service makes of it.
    Any,
    /// An object with these fields.
    Object(&'static [Field]),
    /// A list of such objects.
    List(&'static [Field]),
}

/// Whether a field is there when it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Always there.
    Always,
    /// Only when it is not zero.
    NotZero,
}

pub(crate) type Field = (&'static str, Shape, Presence);

/// The object has these fields, and no others, each of its shape, and none that is zero and should be absent.
pub(crate) fn fields(what: &str, value: &Value, known: &[Field]) -> Expected {
    let object = object(what, value)?;
    for (name, value) in object {
        let Some((_, shape, presence)) = known.iter().find(|(known, ..)| known == name) else {
            return breach(format!("{what} has a field {name:?}, which the protocol does not know"));
        };
        let what = format!("{what}.{name}");
        has_shape(&what, value, *shape)?;
        if *presence == Presence::NotZero && is_zero(value) {
            return breach(format!("{what} is {value}; what is zero is left out"));
        }
    }
    for (name, _, presence) in known {
        if *presence == Presence::Always && !object.contains_key(*name) {
            return breach(format!("{what} has no field {name:?}"));
        }
    }
    Ok(())
}

fn has_shape(what: &str, value: &Value, shape: Shape) -> Expected {
    let wrong = |wanted: &str| breach(format!("{what} is {value} and should be {wanted}"));
    match shape {
        Shape::Text if !value.is_string() => wrong("a text"),
        Shape::Word(words) if !value.as_str().is_some_and(|word| words.contains(&word)) => {
            wrong(&format!("one of {words:?}"))
        }
        Shape::Flag if !value.is_boolean() => wrong("true or false"),
        Shape::Whole if !(value.is_i64() || value.is_u64()) => wrong("a whole number"),
        Shape::Number if !value.is_number() => wrong("a number"),
        Shape::Texts if !value.as_object().is_some_and(|map| map.values().all(Value::is_string)) => {
            wrong("an object of texts")
        }
        Shape::Object(known) => fields(what, value, known),
        Shape::List(known) => match value.as_array() {
            None => wrong("a list"),
            Some(items) => {
                items.iter().enumerate().try_for_each(|(n, item)| fields(&format!("{what}[{n}]"), item, known))
            }
        },
        Shape::Text | Shape::Word(_) | Shape::Flag | Shape::Whole | Shape::Number | Shape::Texts | Shape::Any => Ok(()),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[Field] = &[
        ("id", Shape::Text, Presence::Always),
        ("n", Shape::Whole, Presence::NotZero),
        ("list", Shape::List(&[("k", Shape::Word(&["a"]), Presence::Always)]), Presence::NotZero),
    ];

    #[track_caller]
    fn check(value: &Value, expected: Result<(), &str>) {
        assert_eq!(fields("it", value, KNOWN).map_err(|e| e.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn an_object_is_held_to_its_fields() {
        check(&json!({"id": "", "n": 1, "list": [{"k": "a"}]}), Ok(()));
        check(&json!({"id": "x"}), Ok(()));
        check(&json!({}), Err("it has no field \"id\""));
        check(&json!({"id": "x", "m": 1}), Err("it has a field \"m\", which the protocol does not know"));
        check(&json!({"id": 1}), Err("it.id is 1 and should be a text"));
        check(&json!({"id": "x", "n": 0}), Err("it.n is 0; what is zero is left out"));
        check(&json!({"id": "x", "n": 0.5}), Err("it.n is 0.5 and should be a whole number"));
        check(&json!({"id": "x", "list": [{"k": "b"}]}), Err("it.list[0].k is \"b\" and should be one of [\"a\"]"));
        check(&json!([]), Err("it is [] and should be an object"));
    }
}
