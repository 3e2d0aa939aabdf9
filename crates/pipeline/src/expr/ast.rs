//! The syntax tree of one expression.

use std::fmt;

/// A dotted name that an expression refers to, as far as it is written out: `pipeline.variables.version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The names between the dots.
    pub segments: Vec<String>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

/// A piece of a template or of a string literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// `<+...>`
    Expr(Expr),
    /// `<+input>` with what may follow it: a value that is given before the run.
    Input {
        /// The text in `.default(...)`.
        default: Option<String>,
    },
    /// Drone's `${NAME}`.
    Variable(Box<Variable>),
    /// A text that stands twice.
    Shown(Box<Shown>),
    /// A text that is written as JSON.
    Json(Vec<Part>),
}

/// A text that stands twice: quoted, within `before` and `between`, and then as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub parts: Vec<Part>,
    pub before: &'static str,
    pub quote: Quote,
    pub between: &'static str,
}

/// How a text is written within single quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Of a POSIX shell.
    Sh,
    /// Of PowerShell.
    PowerShell,
}

impl Quote {
    /// Returns the text as it stands between single quotes.
    pub(super) fn apply(self, text: &str) -> String {
        text.replace(
            '\'',
            match self {
                Quote::Sh => "'\\''",
                Quote::PowerShell => "''",
            },
        )
    }
}

/// Drone's `${name...}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variable {
    pub name: String,
    pub operation: Operation,
    /// Whether the text is this variable and nothing else.
    pub whole: bool,
}

/// What a shell does with a default of Drone's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InShell {
    /// `${NAME:+word}`: takes the word where there is a value.
    Alternative,
    /// `${NAME:?word}`: fails where there is none.
    Failure,
}

/// An operation on the value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    Plain,
    Length,
    Upper {
        first: bool,
    },
    Lower {
        first: bool,
    },
    Slice {
        from: Vec<Part>,
        length: Option<Vec<Part>>,
    },
    /// What takes the place of an empty value, and what a shell would do instead.
    Default {
        word: Vec<Part>,
        in_shell: Option<InShell>,
    },
    RemovePrefix {
        pattern: Vec<Part>,
        longest: bool,
    },
    RemoveSuffix {
        pattern: Vec<Part>,
        longest: bool,
    },
    Replace {
        at: At,
        from: Vec<Part>,
        to: Vec<Part>,
    },
}

/// The part of the value that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    First,
    Everywhere,
    Start,
    End,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Number(f64),
    /// A string literal; it may hold further `<+...>`.
    Text(Vec<Part>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// A name at the root of the scope.
    Name(String),
    /// `of.name`
    Field(Box<Expr>, String),
    /// `of[key]`, and `of.<+key>`
    Index(Box<Expr>, Box<Expr>),
    /// `of.name(args)`, or `name(args)` when there is no receiver.
    Call(Option<Box<Expr>>, String, Vec<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `test ? yes : no`
    Choose(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    /// `??`: the right side when the left one is null or unknown.
    Otherwise,
    /// `?:`: the right side when the left one is not true.
    Elvis,
    Equal,
    NotEqual,
    Matches,
    NotMatches,
    StartsWith,
    NotStartsWith,
    EndsWith,
    NotEndsWith,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Variable {
    /// Calls `visit` with this variable and those in the words of its operation.
    pub(super) fn walk<'v>(&'v self, visit: &mut dyn FnMut(&'v Variable)) {
        visit(self);
        let words: [&[Part]; 2] = match &self.operation {
            Operation::Plain | Operation::Length | Operation::Upper { .. } | Operation::Lower { .. } => [&[], &[]],
            Operation::Slice { from, length } => [from, length.as_deref().unwrap_or_default()],
            Operation::Default { word, .. } => [word, &[]],
            Operation::RemovePrefix { pattern, .. } | Operation::RemoveSuffix { pattern, .. } => [pattern, &[]],
            Operation::Replace { from, to, .. } => [from, to],
        };
        for part in words.into_iter().flatten() {
            if let Part::Variable(variable) = part {
                variable.walk(visit);
            }
        }
    }
}

impl Expr {
    /// Returns the expression as a path, when it consists of names and dots only.
    pub(super) fn path(&self) -> Option<Path> {
        match self {
            Expr::Name(name) => Some(Path { segments: vec![name.clone()] }),
            Expr::Field(of, name) => {
                let mut path = of.path()?;
                path.segments.push(name.clone());
                Some(path)
            }
            Expr::Index(of, key) => {
                let mut path = of.path()?;
                path.segments.push(key.literal()?);
                Some(path)
            }
            _ => None,
        }
    }

    /// Returns the text of a string literal without expressions in it.
    pub(super) fn literal(&self) -> Option<String> {
        match self {
            Expr::Text(parts) => match parts.as_slice() {
                [] => Some(String::new()),
                [Part::Text(text)] => Some(text.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Calls `visit` with this expression and everything below it. A path counts as one expression.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        if self.path().is_some() {
            return;
        }
        match self {
            Expr::Null | Expr::Bool(_) | Expr::Number(_) | Expr::Name(_) => {}
            Expr::Text(parts) => walk_parts(parts, visit),
            Expr::List(items) => items.iter().for_each(|item| item.walk(visit)),
            Expr::Map(entries) => {
                for (key, value) in entries {
                    key.walk(visit);
                    value.walk(visit);
                }
            }
            Expr::Field(of, _) | Expr::Not(of) | Expr::Negate(of) => of.walk(visit),
            Expr::Index(left, right) | Expr::Binary(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Expr::Call(of, _, args) => {
                if let Some(of) = of {
                    of.walk(visit);
                }
                args.iter().for_each(|arg| arg.walk(visit));
            }
            Expr::Choose(test, yes, no) => {
                test.walk(visit);
                yes.walk(visit);
                no.walk(visit);
            }
        }
    }
}

/// Calls [`Expr::walk`] on each expression of a template.
pub(super) fn walk_parts(parts: &[Part], visit: &mut dyn FnMut(&Expr)) {
    for part in parts {
        match part {
            Part::Expr(expr) => expr.walk(visit),
            Part::Shown(shown) => walk_parts(&shown.parts, visit),
            Part::Json(parts) => walk_parts(parts, visit),
            Part::Text(_) | Part::Input { .. } | Part::Variable(_) => {}
        }
    }
}
