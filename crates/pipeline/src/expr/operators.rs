//! The operators of JEXL. Numbers, and texts that look like numbers, compare as numbers.

use std::cmp::Ordering;

use super::ast::Operator;
use super::{EvalError, Value, functions};

type Evaluated<T> = Result<T, EvalError>;

/// Applies an operator that needs both of its sides.
pub(super) fn apply(operator: Operator, left: Value, right: Value) -> Evaluated<Value> {
    let holds = match operator {
        Operator::Equal => equal(&left, &right),
        Operator::NotEqual => !equal(&left, &right),
        Operator::Matches => matches(&left, &right)?,
        Operator::NotMatches => !matches(&left, &right)?,
        Operator::StartsWith => text(&left, "=^")?.starts_with(text(&right, "=^")?),
        Operator::NotStartsWith => !text(&left, "!^")?.starts_with(text(&right, "!^")?),
        Operator::EndsWith => text(&left, "=$")?.ends_with(text(&right, "=$")?),
        Operator::NotEndsWith => !text(&left, "!$")?.ends_with(text(&right, "!$")?),
        Operator::Less => order("<", &left, &right)?.is_some_and(Ordering::is_lt),
        Operator::LessOrEqual => order("<=", &left, &right)?.is_some_and(Ordering::is_le),
        Operator::Greater => order(">", &left, &right)?.is_some_and(Ordering::is_gt),
        Operator::GreaterOrEqual => order(">=", &left, &right)?.is_some_and(Ordering::is_ge),
        Operator::Add => return add(&left, &right),
        Operator::Subtract => return numbers("-", &left, &right, |a, b| a - b),
        Operator::Multiply => return numbers("*", &left, &right, |a, b| a * b),
        Operator::Divide => return divide("/", &left, &right, |a, b| a / b),
        Operator::Remainder => return divide("%", &left, &right, |a, b| a % b),
        Operator::Or => left.truthy() || right.truthy(),
        Operator::And => left.truthy() && right.truthy(),
        Operator::Otherwise => return Ok(if left == Value::Null { right } else { left }),
        Operator::Elvis => return Ok(if left.truthy() { left } else { right }),
    };
    Ok(Value::Bool(holds))
}

/// Returns `-value`.
pub(super) fn negate(value: Value) -> Evaluated<Value> {
    match number(&value) {
        Some(number) => Ok(Value::Number(-number)),
        None => {
            Err(EvalError::Type { what: "-".to_owned(), needs: "a number".to_owned(), got: value.kind().to_owned() })
        }
    }
}

/// Returns the value as a number, when it is one or a text that reads as one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(value) => Some(*value),
        Value::String(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

/// Compares as JEXL's `==` does.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), other) | (other, Value::Number(a)) => number(other) == Some(*a),
        (Value::Bool(a), other) | (other, Value::Bool(a)) => match other {
            Value::Bool(b) => a == b,
            Value::String(text) => *text == a.to_string(),
            _ => false,
        },
        (left, right) => left == right,
    }
}

/// Applies `=~`: matches a text against a regular expression as a whole, or looks for a member of a list or map.
fn matches(left: &Value, right: &Value) -> Evaluated<bool> {
    match right {
        Value::List(items) => Ok(items.iter().any(|item| equal(left, item))),
        Value::Map(map) => Ok(map.get(&left.to_string()).is_some()),
        Value::String(pattern) => match left {
            Value::Null => Ok(false),
            left => functions::matches_whole(pattern, &left.to_string()),
        },
        other => Err(EvalError::Type {
            what: "=~".to_owned(),
            needs: "a pattern or a list on its right".to_owned(),
            got: other.kind().to_owned(),
        }),
    }
}

/// Compares numbers by size and texts by their characters. Nothing compares with null.
fn order(operator: &str, left: &Value, right: &Value) -> Evaluated<Option<Ordering>> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        (Value::String(a), Value::String(b)) => match (number(left), number(right)) {
            (Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
            _ => Ok(Some(a.cmp(b))),
        },
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
            _ => Err(mismatch(operator, "two numbers or two texts", left, right)),
        },
    }
}

/// Joins two texts, and adds two numbers or texts that read as numbers beside one.
fn add(left: &Value, right: &Value) -> Evaluated<Value> {
    match (left, right) {
        (Value::String(a), Value::String(b)) => Ok(Value::String(format!("{a}{b}"))),
        (Value::List(a), Value::List(b)) => Ok(Value::List(a.iter().chain(b).cloned().collect())),
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => Ok(Value::Number(a + b)),
            _ => Ok(Value::String(format!("{left}{right}"))),
        },
    }
}

fn numbers(operator: &str, left: &Value, right: &Value, apply: impl FnOnce(f64, f64) -> f64) -> Evaluated<Value> {
    match (number(left), number(right)) {
        (Some(a), Some(b)) => Ok(Value::Number(apply(a, b))),
        _ => Err(mismatch(operator, "two numbers", left, right)),
    }
}

/// Divides. As in JEXL, whole numbers give whole numbers.
fn divide(operator: &str, left: &Value, right: &Value, apply: impl FnOnce(f64, f64) -> f64) -> Evaluated<Value> {
    match (number(left), number(right)) {
        (Some(_), Some(0.0)) => Err(EvalError::Type {
            what: operator.to_owned(),
            needs: "a divisor that is not 0".to_owned(),
            got: "0".to_owned(),
        }),
        (Some(a), Some(b)) if a.fract() == 0.0 && b.fract() == 0.0 => Ok(Value::Number(apply(a, b).trunc())),
        _ => numbers(operator, left, right, apply),
    }
}

fn text<'v>(value: &'v Value, operator: &str) -> Evaluated<&'v str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        other => Err(EvalError::Type {
            what: operator.to_owned(),
            needs: "two texts".to_owned(),
            got: other.kind().to_owned(),
        }),
    }
}

fn mismatch(operator: &str, needs: &str, left: &Value, right: &Value) -> EvalError {
    EvalError::Type {
        what: operator.to_owned(),
        needs: needs.to_owned(),
        got: format!("{} and {}", left.kind(), right.kind()),
    }
}
