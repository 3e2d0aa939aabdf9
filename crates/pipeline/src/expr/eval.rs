//! The evaluator: a walk over the tree, with one budget for everything that it reaches.

use std::cell::Cell;

use kiln_document::schema::closest;

use super::ast::{Expr, Operator, Part, Shown, Variable};
use super::{
    EvalError, MAX_INDIRECTIONS, MAX_OPERATIONS, MAX_TEXT_BYTES, PATTERN_COST, Scope, Value, functions, methods,
    operators,
};

type Evaluated<T> = Result<T, EvalError>;

/// Methods and functions that take a regular expression.
const PATTERNS: [&str; 7] = ["matches", "replaceAll", "replaceFirst", "split", "extract", "match", "replace"];

/// One evaluation of one template.
pub(super) struct Evaluation<'a> {
    scope: &'a Scope,
    operations: Cell<u32>,
    indirections: Cell<usize>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(scope: &'a Scope) -> Self {
        Self { scope, operations: Cell::new(0), indirections: Cell::new(0) }
    }

    pub(super) fn render(&self, parts: &[Part]) -> Evaluated<String> {
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Expr(expr) => text.push_str(&self.expr(expr)?.to_string()),
                Part::Input { default } => text.push_str(default.as_deref().ok_or(EvalError::Input)?),
                Part::Variable(variable) => text.push_str(&self.variable(variable)?),
                Part::Shown(shown) => self.shown(shown, &mut text)?,
                Part::Json(parts) => text.push_str(&serde_json::Value::from(self.render(parts)?).to_string()),
            }
            limit_text(text.len())?;
        }
        Ok(text)
    }

    pub(super) fn value(&self, parts: &[Part]) -> Evaluated<Value> {
        match parts {
            [Part::Expr(expr)] => self.expr(expr),
            parts => self.render(parts).map(Value::String),
        }
    }

    fn expr(&self, expr: &Expr) -> Evaluated<Value> {
        self.spend(1)?;
        match expr {
            Expr::Null => Ok(Value::Null),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Number(value) => Ok(Value::Number(*value)),
            Expr::Text(parts) => self.render(parts).map(Value::String),
            Expr::List(items) => items.iter().map(|item| self.expr(item)).collect::<Evaluated<_>>().map(Value::List),
            Expr::Map(entries) => entries
                .iter()
                .map(|(key, value)| Ok((self.map_key(key)?, self.expr(value)?)))
                .collect::<Evaluated<_>>()
                .map(Value::Map),
            Expr::Name(name) if name == "input" => Err(EvalError::Input),
            Expr::Name(name) => self.child(self.scope.root(), name, expr),
            Expr::Field(of, name) if is_secrets(of) => self.secret(name),
            Expr::Field(of, name) => self.field(of, name, expr),
            Expr::Index(of, key) => self.index(of, key, expr),
            Expr::Call(of, name, args) => self.call(of.as_deref(), name, args),
            Expr::Not(of) => Ok(Value::Bool(!self.expr(of)?.truthy())),
            Expr::Negate(of) => operators::negate(self.expr(of)?),
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right),
            Expr::Choose(test, yes, no) => self.expr(if self.expr(test)?.truthy() { yes } else { no }),
        }
    }

    /// Evaluates `${NAME}`. As in Drone, a name that the build does not have gives empty text; a scope without any
    /// build is a mistake.
    fn variable(&self, variable: &Variable) -> Evaluated<String> {
        self.spend(1)?;
        let Some(build) = find(self.scope.root(), "drone") else {
            return Err(EvalError::Unresolved { path: format!("drone.{}", variable.name), suggestion: None });
        };
        let stage = || {
            let build_name = variable.name.starts_with("DRONE_") || variable.name.starts_with("CI");
            find(self.scope.root(), "env").filter(|_| build_name).and_then(|env| find(env, &variable.name))
        };
        let value = find(build, &variable.name).or_else(stage).map(Value::to_string).unwrap_or_default();
        self.spend(variable.operation.cost())?;
        let value = variable.operation.apply(&value, |parts| self.render(parts))?;
        // Drone replaces in the text of the file, and quotes what has several lines.
        let quoted = value.contains('\n') && !variable.whole;
        Ok(if quoted { serde_json::Value::from(value).to_string() } else { value })
    }

    fn shown(&self, shown: &Shown, text: &mut String) -> Evaluated<()> {
        let rendered = self.render(&shown.parts)?;
        text.push_str(shown.before);
        text.push_str(&shown.quote.apply(rendered.trim_end()));
        text.push_str(shown.between);
        text.push_str(&rendered);
        Ok(())
    }

    fn map_key(&self, key: &Expr) -> Evaluated<String> {
        match key {
            Expr::Name(name) => Ok(name.clone()),
            key => self.expr(key).map(|key| key.to_string()),
        }
    }

    fn binary(&self, operator: Operator, left: &Expr, right: &Expr) -> Evaluated<Value> {
        match operator {
            Operator::Or => Ok(Value::Bool(self.expr(left)?.truthy() || self.expr(right)?.truthy())),
            Operator::And => Ok(Value::Bool(self.expr(left)?.truthy() && self.expr(right)?.truthy())),
            Operator::Elvis => match self.expr(left)? {
                value if value.truthy() => Ok(value),
                _ => self.expr(right),
            },
            Operator::Otherwise => match self.expr(left) {
                Ok(Value::Null) | Err(EvalError::Unresolved { .. }) => self.expr(right),
                other => other,
            },
            Operator::Subtract => self.subtract(left, right),
            operator => {
                if matches!(operator, Operator::Matches | Operator::NotMatches) {
                    self.spend(PATTERN_COST)?;
                }
                let value = operators::apply(operator, self.expr(left)?, self.expr(right)?)?;
                self.spend_text(&value)?;
                Ok(value)
            }
        }
    }

    /// Subtracts. A name with a `-` in it also reads as a difference; when that was probably meant, the error says how
    /// to write it.
    fn subtract(&self, left: &Expr, right: &Expr) -> Evaluated<Value> {
        match self.expr(left) {
            Err(EvalError::Unresolved { path, suggestion }) => {
                let names = (left, right.path());
                let (Expr::Field(of, name), Some(right)) = names else {
                    return Err(EvalError::Unresolved { path, suggestion });
                };
                let hyphened = format!("{name}-{}", right.segments[0]);
                let known = self.place(of).is_ok_and(|of| find(&of, &hyphened).is_some());
                let meant = known.then(|| format!("{}[\"{hyphened}\"]", describe(of)));
                Err(EvalError::Unresolved { path, suggestion: meant.or(suggestion) })
            }
            left => operators::apply(Operator::Subtract, left?, self.expr(right)?),
        }
    }

    /// Evaluates a field by its name. Where there is no such field, a method without arguments is tried (`list.size`).
    fn field(&self, of: &Expr, name: &str, whole: &Expr) -> Evaluated<Value> {
        let of = self.place(of).map_err(|error| extend(error, of, whole))?;
        match &*of {
            Value::Null => Ok(Value::Null),
            Value::Map(_) => self.child(&of, name, whole),
            Value::List(items) => match name.parse() {
                Ok(index) => item(items, index, &describe(whole)).cloned(),
                Err(_) => methods::call(&of, name, &[]).map_err(|_| self.unresolved(whole, None)),
            },
            other => methods::call(other, name, &[]).map_err(|_| self.unresolved(whole, None)),
        }
    }

    fn index(&self, of: &Expr, key: &Expr, whole: &Expr) -> Evaluated<Value> {
        if is_secrets(of) {
            return self.secret(&self.expr(key)?.to_string());
        }
        let (of, key) = (self.place(of)?, self.expr(key)?);
        match (&*of, &key) {
            (Value::Null, _) => Ok(Value::Null),
            (Value::List(items), Value::Number(index)) => item(items, *index as i64, &describe(whole)).cloned(),
            (Value::Map(_), key) => self.child(&of, &key.to_string(), whole),
            (of, key) => Err(EvalError::Type {
                what: describe(whole),
                needs: "a list and a number, or a map".to_owned(),
                got: format!("{} and {}", of.kind(), key.kind()),
            }),
        }
    }

    /// Evaluates an expression, by reference when it is a path into the scope: maps can be large.
    fn place(&self, expr: &Expr) -> Evaluated<std::borrow::Cow<'a, Value>> {
        use std::borrow::Cow;
        let found = match expr {
            Expr::Name(name) => find(self.scope.root(), name),
            Expr::Field(of, name) if !is_secrets(of) => match self.place(of)? {
                Cow::Borrowed(of) => find(of, name),
                Cow::Owned(_) => None,
            },
            _ => None,
        };
        self.spend(1)?;
        match found {
            None | Some(Value::Lazy(_)) => self.expr(expr).map(Cow::Owned),
            Some(found) => Ok(Cow::Borrowed(found)),
        }
    }

    /// Returns a value of a map, and evaluates it first if it was declared as an expression.
    fn child(&self, of: &Value, name: &str, whole: &Expr) -> Evaluated<Value> {
        match find(of, name) {
            Some(Value::Lazy(template)) => {
                let depth = self.indirections.get();
                if depth >= MAX_INDIRECTIONS {
                    return Err(EvalError::Cycle { path: describe(whole) });
                }
                self.indirections.set(depth + 1);
                let value = self.value(template.parts());
                self.indirections.set(depth);
                value
            }
            Some(value) => {
                self.spend_text(value)?;
                Ok(value.clone())
            }
            None => Err(self.unresolved(whole, Some((of, name)))),
        }
    }

    fn unresolved(&self, whole: &Expr, sibling_of: Option<(&Value, &str)>) -> EvalError {
        let path = describe(whole);
        let suggestion = sibling_of.and_then(|(of, name)| match of {
            Value::Map(map) => {
                let near = closest(name, map.keys())?;
                Some(format!("{}{near}", path.strip_suffix(name)?))
            }
            _ => None,
        });
        EvalError::Unresolved { path, suggestion }
    }

    fn call(&self, of: Option<&Expr>, name: &str, args: &[Expr]) -> Evaluated<Value> {
        if PATTERNS.contains(&name) {
            self.spend(PATTERN_COST)?;
        }
        let values = args.iter().map(|arg| self.expr(arg)).collect::<Evaluated<Vec<_>>>()?;
        let value = match of {
            None => functions::call("", name, &values)?,
            Some(of) if is_secrets(of) => return self.secret(&argument(name, &values)?.to_string()),
            Some(Expr::Name(space)) if functions::is_space(space) && find(self.scope.root(), space).is_none() => {
                functions::call(space, name, &values)?
            }
            Some(of) => methods::call(&*self.place(of)?, name, &values)?,
        };
        self.spend_text(&value)?;
        Ok(value)
    }

    fn secret(&self, name: &str) -> Evaluated<Value> {
        self.scope.secret(name).map(Value::String).ok_or_else(|| EvalError::Secret { name: name.to_owned() })
    }

    fn spend(&self, operations: u32) -> Evaluated<()> {
        let spent = self.operations.get().saturating_add(operations);
        self.operations.set(spent);
        if spent > MAX_OPERATIONS { Err(EvalError::Budget) } else { Ok(()) }
    }

    /// Charges a value by its size, so that copying large values over and over ends as well.
    fn spend_text(&self, value: &Value) -> Evaluated<()> {
        const BYTES_PER_OPERATION: usize = 1024;
        let size = size(value);
        limit_text(size)?;
        self.spend(u32::try_from(size / BYTES_PER_OPERATION).unwrap_or(u32::MAX))
    }
}

