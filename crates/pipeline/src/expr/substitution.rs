//! Drone's `${NAME}` and what may be done with the value: `${DRONE_COMMIT_SHA:0:8}`, `${DRONE_TAG##v}`,
//! `${DRONE_BRANCH/\//-}`.
//!
//! Drone replaces these in the whole file before it reads it, from the `DRONE_*` and `CI_*` values of the build and
//! its parameters; every other name becomes nothing, and `$$` is a plain `$`. Kiln replaces them in the values of
//! the file when the step's turn has come, from the map `drone` of the scope.
//!
//! The functions are those of Drone's documentation, after the bash ones of the same spelling: patterns of `/` are
//! plain text, those of `#` and `%` are globs, where `*` also crosses a slash. They differ from bash where Drone does:
//! `:+` and `:?` are defaults like `:-`, a `-` is part of a name, and a place that is no number changes nothing.

use super::ast::{At, InShell, Operation, Part, Variable};
use super::parser::Fault;
use super::{EvalError, MAX_NESTING, PATTERN_COST, functions};

/// Splits a text at its substitutions; `$$` becomes `$`.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, Fault> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let mut parts = Vec::new();
    let mut plain = String::new();
    while let Some(c) = parser.rest().chars().next() {
        if parser.eat("$$") {
            plain.push('$');
        } else if parser.rest().starts_with("${") {
            flush(&mut parts, &mut plain);
            parts.push(parser.variable()?);
        } else {
            parser.at += c.len_utf8();
            plain.push(c);
        }
    }
    flush(&mut parts, &mut plain);
    if let [Part::Variable(variable)] = parts.as_mut_slice() {
        variable.whole = true;
    }
    Ok(parts)
}

fn flush(parts: &mut Vec<Part>, plain: &mut String) {
    if !plain.is_empty() {
        parts.push(Part::Text(std::mem::take(plain)));
    }
}

/// What stands before a default, and what a shell does there if it does something else.
const DEFAULTS: [(&str, Option<InShell>); 5] =
    [(":=", None), (":-", None), (":+", Some(InShell::Alternative)), (":?", Some(InShell::Failure)), ("=", None)];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn bad(&self, start: usize) -> Fault {
        let shown: String = self.text[start..].chars().take_while(|c| !c.is_whitespace()).take(24).collect();
        Fault {
            code: "bad-substitution",
            unsupported: false,
            message: format!("Drone cannot replace `{shown}`"),
            help: Some("where the shell's own variable is meant, write `$${...}`"),
            offset: start,
        }
    }

    fn variable(&mut self) -> Result<Part, Fault> {
        let start = self.at;
        if self.depth >= MAX_NESTING {
            return Err(self.bad(start));
        }
        self.depth += 1;
        self.at += 2;
        let length = self.eat("#");
        let name = self.name();
        if name.is_empty() {
            return Err(self.bad(start));
        }
        let operation = if length { Operation::Length } else { self.operation(start)? };
        if !self.eat("}") {
            return Err(self.bad(start));
        }
        self.depth -= 1;
        Ok(Part::Variable(Box::new(Variable { name, operation, whole: false })))
    }

    /// Parses a name. As in Drone, a `-` is a part of it.
    fn name(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        name
    }

    fn operation(&mut self, start: usize) -> Result<Operation, Fault> {
        if self.eat("^^") {
            Ok(Operation::Upper { first: false })
        } else if self.eat("^") {
            Ok(Operation::Upper { first: true })
        } else if self.eat(",,") {
            Ok(Operation::Lower { first: false })
        } else if self.eat(",") {
            Ok(Operation::Lower { first: true })
        } else if self.eat("##") {
            Ok(Operation::RemovePrefix { pattern: self.word("}", start)?, longest: true })
        } else if self.eat("#") {
            Ok(Operation::RemovePrefix { pattern: self.word("}", start)?, longest: false })
        } else if self.eat("%%") {
            Ok(Operation::RemoveSuffix { pattern: self.word("}", start)?, longest: true })
        } else if self.eat("%") {
            Ok(Operation::RemoveSuffix { pattern: self.word("}", start)?, longest: false })
        } else if self.eat("/") {
            self.replace(start)
        } else if let Some((_, in_shell)) = DEFAULTS.into_iter().find(|(sign, _)| self.eat(sign)) {
            Ok(Operation::Default { word: self.word("}", start)?, in_shell })
        } else if self.eat(":") {
            let from = self.word(":}", start)?;
            let length = if self.eat(":") { Some(self.word("}", start)?) } else { None };
            Ok(Operation::Slice { from, length })
        } else {
            Ok(Operation::Plain)
        }
    }

    fn replace(&mut self, start: usize) -> Result<Operation, Fault> {
        let at = if self.eat("/") {
            At::Everywhere
        } else if self.eat("#") {
            At::Start
        } else if self.eat("%") {
            At::End
        } else {
            At::First
        };
        let from = self.word("/", start)?;
        if !self.eat("/") {
            return Err(self.bad(start));
        }
        Ok(Operation::Replace { at, from, to: self.word("}", start)? })
    }

    /// Parses text up to one of these characters. A backslash before `/` or another backslash is removed.
    fn word(&mut self, ends: &str, start: usize) -> Result<Vec<Part>, Fault> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(self.bad(start));
            };
            if ends.contains(c) {
                flush(&mut parts, &mut plain);
                return Ok(parts);
            }
            if self.rest().starts_with("${") {
                flush(&mut parts, &mut plain);
                parts.push(self.variable()?);
                continue;
            }
            if self.rest().starts_with("\\/") || self.rest().starts_with("\\\\") {
                self.at += 1;
                plain.push(if self.eat("/") { '/' } else { '\\' });
                self.at += usize::from(plain.ends_with('\\'));
                continue;
            }
            self.at += c.len_utf8();
            plain.push(c);
        }
    }
}

