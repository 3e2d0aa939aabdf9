//! Functions without a receiver (`size(x)`) and those of Harness' namespaces (`json.select(...)`), and the
//! regular expressions that they share with the methods.

use kiln_document::schema::closest;
use regex::{Regex, RegexBuilder};

use super::{EvalError, MAX_TEXT_BYTES, Value};

type Evaluated<T> = Result<T, EvalError>;

/// Largest compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1024 * 1024;
/// Deepest level that a JSON path may reach.
const MAX_JSON_PATH: usize = 64;

const KNOWN: [&str; 9] = [
    "size",
    "empty",
    "json.select",
    "json.object",
    "json.list",
    "json.format",
    "regex.extract",
    "regex.match",
    "regex.replace",
];
/// Namespaces of functions that read an account's files and settings, or formats that Kiln does not read.
const REMOTE: [&str; 6] = ["fileStore", "configFile", "configFiles", "xml", "yaml", "html"];

/// Returns whether a name at the root is a namespace of functions.
pub(super) fn is_space(name: &str) -> bool {
    matches!(name, "json" | "regex") || REMOTE.contains(&name)
}

/// Calls a function; `space` is empty for one without a namespace.
pub(super) fn call(space: &str, name: &str, args: &[Value]) -> Evaluated<Value> {
    let full = if space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
    if REMOTE.contains(&space) {
        return Err(EvalError::Remote { name: full });
    }
    let wrong = |needs: &str| EvalError::Type {
        what: full.clone(),
        needs: needs.to_owned(),
        got: args.iter().map(Value::kind).collect::<Vec<_>>().join(" and "),
    };
    match (full.as_str(), args) {
        ("size", [of]) => Ok(Value::Number(match of {
            Value::Null => 0.0,
            Value::List(items) => items.len() as f64,
            Value::Map(map) => map.len() as f64,
            other => other.to_string().chars().count() as f64,
        })),
        ("empty", [of]) => Ok(Value::Bool(match of {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Number(value) => *value == 0.0,
            other => other.to_string().is_empty(),
        })),
        ("json.select" | "json.object" | "json.list", [path, json]) => {
            let found = json_select(&full, &path.to_string(), json)?;
            Ok(match found {
                Value::String(_) | Value::Null => found,
                found if full == "json.select" => Value::String(found.to_string()),
                found => found,
            })
        }
        ("json.format", [value]) => Ok(Value::String(value.to_json().to_string())),
        ("regex.extract", [pattern, text]) => regex_extract(&pattern.to_string(), &text.to_string()),
        ("regex.match", [pattern, text]) => {
            Ok(Value::Bool(compile(&pattern.to_string(), &pattern.to_string())?.is_match(&text.to_string())))
        }
        ("regex.replace", [pattern, to, text]) => {
            regex_replace(&pattern.to_string(), &text.to_string(), &to.to_string(), true).map(Value::String)
        }
        ("size" | "empty" | "json.format", _) => Err(wrong("one argument")),
        ("json.select" | "json.object" | "json.list", _) => Err(wrong("a path and the JSON")),
        ("regex.extract" | "regex.match", _) => Err(wrong("a pattern and a text")),
        ("regex.replace", _) => Err(wrong("a pattern, a replacement and a text")),
        _ => Err(EvalError::Function { suggestion: closest(&full, KNOWN).map(str::to_owned), name: full }),
    }
}

/// Returns the value at `a.b[0].c` (a leading `$` is allowed) in JSON text or in a value.
fn json_select(what: &str, path: &str, json: &Value) -> Evaluated<Value> {
    let mut at = match json {
        Value::String(text) => serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| EvalError::Json { what: what.to_owned(), why: error.to_string() })?
            .into(),
        other => other.clone(),
    };
    if path.contains(['*', '?', '@']) || path.contains("..") {
        let why = "only names and positions are taken, no `*`, `..` or filters".to_owned();
        return Err(EvalError::Pattern { pattern: path.to_owned(), why });
    }
    let normal = path.trim_start_matches('$').replace('[', ".").replace(']', "");
    let names = normal.split('.').filter(|name| !name.is_empty()).map(|name| name.trim_matches(['"', '\'']));
    for name in names.take(MAX_JSON_PATH) {
        let next = match &at {
            Value::Map(map) => map.get(name).cloned(),
            Value::List(items) => name.parse().ok().and_then(|index: usize| items.get(index).cloned()),
            _ => None,
        };
        at = next.ok_or_else(|| EvalError::Unresolved { path: format!("{what}({path})"), suggestion: None })?;
    }
    Ok(at)
}