fn limit_text(bytes: usize) -> Evaluated<()> {
    if bytes > MAX_TEXT_BYTES { Err(EvalError::Budget) } else { Ok(()) }
}

/// Estimates the size of a value in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.iter().map(|item| size(item) + 16).sum(),
        Value::Map(map) => map.iter().map(|(name, value)| name.len() + size(value) + 16).sum(),
        Value::Lazy(template) => template.text().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

fn argument<'v>(method: &str, args: &'v [Value]) -> Evaluated<&'v Value> {
    match (method, args) {
        ("getValue", [name]) => Ok(name),
        ("getValue", _) => Err(EvalError::Type {
            what: "secrets.getValue".to_owned(),
            needs: "one name".to_owned(),
            got: format!("{} values", args.len()),
        }),
        _ => Err(EvalError::Function {
            name: format!("secrets.{method}"),
            suggestion: Some("secrets.getValue".to_owned()),
        }),
    }
}

fn item<'v>(items: &'v [Value], index: i64, what: &str) -> Evaluated<&'v Value> {
    usize::try_from(index).ok().and_then(|index| items.get(index)).ok_or_else(|| EvalError::Range {
        what: what.to_owned(),
        index,
        length: items.len(),
    })
}

fn find<'v>(of: &'v Value, name: &str) -> Option<&'v Value> {
    match of {
        Value::Map(map) => map.get(name),
        _ => None,
    }
}