impl Operation {
    /// Returns the number of operations that it counts as.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Operation::RemovePrefix { .. } | Operation::RemoveSuffix { .. } => PATTERN_COST,
            _ => 1,
        }
    }

    /// Returns the text that takes the place of the variable. `render` evaluates an argument.
    pub(super) fn apply(
        &self,
        value: &str,
        render: impl Fn(&[Part]) -> Result<String, EvalError>,
    ) -> Result<String, EvalError> {
        Ok(match self {
            Operation::Plain => value.to_owned(),
            Operation::Length => value.chars().count().to_string(),
            Operation::Upper { first: false } => value.to_uppercase(),
            Operation::Lower { first: false } => value.to_lowercase(),
            Operation::Upper { first: true } => first(value, |c| c.to_uppercase().collect()),
            Operation::Lower { first: true } => first(value, |c| c.to_lowercase().collect()),
            Operation::Slice { from, length } => {
                let length = length.as_ref().map(|length| render(length)).transpose()?;
                slice(value, &render(from)?, length.as_deref()).unwrap_or_else(|| value.to_owned())
            }
            Operation::Default { word, .. } if value.is_empty() => render(word)?,
            Operation::Default { .. } => value.to_owned(),
            Operation::RemovePrefix { pattern, longest } => {
                functions::without_prefix(value, &render(pattern)?, *longest)?
            }
            Operation::RemoveSuffix { pattern, longest } => {
                functions::without_suffix(value, &render(pattern)?, *longest)?
            }
            Operation::Replace { at, from, to } => {
                let (from, to) = (render(from)?, render(to)?);
                match at {
                    At::First => value.replacen(&from, &to, 1),
                    At::Everywhere => functions::bounded_replace(value, &from, &to)?,
                    At::Start => match value.strip_prefix(&from) {
                        Some(rest) => format!("{to}{rest}"),
                        None => value.to_owned(),
                    },
                    At::End => match value.strip_suffix(&from) {
                        Some(rest) => format!("{rest}{to}"),
                        None => value.to_owned(),
                    },
                }
            }
        })
    }
}

/// Returns a part of a text, or none where a place is no number. One below zero counts from the end.
fn slice(text: &str, from: &str, length: Option<&str>) -> Option<String> {
    let from: i64 = from.parse().ok()?;
    let skipped = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if from < 0 { text.chars().count().saturating_sub(skipped) } else { skipped };
    let rest = text.chars().skip(skipped);
    Some(match length {
        None => rest.collect(),
        Some(length) => rest.take(length.parse().ok()?).collect(),
    })
}

fn first(text: &str, change: impl Fn(char) -> String) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |c| change(c) + rest.as_str())
}
