//! Methods of texts, lists and maps: those of Java's `String`, `List` and `Map` that pipeline files call.

use kiln_document::schema::closest;

use super::{EvalError, Value, functions, operators};

type Evaluated<T> = Result<T, EvalError>;

const TEXT: [&str; 25] = [
    "charAt",
    "concat",
    "contains",
    "endsWith",
    "equals",
    "equalsIgnoreCase",
    "indexOf",
    "isBlank",
    "isEmpty",
    "lastIndexOf",
    "length",
    "matches",
    "repeat",
    "replace",
    "replaceAll",
    "replaceFirst",
    "size",
    "split",
    "startsWith",
    "strip",
    "substring",
    "toLowerCase",
    "toString",
    "toUpperCase",
    "trim",
];
const LIST: [&str; 8] = ["contains", "get", "indexOf", "isEmpty", "join", "length", "size", "toString"];
const MAP: [&str; 9] =
    ["containsKey", "entrySet", "get", "getOrDefault", "isEmpty", "keySet", "size", "toString", "values"];

/// Calls a method.
pub(super) fn call(of: &Value, name: &str, args: &[Value]) -> Evaluated<Value> {
    let call = Call { name, args };
    let known: &[&str] = match of {
        Value::Null => return on_null(name),
        Value::Map(_) => &MAP,
        Value::List(_) => &LIST,
        _ => &TEXT,
    };
    if !known.contains(&name) {
        let suggestion = closest(name, known.iter().copied()).map(str::to_owned);
        return Err(EvalError::Function { name: name.to_owned(), suggestion });
    }
    match of {
        Value::List(items) => on_list(of, items, &call),
        Value::Map(map) => on_map(of, map, &call),
        Value::String(text) => on_text(text, &call),
        other => on_text(&other.to_string(), &call),
    }
}

fn on_null(name: &str) -> Evaluated<Value> {
    match name {
        "isEmpty" | "isBlank" => Ok(Value::Bool(true)),
        _ => Ok(Value::Null),
    }
}

struct Call<'c> {
    name: &'c str,
    args: &'c [Value],
}

impl Call<'_> {
    fn wrong(&self, needs: &str) -> EvalError {
        let got = match self.args {
            [] => "nothing".to_owned(),
            args => args.iter().map(Value::kind).collect::<Vec<_>>().join(" and "),
        };
        EvalError::Type { what: self.name.to_owned(), needs: needs.to_owned(), got }
    }

    fn none(&self) -> Evaluated<()> {
        if self.args.is_empty() { Ok(()) } else { Err(self.wrong("no arguments")) }
    }

    fn one(&self) -> Evaluated<&Value> {
        match self.args {
            [one] => Ok(one),
            _ => Err(self.wrong("one argument")),
        }
    }

    fn text(&self) -> Evaluated<String> {
        self.one().map(Value::to_string)
    }

    fn two_texts(&self) -> Evaluated<(String, String)> {
        match self.args {
            [a, b] => Ok((a.to_string(), b.to_string())),
            _ => Err(self.wrong("two texts")),
        }
    }

    fn position(&self, value: &Value, length: usize) -> Evaluated<usize> {
        let index = operators::number(value).filter(|n| n.fract() == 0.0).ok_or_else(|| self.wrong("a position"))?;
        let index = index as i64;
        usize::try_from(index).ok().filter(|index| *index <= length).ok_or_else(|| EvalError::Range {
            what: self.name.to_owned(),
            index,
            length,
        })
    }
}

fn on_text(text: &str, call: &Call<'_>) -> Evaluated<Value> {
    Ok(match call.name {
        "contains" => text.contains(&call.text()?).into(),
        "startsWith" => text.starts_with(&call.text()?).into(),
        "endsWith" => text.ends_with(&call.text()?).into(),
        "equals" => (text == call.text()?).into(),
        "equalsIgnoreCase" => (text.to_lowercase() == call.text()?.to_lowercase()).into(),
        "matches" => functions::matches_whole(&call.text()?, text)?.into(),
        "concat" => format!("{text}{}", call.text()?).into(),
        "isEmpty" => text.is_empty().into(),
        "isBlank" => text.trim().is_empty().into(),
        "indexOf" => position_of(text, text.find(&call.text()?)),
        "lastIndexOf" => position_of(text, text.rfind(&call.text()?)),
        "replace" => {
            let (from, to) = call.two_texts()?;
            functions::bounded_replace(text, &from, &to)?.into()
        }
        "replaceAll" | "replaceFirst" => {
            let (pattern, to) = call.two_texts()?;
            functions::regex_replace(&pattern, text, &to, call.name == "replaceAll")?.into()
        }
        "repeat" => functions::repeat(text, call.position(call.one()?, super::MAX_TEXT_BYTES)?)?.into(),
        "split" => split(text, call)?,
        "charAt" | "substring" => cut(text, call)?.into(),
        _ => {
            call.none()?;
            match call.name {
                "trim" | "strip" => text.trim().into(),
                "toLowerCase" => text.to_lowercase().into(),
                "toUpperCase" => text.to_uppercase().into(),
                "length" | "size" => count(text.chars().count()),
                _ => text.into(),
            }
        }
    })
}

