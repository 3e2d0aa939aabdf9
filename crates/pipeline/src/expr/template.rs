//! Text that may hold expressions.

use std::collections::BTreeSet;

use kiln_document::diagnostic::{Diagnostic, Location, Severity};

use super::ast::{Expr, InShell, Operation, Part, Quote, Shown, Variable, walk_parts};
use super::eval::Evaluation;
use super::parser::{self, Fault};
use super::place::{floor_boundary, place};
use super::{EvalError, MARKER, Path, Scope, Value, substitution};

/// Where the caller gives what connectors of the Harness platform know.
const CONNECTORS: &str = "connectors";

/// Text that may hold expressions, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

impl Template {
    /// Parses text in which each `<+...>` is to be replaced. Text without any is a literal, and so is a `<+`
    /// that no expression could follow.
    ///
    /// # Errors
    /// A diagnostic at the offending place, when `location` is that of a one-line scalar, else at `location`.
    pub fn parse(text: &str, location: &Location) -> Result<Self, Diagnostic> {
        if !text.contains(MARKER) {
            return Ok(Self::literal(text));
        }
        let parts = parser::template(text).map_err(|fault| diagnostic(text, location, fault))?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Parses text that is one expression as a whole, as conditions are: `<+a.b> == "x" && <+c>`.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn condition(text: &str, location: &Location) -> Result<Self, Diagnostic> {
        let expr = parser::condition(text).map_err(|fault| diagnostic(text, location, fault))?;
        Ok(Self { text: text.to_owned(), parts: vec![Part::Expr(expr)] })
    }

    /// Parses text of a Drone file, in which each `${NAME}` is to be replaced and `$$` stands for `$`.
    ///
    /// # Errors
    /// As [`Template::parse`], when a `${` is not followed by what Drone knows.
    pub fn substituted(text: &str, location: &Location) -> Result<Self, Diagnostic> {
        let parts = substitution::parse(text).map_err(|fault| diagnostic(text, location, fault))?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Returns the names in `${NAME}` that leave nothing where they have no value, each once: those with a default, and
    /// those whose length is asked for, leave something.
    pub fn emptied(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.variables(&mut |variable| {
            if !matches!(variable.operation, Operation::Default { .. } | Operation::Length) {
                names.push(variable.name.as_str());
            }
        });
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        names
    }

    /// Returns the names of `${NAME:+word}` and `${NAME:?word}`, which are defaults here and something else in a shell.
    pub fn unlike_shell(&self) -> Vec<(&str, InShell)> {
        let mut found = Vec::new();
        self.variables(&mut |variable| {
            if let Operation::Default { in_shell: Some(in_shell), .. } = &variable.operation {
                found.push((variable.name.as_str(), *in_shell));
            }
        });
        found
    }

    fn variables<'v>(&'v self, visit: &mut dyn FnMut(&'v Variable)) {
        for part in &self.parts {
            if let Part::Variable(variable) = part {
                variable.walk(visit);
            }
        }
    }

    /// Returns a text that stands twice: quoted, within `before` and `between`, and then as it is.
    pub(crate) fn shown(self, before: &'static str, quote: Quote, between: &'static str) -> Self {
        let shown = Shown { parts: self.parts, before, quote, between };
        Self { text: self.text, parts: vec![Part::Shown(Box::new(shown))] }
    }

    /// Returns the text as JSON has it: within quotes, with escapes where its value needs them.
    pub(crate) fn into_json(self) -> Self {
        Self { text: serde_json::Value::from(self.text).to_string(), parts: vec![Part::Json(self.parts)] }
    }

    /// Returns a text with the values of its expressions. Without one for each of them there is no such text.
    #[must_use]
    pub fn render_text(text: &str, scope: &Scope) -> Option<String> {
        Self::parse(text, &Location::default()).ok()?.render(scope).ok()
    }

    /// Joins templates to one text.
    pub(crate) fn joined(templates: Vec<Template>) -> Self {
        let mut joined = Self { text: String::new(), parts: Vec::new() };
        for template in templates {
            joined.text.push_str(&template.text);
            joined.parts.extend(template.parts);
        }
        joined
    }

    /// Returns text that stands for itself, whatever it holds.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: vec![Part::Text(text.clone())], text }
    }

    /// Returns the value of a secret, for dialects that name one outside of any text.
    pub fn secret(name: &str) -> Self {
        let receiver = Box::new(Expr::Name("secrets".to_owned()));
        let argument = Expr::Text(vec![Part::Text(name.to_owned())]);
        Self {
            text: format!("<+secrets.getValue({})>", serde_json::Value::from(name)),
            parts: vec![Part::Expr(Expr::Call(Some(receiver), "getValue".to_owned(), vec![argument]))],
        }
    }

    /// Returns the address that a connector of the Harness platform knows; the caller gives it by that name.
    pub(crate) fn connector_url(connector: &str) -> Self {
        let names = [CONNECTORS].into_iter().chain(connector.split('.')).chain(["url"]);
        let mut expr = None;
        for name in names {
            expr = Some(match expr {
                None => Expr::Name(name.to_owned()),
                Some(of) => Expr::Field(Box::new(of), name.to_owned()),
            });
        }
        Self { text: format!("<+{CONNECTORS}.{connector}.url>"), parts: expr.map(Part::Expr).into_iter().collect() }
    }

    /// Returns the names of what connectors know and the template needs.
    pub(crate) fn of_connectors(&self) -> Vec<String> {
        let paths = self.references().into_iter();
        paths.filter(|path| path.segments[0] == CONNECTORS).map(|path| path.to_string()).collect()
    }

    /// Returns the text as the file has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether nothing in it is evaluated.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Returns whether it is exactly one expression, whose value can be anything; other templates are text.
    pub(crate) fn is_one_expression(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Expr(_) | Part::Input { .. }])
    }

    /// Returns whether the text around its expressions holds words, commas and spaces only, so that it can be a list as
    /// people write it.
    pub(crate) fn joins_words(&self) -> bool {
        let plain = |c: char| c.is_alphanumeric() || "_-., :/@".contains(c);
        self.parts.iter().all(|part| !matches!(part, Part::Text(text) if !text.chars().all(plain)))
    }

    /// Returns whether a method is called on one of its expressions from outside: `<+a>.split(',')`.
    pub(crate) fn calls_outside(&self) -> bool {
        self.parts.windows(2).any(|pair| match pair {
            [Part::Expr(_), Part::Text(text)] => text.strip_prefix('.').is_some_and(|rest| {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                end > 0 && rest[end..].starts_with('(')
            }),
            _ => false,
        })
    }

    /// Returns the names of the secrets it takes, as far as they are written out, each once.
    pub fn secrets(&self) -> Vec<String> {
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        walk_parts(&self.parts, &mut |expr| {
            let name = match expr {
                Expr::Call(Some(of), method, args) if method == "getValue" && is_name(of, "secrets") => {
                    args.first().and_then(Expr::literal)
                }
                other => other
                    .path()
                    .filter(|path| path.segments.len() > 1 && path.segments[0] == "secrets")
                    .map(|path| path.segments[1..].join(".")),
            };
            names.extend(name.filter(|name| seen.insert(name.clone())));
        });
        names
    }

    /// Returns whether it holds an `<+input>` without a default, so that it has no value before one is given.
    pub fn inputs(&self) -> bool {
        let mut found = self.parts.iter().any(|part| match part {
            Part::Input { default } => default.is_none(),
            Part::Json(parts) => parts.iter().any(|part| matches!(part, Part::Input { default: None })),
            Part::Text(_) | Part::Expr(_) | Part::Variable(_) | Part::Shown(_) => false,
        });
        walk_parts(&self.parts, &mut |expr| found |= is_name(expr, "input"));
        found
    }

    /// Returns the names that it refers to, as far as they are written out, secrets left out, each once.
    pub fn references(&self) -> Vec<Path> {
        let (mut paths, mut seen) = (Vec::new(), BTreeSet::new());
        walk_parts(&self.parts, &mut |expr| {
            let path = expr.path().filter(|path| path.segments[0] != "secrets" && path.segments[0] != "input");
            paths.extend(path.filter(|path| seen.insert(path.clone())));
        });
        paths
    }

    /// Returns the text with every expression replaced.
    ///
    /// # Errors
    /// The first expression without a value.
    pub fn render(&self, scope: &Scope) -> Result<String, EvalError> {
        Evaluation::new(scope).render(&self.parts)
    }

    /// Returns the value: that of the expression when the template is exactly one, else the rendered text.
    ///
    /// # Errors
    /// The first expression without a value.
    pub fn value(&self, scope: &Scope) -> Result<Value, EvalError> {
        Evaluation::new(scope).value(&self.parts)
    }

    /// Returns whether it holds, as a condition: the whole text is one expression; text that is empty or blank holds.
    ///
    /// # Errors
    /// The first expression without a value, or text that is not one expression.
    pub fn truthy(&self, scope: &Scope) -> Result<bool, EvalError> {
        if let [Part::Expr(_) | Part::Input { .. }] = self.parts.as_slice() {
            return Ok(self.value(scope)?.truthy());
        }
        if self.text.trim().is_empty() {
            return Ok(true);
        }
        let expr = parser::condition(&self.text)
            .map_err(|fault| EvalError::Syntax { text: self.text.clone(), why: fault.message })?;
        Ok(Evaluation::new(scope).value(&[Part::Expr(expr)])?.truthy())
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

fn is_name(expr: &Expr, wanted: &str) -> bool {
    matches!(expr, Expr::Name(name) if name == wanted)
}

fn diagnostic(text: &str, location: &Location, fault: Fault) -> Diagnostic {
    let exact = place(text, location, fault.offset);
    let message = match &exact {
        Some(_) => fault.message,
        None => format!("{}, in line {}", fault.message, line(text, fault.offset)),
    };
    Diagnostic {
        code: fault.code,
        severity: if fault.unsupported { Severity::Unsupported } else { Severity::Invalid },
        message,
        location: exact.unwrap_or_else(|| location.clone()),
        help: fault.help.map(Into::into),
        part: None,
    }
}

/// Returns a line of a text for a message: its number, and the text around the place that is meant.
fn line(text: &str, offset: usize) -> String {
    const BEFORE: usize = 20;
    const SHOWN: usize = 60;
    let before = &text[..floor_boundary(text, offset)];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let skipped = before[start..].chars().count().saturating_sub(BEFORE);
    let shown: String = text[start..].lines().next().unwrap_or_default().chars().skip(skipped).take(SHOWN).collect();
    format!("{} of the text: `{}`", before.matches('\n').count() + 1, shown.trim())
}
