//! The lower half of the parser: literals, names, and what follows them.

use super::MARKER;
use super::ast::{Expr, Part};
use super::parser::{Fault, Parser};
use super::precedence::keyword;

type Parsed<T> = Result<T, Fault>;

impl Parser<'_> {
    /// Parses an operand with its fields, indices and method calls.
    pub(super) fn postfix(&mut self) -> Parsed<Expr> {
        let mut of = self.primary()?;
        loop {
            if self.eat("?.") || self.eat(".") {
                of = self.member(of)?;
            } else if self.eat("[") {
                let key = self.expression()?;
                self.close("]")?;
                of = Expr::Index(Box::new(of), Box::new(key));
            } else {
                return Ok(of);
            }
            self.count_link()?;
        }
    }

    /// Parses what follows a dot: a name, a call, or `<+expr>` that gives the name.
    fn member(&mut self, of: Expr) -> Parsed<Expr> {
        if self.rest().starts_with(MARKER) {
            let key = self.angle_expr()?;
            return Ok(Expr::Index(Box::new(of), Box::new(key)));
        }
        if self.rest().starts_with(['"', '\'']) {
            let key = self.text_literal()?;
            return Ok(Expr::Index(Box::new(of), Box::new(key)));
        }
        let name = self.name().ok_or_else(|| self.unexpected("a name after `.`"))?;
        if self.eat("(") {
            let args = self.list(")")?;
            return Ok(Expr::Call(Some(Box::new(of)), name, args));
        }
        Ok(Expr::Field(Box::new(of), name))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Err(self.unexpected("a value"));
        };
        match first {
            '"' | '\'' | '`' => self.text_literal(),
            '0'..='9' => self.number(),
            '<' if rest.starts_with(MARKER) => self.angle_expr(),
            '(' => {
                self.at += 1;
                let expr = self.expression()?;
                self.close(")")?;
                Ok(expr)
            }
            '[' => {
                self.at += 1;
                Ok(Expr::List(self.list("]")?))
            }
            '{' => self.map(),
            _ => self.word(),
        }
    }

    fn angle_expr(&mut self) -> Parsed<Expr> {
        self.nested(|parser| match parser.angle(false)? {
            Part::Expr(expr) => Ok(expr),
            Part::Text(_) | Part::Input { .. } | Part::Variable(_) | Part::Shown(_) | Part::Json(_) => {
                Err(parser.unexpected("a value"))
            }
        })
    }

    /// Parses a name, a constant, or a call without a receiver.
    fn word(&mut self) -> Parsed<Expr> {
        let rest = self.rest();
        if rest.strip_prefix("new").is_some_and(|after| after.starts_with([' ', '(', '\t'])) {
            return Err(Fault {
                code: "expression-java",
                help: Some("compute the value in a step's script and hand it on as an output variable"),
                message: "`new` makes a Java object, and there is no Java here".to_owned(),
                ..self.script("`new`")
            });
        }
        for word in ["var", "if", "for", "while", "function", "return"] {
            if keyword(rest, word) && rest[word.len()..].starts_with([' ', '\t']) {
                return Err(self.script(&format!("`{word}`")));
            }
        }
        let Some(name) = self.name() else {
            return Err(self.unexpected("a value"));
        };
        if self.eat("(") {
            let args = self.list(")")?;
            return Ok(Expr::Call(None, name, args));
        }
        Ok(match name.as_str() {
            "true" => Expr::Bool(true),
            "false" => Expr::Bool(false),
            "null" => Expr::Null,
            _ => Expr::Name(name),
        })
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
        if end == 0 {
            return None;
        }
        let name = rest[..end].to_owned();
        self.at += end;
        Some(name)
    }

    fn number(&mut self) -> Parsed<Expr> {
        let rest = self.rest();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let fraction = rest[digits..].strip_prefix('.').map_or(0, |after| {
            match after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()) {
                0 => 0,
                length => length + 1,
            }
        });
        let end = digits + fraction;
        let value = rest[..end].parse().map_err(|_| self.unexpected("a number"))?;
        self.at += end;
        if self.rest().starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return Err(self.unexpected("the end of the number"));
        }
        Ok(Expr::Number(value))
    }

    /// Parses values between commas, up to and including `end`.
    fn list(&mut self, end: &str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        self.space();
        if self.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(self.expression()?);
            self.space();
            if self.eat(end) {
                return Ok(items);
            }
            if !self.eat(",") {
                return Err(self.unexpected(&format!("`,` or `{end}`")));
            }
        }
    }

    fn map(&mut self) -> Parsed<Expr> {
        self.at += 1;
        let mut entries = Vec::new();
        self.space();
        if self.eat("}") {
            return Ok(Expr::Map(entries));
        }
        loop {
            let key = self.nested(|parser| {
                parser.space();
                parser.postfix()
            })?;
            self.close(":")?;
            entries.push((key, self.expression()?));
            self.space();
            if self.eat("}") {
                return Ok(Expr::Map(entries));
            }
            if !self.eat(",") {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    /// Parses a quoted text, in which `<+...>` is replaced as everywhere else.
    fn text_literal(&mut self) -> Parsed<Expr> {
        let start = self.at;
        let Some(quote) = self.rest().chars().next() else {
            return Err(self.unexpected("a text"));
        };
        self.at += quote.len_utf8();
        let mut parts = Vec::new();
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                let message = format!("the text that starts with {quote} is never closed");
                return Err(self.fault("expression-syntax", message, start));
            };
            if c == quote {
                self.at += c.len_utf8();
                break;
            }
            if rest.starts_with(MARKER)
                && rest[MARKER.len()..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '<')
            {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Expr(self.angle_expr()?));
                continue;
            }
            self.at += c.len_utf8();
            if c == '\\' { self.escape(quote, &mut text) } else { text.push(c) }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Expr::Text(parts))
    }

    /// Adds what a backslash and the following character stand for. An unknown pair is kept as it is, for regular
    /// expressions.
    fn escape(&mut self, quote: char, text: &mut String) {
        let Some(c) = self.rest().chars().next() else {
            return;
        };
        self.at += c.len_utf8();
        match c {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '\\' => text.push('\\'),
            c if c == quote => text.push(c),
            'u' => {
                let code = self.rest().get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(c) => {
                        self.at += 4;
                        text.push(c);
                    }
                    None => text.push_str("\\u"),
                }
            }
            c => {
                text.push('\\');
                text.push(c);
            }
        }
    }

    fn close(&mut self, token: &str) -> Parsed<()> {
        self.space();
        if self.eat(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }
}
