//! Substitutes `$NAME` and `${NAME}` in values.
//!
//! It works on the tree, after the text was parsed: a value stays one value, whatever the variable contains, and cannot
//! add keys. `$$` is a dollar sign; a `$` before anything but a name or a brace stays as it is.

use std::collections::HashSet;

use kiln_document::diagnostic::Diagnostic;
use kiln_document::yaml::{Kind, Node, Scalar};

use crate::reader::Reader;
use crate::secrets::is_secret;

/// Most bytes that variables may add to a file.
const MAX_SUBSTITUTED_BYTES: usize = 1024 * 1024;

/// Advice for a literal dollar sign.
const DOLLAR: &str = "write `$$` where a dollar sign is meant";

/// Puts in the variables' values. A variable that is not set is reported at its first use. `user_data` is left alone,
/// because it is a program with dollar signs of its own.
pub(crate) fn environment(root: &mut Node, env: &dyn Fn(&str) -> Option<String>, reader: &mut Reader<'_>) {
    let missing = HashSet::new();
    Walk { env, reader, left_bytes: MAX_SUBSTITUTED_BYTES, secret: false, missing }.node(root);
}

struct Walk<'a, 'b> {
    env: &'a dyn Fn(&str) -> Option<String>,
    reader: &'a mut Reader<'b>,
    left_bytes: usize,
    secret: bool,
    /// Messages about variables without a value.
    missing: HashSet<String>,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.kind {
            Kind::Sequence(items) => items.iter_mut().for_each(|item| self.node(item)),
            Kind::Mapping(entries) => {
                for (key, value) in entries {
                    if !key.text().is_some_and(|key| key.eq_ignore_ascii_case("user_data")) {
                        let outer = self.secret;
                        self.secret |= key.text().is_some_and(is_secret);
                        self.node(value);
                        self.secret = outer;
                    }
                }
            }
            Kind::Scalar(scalar) if scalar.text.contains('$') => match self.text(&scalar.text) {
                Ok(text) if text.is_empty() && scalar.plain => {
                    let message = format!("`{}` is set but empty", scalar.text);
                    let help = "give the variable a value, or leave the key out";
                    self.reader.push(Diagnostic::invalid("empty-variable", &node.location, message).help(help));
                    *scalar = Scalar::unquoted(String::new());
                }
                Ok(text) => {
                    self.reader.note_substituted(&node.location);
                    *scalar = match scalar.plain {
                        true => Scalar::unquoted(text),
                        false => Scalar { text, ..scalar.clone() },
                    };
                }
                Err((code, message, help)) => {
                    let (message, help) = match self.secret && !is_variable(&scalar.text) {
                        // The text after the dollar sign may be part of the secret.
                        true => ("a `$` in this secret begins no variable that is set".to_owned(), DOLLAR.to_owned()),
                        false => (message, help),
                    };
                    // The file is invalid, and nothing can be said about an unknown value.
                    self.reader.note_unknown(&node.location);
                    if self.secret || self.missing.insert(message.clone()) {
                        self.reader.push(Diagnostic::invalid(code, &node.location, message).help(help));
                    }
                    *scalar = Scalar::unquoted(String::new());
                }
            },
            Kind::Scalar(_) => {}
        }
    }

    fn text(&mut self, text: &str) -> Result<String, (&'static str, String, String)> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let (name, after) = match after.strip_prefix('{') {
                Some(inner) => braced(inner)?,
                None => after.split_at(name_length(after)),
            };
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&self.value(name)?);
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&mut self, name: &str) -> Result<String, (&'static str, String, String)> {
        let Some(value) = (self.env)(name) else {
            let message = format!("the environment variable `{name}` is not set");
            let help = format!("set `{name}` for the runner, or write `$$` where a dollar sign is meant");
            return Err(("missing-variable", message, help));
        };
        let Some(left) = self.left_bytes.checked_sub(value.len()) else {
            let message = format!("environment variables add more than {MAX_SUBSTITUTED_BYTES} bytes to the file");
            return Err(("variables-too-large", message, "use shorter values".to_owned()));
        };
        self.left_bytes = left;
        Ok(value)
    }
}

/// Returns whether a value is a single variable.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix('$').unwrap_or_default();
    let name = name.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(name);
    !name.is_empty() && name_length(name) == name.len()
}

/// Splits the text after `${` into the name and the rest.
fn braced(inner: &str) -> Result<(&str, &str), (&'static str, String, String)> {
    let (name, after) = inner.split_once('}').unwrap_or((inner, ""));
    let whole = !name.is_empty() && name_length(name) == name.len() && inner.len() > name.len();
    if whole {
        return Ok((name, after));
    }
    let quoted: String = inner.chars().take(40).collect();
    let message = format!("`${{{quoted}` is not a variable in braces");
    let help =
        "write `${NAME}` with letters, digits and `_`, or `$$` where a dollar sign is meant; there are no defaults";
    Err(("bad-variable", message, help.to_owned()))
}

/// Returns the length of the variable's name at the beginning of a text.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}