/// Turns a byte position into one that counts characters; -1 for none.
fn position_of(text: &str, found: Option<usize>) -> Value {
    found.map_or(Value::Number(-1.0), |byte| count(text[..byte].chars().count()))
}

fn count(number: usize) -> Value {
    Value::Number(number as f64)
}

/// Carries out `substring(from)`, `substring(from, to)` and `charAt(at)`.
fn cut(text: &str, call: &Call<'_>) -> Evaluated<String> {
    let length = text.chars().count();
    let (from, to) = match (call.name, call.args) {
        ("charAt", [at]) => {
            let at = call.position(at, length.saturating_sub(1))?;
            (at, at + 1)
        }
        ("substring", [from]) => (call.position(from, length)?, length),
        ("substring", [from, to]) => {
            let to = call.position(to, length)?;
            (call.position(from, to)?, to)
        }
        _ => return Err(call.wrong("one or two positions")),
    };
    Ok(text.chars().skip(from).take(to - from).collect())
}

/// Splits as Java does: by a regular expression, without the empty texts at the end unless a negative limit asks for
/// them.
fn split(text: &str, call: &Call<'_>) -> Evaluated<Value> {
    let (pattern, limit) = match call.args {
        [pattern] => (pattern, 0.0),
        [pattern, limit] => (pattern, operators::number(limit).ok_or_else(|| call.wrong("a pattern and a limit"))?),
        _ => return Err(call.wrong("a pattern")),
    };
    let mut pieces = functions::regex_split(&pattern.to_string(), text, limit)?;
    if limit == 0.0 {
        while pieces.len() > 1 && pieces.last().is_some_and(String::is_empty) {
            pieces.pop();
        }
    }
    Ok(Value::List(pieces.into_iter().map(Value::String).collect()))
}

fn on_list(of: &Value, items: &[Value], call: &Call<'_>) -> Evaluated<Value> {
    Ok(match call.name {
        "contains" => {
            let wanted = call.one()?;
            items.iter().any(|item| operators::equal(item, wanted)).into()
        }
        "indexOf" => {
            let wanted = call.one()?;
            items.iter().position(|item| operators::equal(item, wanted)).map_or(Value::Number(-1.0), count)
        }
        "get" => {
            let index = call.position(call.one()?, items.len().saturating_sub(1))?;
            items.get(index).cloned().ok_or_else(|| EvalError::Range {
                what: "get".to_owned(),
                index: index as i64,
                length: items.len(),
            })?
        }
        "join" => {
            let separator = call.text()?;
            items.iter().map(Value::to_string).collect::<Vec<_>>().join(&separator).into()
        }
        _ => {
            call.none()?;
            match call.name {
                "isEmpty" => items.is_empty().into(),
                "toString" => of.to_string().into(),
                _ => count(items.len()),
            }
        }
    })
}

fn on_map(of: &Value, map: &super::Map, call: &Call<'_>) -> Evaluated<Value> {
    Ok(match call.name {
        "get" => map.get(&call.text()?).cloned().unwrap_or_default(),
        "getOrDefault" => match call.args {
            [key, default] => map.get(&key.to_string()).unwrap_or(default).clone(),
            _ => return Err(call.wrong("a name and a value")),
        },
        "containsKey" => map.get(&call.text()?).is_some().into(),
        _ => {
            call.none()?;
            match call.name {
                "isEmpty" => map.is_empty().into(),
                "size" => count(map.len()),
                "keySet" => Value::List(map.keys().map(Value::from).collect()),
                "values" => Value::List(map.iter().map(|(_, value)| value.clone()).collect()),
                "entrySet" => Value::List(map.iter().map(entry).collect()),
                _ => of.to_string().into(),
            }
        }
    })
}

fn entry((name, value): (&str, &Value)) -> Value {
    let mut entry = super::Map::new();
    entry.insert("key", name);
    entry.insert("value", value.clone());
    entry.into()
}