fn is_secrets(expr: &Expr) -> bool {
    matches!(expr, Expr::Name(name) if name == "secrets")
}

/// Extends the error about an unknown name in the middle of a path to the whole path.
fn extend(error: EvalError, of: &Expr, whole: &Expr) -> EvalError {
    match error {
        EvalError::Unresolved { path, suggestion } if path == describe(of) => {
            let whole = describe(whole);
            let rest = whole.strip_prefix(&path).unwrap_or_default();
            EvalError::Unresolved { suggestion: suggestion.map(|near| format!("{near}{rest}")), path: whole }
        }
        other => other,
    }
}

/// Returns a path for a message, with `…` for what is not a name.
fn describe(expr: &Expr) -> String {
    match expr {
        Expr::Name(name) => name.clone(),
        Expr::Field(of, name) => format!("{}.{name}", describe(of)),
        Expr::Index(of, key) => match (key.literal(), &**key) {
            (Some(key), _) => format!("{}.{key}", describe(of)),
            (None, Expr::Number(index)) => format!("{}[{index}]", describe(of)),
            _ => format!("{}[…]", describe(of)),
        },
        Expr::Call(Some(of), name, _) => format!("{}.{name}(…)", describe(of)),
        Expr::Call(None, name, _) => format!("{name}(…)"),
        _ => "…".to_owned(),
    }
}