/// Returns the first group of the first match, or the whole match when there are no groups; null when nothing matches.
fn regex_extract(pattern: &str, text: &str) -> Evaluated<Value> {
    let found = compile(pattern, pattern)?.captures(text).and_then(|groups| groups.get(1).or_else(|| groups.get(0)));
    Ok(found.map_or(Value::Null, |found| Value::String(found.as_str().to_owned())))
}

/// Returns whether the pattern matches the text from its start to its end.
pub(super) fn matches_whole(pattern: &str, text: &str) -> Evaluated<bool> {
    Ok(compile(&format!("^(?:{pattern})$"), pattern)?.is_match(text))
}

/// Replaces by a regular expression; in `to`, `$1` is a group and a backslash makes the next character plain.
pub(super) fn regex_replace(pattern: &str, text: &str, to: &str, all: bool) -> Evaluated<String> {
    let regex = compile(pattern, pattern)?;
    let matches = if all { regex.find_iter(text).count() } else { 1 };
    bounded(text, matches, to.len() + text.len())?;
    let limit = usize::from(!all);
    Ok(regex.replacen(text, limit, replacement(to).as_str()).into_owned())
}

/// Turns Java's notation of a replacement into that of the regex crate: in Java a group's number ends with its digits,
/// and a `$` may be escaped.
fn replacement(java: &str) -> String {
    let mut text = String::with_capacity(java.len() + 8);
    let mut rest = java.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('$') => text.push_str("$$"),
                Some(c) => text.push(c),
                None => {}
            },
            '$' => {
                let mut digits = String::new();
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                match (digits.as_str(), rest.peek()) {
                    ("", Some('{')) => text.push('$'),
                    ("", _) => text.push_str("$$"),
                    (digits, _) => {
                        text.push_str("${");
                        text.push_str(digits);
                        text.push('}');
                    }
                }
            }
            c => text.push(c),
        }
    }
    text
}

/// Replaces each occurrence of a text.
pub(super) fn bounded_replace(text: &str, from: &str, to: &str) -> Evaluated<String> {
    bounded(text, text.matches(from).count(), to.len())?;
    Ok(text.replace(from, to))
}

/// Returns the text without what a glob matches at its start.
pub(super) fn without_prefix(text: &str, glob: &str, longest: bool) -> Evaluated<String> {
    let regex = compile(&format!("^{}", glob_regex(glob, longest)), glob)?;
    Ok(regex.find(text).map_or(text, |found| &text[found.end()..]).to_owned())
}

/// Returns the text without what a glob matches at its end.
pub(super) fn without_suffix(text: &str, glob: &str, longest: bool) -> Evaluated<String> {
    let keep = if longest { "(?s:.)*?" } else { "(?s:.)*" };
    let regex = compile(&format!("^({keep}){}$", glob_regex(glob, true)), glob)?;
    Ok(regex.captures(text).and_then(|groups| groups.get(1)).map_or(text, |kept| kept.as_str()).to_owned())
}

/// Turns a shell's glob into a regular expression.
fn glob_regex(glob: &str, greedy: bool) -> String {
    let mut regex = String::new();
    for c in glob.chars() {
        match c {
            '*' if greedy => regex.push_str("(?s:.)*"),
            '*' => regex.push_str("(?s:.)*?"),
            '?' => regex.push_str("(?s:.)"),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex
}

/// Returns the text several times over.
pub(super) fn repeat(text: &str, times: usize) -> Evaluated<String> {
    bounded("", times, text.len())?;
    Ok(text.repeat(times))
}

/// Splits by a regular expression into at most `limit` pieces when it is positive.
pub(super) fn regex_split(pattern: &str, text: &str, limit: f64) -> Evaluated<Vec<String>> {
    let regex = compile(pattern, pattern)?;
    Ok(if limit >= 1.0 {
        regex.splitn(text, limit as usize).map(str::to_owned).collect()
    } else {
        // Java knows no empty first piece before a match without width, as `split("")` makes.
        let skip = usize::from(regex.find(text).is_some_and(|found| found.is_empty() && !text.is_empty()));
        regex.split(text).skip(skip).map(str::to_owned).collect()
    })
}

fn bounded(text: &str, times: usize, each: usize) -> Evaluated<()> {
    let most = text.len().saturating_add(times.saturating_mul(each));
    if most > MAX_TEXT_BYTES { Err(EvalError::Budget) } else { Ok(()) }
}

fn compile(full: &str, shown: &str) -> Evaluated<Regex> {
    RegexBuilder::new(full).size_limit(MAX_REGEX_BYTES).build().map_err(|error| EvalError::Pattern {
        pattern: shown.to_owned(),
        why: error.to_string().lines().last().unwrap_or("it does not parse").trim().to_owned(),
    })
}
