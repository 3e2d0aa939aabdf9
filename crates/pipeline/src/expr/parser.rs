//! Recursive descent over the text of a template, without a token list: what a `<`, `>` or quote means depends on
//! where it stands.
//!
//! `>` ends a `<+` unless it is written with a space before it and a further `>` follows on the line: so
//! `<+a>` ends at once, and `<+<+a> > 5>` compares.

use super::ast::{Expr, Operator, Part};
use super::precedence::{self, binding, keyword};
use super::{MARKER, MAX_EXPRESSION_BYTES, MAX_LINKS, MAX_NESTING};

/// Why a text is not a template.
#[derive(Debug)]
pub(super) struct Fault {
    pub code: &'static str,
    pub unsupported: bool,
    pub message: String,
    pub help: Option<&'static str>,
    /// Byte in the text.
    pub offset: usize,
}

type Parsed<T> = Result<T, Fault>;

/// Splits a text at its expressions.
pub(super) fn template(text: &str) -> Parsed<Vec<Part>> {
    let mut parser = Parser { text, at: 0, depth: 0, angles: 0, limit: text.len(), links: 0, eager: false };
    let mut parts = Vec::new();
    let mut literal = 0;
    while let Some(found) = text[parser.at..].find(MARKER) {
        let start = parser.at + found;
        let meant = meant(&text[..start], &text[start + 2..]);
        parser.at = start;
        let part = match meant {
            Meant::Text => None,
            Meant::Either => match parser.angle(true) {
                Err(fault) if fault.code == "expression-syntax" => None,
                part => Some(part?),
            },
            Meant::Expression => Some(parser.angle(true)?),
        };
        let Some(part) = part else {
            parser.at = start + 2;
            parser.angles = 0;
            parser.depth = 0;
            continue;
        };
        push_text(&mut parts, &text[literal..start]);
        parts.push(part);
        literal = parser.at;
    }
    push_text(&mut parts, &text[literal..]);
    Ok(parts)
}

/// Parses a text that is one expression. Where a `>` has no space before it and cannot end a `<+`, it compares:
/// `<+a.size()>0>`.
pub(super) fn condition(text: &str) -> Parsed<Expr> {
    let strict = whole(text, false);
    match strict {
        Err(_) if text.contains('>') => whole(text, true).or(strict),
        strict => strict,
    }
}

fn whole(text: &str, eager: bool) -> Parsed<Expr> {
    let mut parser = Parser { text, at: 0, depth: 0, angles: 0, limit: text.len(), links: 0, eager };
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(parser.too_long(0));
    }
    let expr = parser.expression()?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.unexpected("an operator or the end"));
    }
    Ok(expr)
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// How a `<+` in a text is read.
enum Meant {
    Expression,
    /// As an expression if it can be parsed as one: `x <+3` in a script cannot.
    Either,
    Text,
}

/// Returns the rest of the line, as far as an expression can reach.
fn first_line(text: &str) -> &str {
    let mut end = text.len().min(MAX_EXPRESSION_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].lines().next().unwrap_or_default()
}

fn meant(before: &str, after: &str) -> Meant {
    let line = first_line(after);
    let inside = line.trim_start();
    if before.ends_with('<') && !line.contains('>') {
        // A heredoc.
        return Meant::Text;
    }
    match inside.chars().next() {
        // The expression may start on the next line.
        None if after.len() > line.len() => Meant::Either,
        Some(c) if c.is_ascii_digit() || c == '-' => Meant::Either,
        Some(c) if c.is_ascii_alphabetic() || "_(!\"'<[{".contains(c) => Meant::Expression,
        _ => Meant::Text,
    }
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    depth: usize,
    /// Number of `<+` that are open.
    angles: usize,
    /// Byte from which on the outermost expression is too long.
    limit: usize,
    /// Number of fields, indices and operators of the outermost expression so far.
    links: usize,
    /// Whether `>` compares wherever a later one can still end what is open.
    eager: bool,
}

