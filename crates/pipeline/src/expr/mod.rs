//! Harness expressions: text that holds `<+...>`, and the values it stands for.
//!
//! A [`Template`] is parsed once, when the file is read, and evaluated against a [`Scope`] when its turn comes.
//! The language inside `<+...>` is the part of JEXL that pipeline files use: paths, indices, literals, the
//! operators, and the string and list methods. It cannot loop, cannot reach the machine, and every evaluation
//! has a budget, so that a hostile file costs an error and not a hang.
//!
//! ```text
//! text ──parse──► [Text | Expr | Input]... ──render(scope)──► String
//!                                          ──value(scope)───► Value   (one lone expression keeps its type)
//!                                          ──truthy(scope)──► bool    (the whole text is one expression)
//! ```
//!
//! What a step printed is never parsed again: only a [`Value::Lazy`] that the file itself declared is.

mod ast;
mod error;
mod eval;
mod functions;
mod methods;
mod operand;
mod operators;
mod parser;
mod place;
mod precedence;
mod scope;
mod substitution;
mod template;
mod value;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use ast::{InShell, Path, Quote};
pub use error::EvalError;
pub use scope::Scope;
pub use template::Template;
pub use value::{Map, Value};

/// Start of every expression.
pub const MARKER: &str = "<+";
/// Deepest nesting of expressions, brackets and operators within one expression.
pub const MAX_NESTING: usize = 64;
/// Most fields, indices and operators of one expression.
pub const MAX_LINKS: usize = 256;
/// Longest single `<+...>`, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 * 1024;
/// Longest chain of declared values that refer to each other; a longer one is taken for a cycle.
pub const MAX_INDIRECTIONS: usize = 32;
/// Number of operations that a regular expression counts as, because it is compiled first.
const PATTERN_COST: u32 = 500;
/// Most operations of one evaluation, including everything that it refers to.
pub const MAX_OPERATIONS: u32 = 100_000;
/// Longest text an evaluation may build, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