impl Parser<'_> {
    /// Parses one `<+...>`; `at` stands on the `<`.
    pub(super) fn angle(&mut self, in_text: bool) -> Parsed<Part> {
        let start = self.at;
        if self.angles == 0 {
            self.limit = start.saturating_add(MAX_EXPRESSION_BYTES);
            self.links = 0;
        }
        self.at += 2;
        self.angles += 1;
        let expr = self.expression()?;
        self.space();
        if !self.eat(">") {
            return Err(if self.at >= self.text.len() {
                Fault {
                    help: Some("put a `>` where the expression ends"),
                    ..self.fault("expression-syntax", "`<+` is never closed by `>`".to_owned(), start)
                }
            } else {
                self.unexpected("an operator or `>`")
            });
        }
        self.angles -= 1;
        if self.at > self.limit {
            return Err(self.too_long(start));
        }
        if in_text && expr.path().is_some_and(|path| matches!(path.segments[..], [ref name] if name == "input")) {
            return Ok(Part::Input { default: self.input_modifiers() });
        }
        Ok(Part::Expr(expr))
    }

    /// Parses what may follow an `<+input>`: `.default(x)`, `.allowedValues(x,y)`, `.regex(x)`, `.executionInput()`.
    fn input_modifiers(&mut self) -> Option<String> {
        const NAMES: [&str; 6] =
            ["default", "allowedValues", "regex", "executionInput", "selectOneFrom", "selectManyFrom"];
        let mut default = None;
        while let Some(rest) = self.rest().strip_prefix('.') {
            let Some(name) =
                NAMES.into_iter().find(|name| rest.strip_prefix(name).is_some_and(|after| after.starts_with('(')))
            else {
                break;
            };
            let argument = self.bracketed(self.at + 1 + name.len());
            if name == "default" {
                default = Some(argument);
            }
        }
        default
    }

    /// Returns the raw text between the bracket at `open` and its partner, or to the end: a regular expression may hold
    /// unpaired brackets.
    fn bracketed(&mut self, open: usize) -> String {
        let mut depth = 0_usize;
        for (index, c) in self.text[open..].char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.at = open + index + 1;
                return self.text[open + 1..open + index].to_owned();
            }
        }
        self.at = self.text.len();
        self.text[open + 1..].to_owned()
    }

    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let test = parser.binary(0)?;
            parser.space();
            if parser.rest().starts_with("?:") || parser.rest().starts_with("??") || !parser.eat("?") {
                return Ok(test);
            }
            let yes = parser.expression()?;
            parser.space();
            if !parser.eat(":") {
                return Err(parser.unexpected("`:` of the `? :`"));
            }
            let no = parser.expression()?;
            Ok(Expr::Choose(Box::new(test), Box::new(yes), Box::new(no)))
        })
    }

    /// Parses operators that bind at least as tightly as `level`.
    fn binary(&mut self, level: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        while let Some((operator, length)) = self.operator(level) {
            self.count_link()?;
            self.at += length;
            let right = self.nested(|parser| parser.binary(binding(operator) + 1))?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        self.space();
        let rest = self.rest();
        if rest.starts_with('!') || keyword(rest, "not") {
            self.at += if rest.starts_with('!') { 1 } else { 3 };
            return self.nested(|parser| Ok(Expr::Not(Box::new(parser.unary()?))));
        }
        if self.eat("-") {
            return self.nested(|parser| Ok(Expr::Negate(Box::new(parser.unary()?))));
        }
        self.postfix()
    }

    /// Returns the next operator, if it binds at least as tightly as `level`, and the bytes up to its end.
    fn operator(&mut self, level: u8) -> Option<(Operator, usize)> {
        let spaced = self.text[..self.at].ends_with(char::is_whitespace) || {
            let before = self.at;
            self.space();
            self.at > before
        };
        let rest = self.rest();
        if rest.starts_with(MARKER) {
            return None;
        }
        if rest.starts_with('>') && self.angles > 0 && !((spaced || self.eager) && self.closes_later()) {
            return None;
        }
        precedence::operator(rest).filter(|(operator, _)| binding(*operator) >= level)
    }

    /// Tells whether the line has another `>`, after the one here, that closes what is open.
    fn closes_later(&self) -> bool {
        let mut open = 0_usize;
        let mut quote = None;
        let mut previous = ' ';
        for c in first_line(&self.rest()[1..]).chars() {
            match (quote, c) {
                (Some(end), _) if c == end => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '+') if previous == '<' => open += 1,
                (None, '>') if open == 0 => return true,
                (None, '>') => open -= 1,
                _ => {}
            }
            previous = c;
        }
        false
    }

    /// Runs `parse` one level deeper.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_NESTING {
            return Err(self.too_deep());
        }
        if self.at > self.limit {
            return Err(self.too_long(self.limit - MAX_EXPRESSION_BYTES));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// Counts one field, index or operator. A tree is as deep as its chain of these is long, and trees are walked and
    /// dropped recursively.
    pub(super) fn count_link(&mut self) -> Parsed<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            let message = format!("the expression has more than {MAX_LINKS} fields and operators");
            return Err(self.fault("expression-limit", message, self.at));
        }
        Ok(())
    }

    pub(super) fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    pub(super) fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.rest().chars().next() {
            Some(c) => format!("`{}`", c.escape_debug()),
            None => "the end".to_owned(),
        };
        if self.rest().starts_with([';', '=']) {
            return self.script("a script with assignments or several statements");
        }
        let help = (self.angles > 0).then_some("where no expression is meant, write `< +`");
        let message = format!("expected {wanted} in the expression, found {found}");
        Fault { help, ..self.fault("expression-syntax", message, self.at) }
    }

    /// Returns the fault for a construct of JEXL that is more than an expression.
    pub(super) fn script(&self, what: &str) -> Fault {
        Fault {
            unsupported: true,
            help: Some("compute the value in a step's script and hand it on as an output variable"),
            ..self.fault("expression-script", format!("{what} is not supported in an expression"), self.at)
        }
    }

    pub(super) fn fault(&self, code: &'static str, message: String, offset: usize) -> Fault {
        Fault { code, unsupported: false, message, help: None, offset }
    }

    fn too_deep(&self) -> Fault {
        let message = format!("the expression nests more than {MAX_NESTING} levels deep");
        self.fault("expression-limit", message, self.at)
    }

    fn too_long(&self, start: usize) -> Fault {
        let message = format!("the expression is longer than {MAX_EXPRESSION_BYTES} bytes");
        self.fault("expression-limit", message, start)
    }
}
