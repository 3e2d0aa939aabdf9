//! Why an expression has no value.

use super::{MAX_INDIRECTIONS, MAX_OPERATIONS, MAX_TEXT_BYTES};

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The path names nothing.
    #[error("`<+{path}>` names nothing here{}", did_you_mean(.suggestion.as_deref()))]
    Unresolved {
        /// The whole path as written.
        path: String,
        /// The sibling with the nearest name, as a whole path.
        suggestion: Option<String>,
    },
    /// The secret is not known.
    #[error("the secret `{name}` was not given; pass it with `--secret {name}=VALUE` or `--secret-file`")]
    Secret {
        /// Its name as written.
        name: String,
    },
    /// An `<+input>` was not replaced before the run.
    #[error("the value is an `<+input>` that was not given and has no default")]
    Input,
    /// A value of the wrong kind.
    #[error("`{what}` needs {needs} and got {got}")]
    Type {
        /// The operator, method or function.
        what: String,
        /// What it takes.
        needs: String,
        /// What it was given.
        got: String,
    },
    /// A list index, or a position in a text, outside of it.
    #[error("`{what}`: position {index} is outside of 0..{length}")]
    Range {
        /// The operator or method.
        what: String,
        /// The position asked for.
        index: i64,
        /// How many there are.
        length: usize,
    },
    /// A method or function nobody knows.
    #[error("`{name}` is not a function or method that Kiln knows{}", did_you_mean(.suggestion.as_deref()))]
    Function {
        /// Its name, with its receiver's where that is fixed.
        name: String,
        /// The known one with the nearest name.
        suggestion: Option<String>,
    },
    /// A function of the dialect that a local run cannot carry out.
    #[error("`{name}` reads what only a Harness account holds; replace it with a variable")]
    Remote {
        /// Its name.
        name: String,
    },
    /// A regular expression or JSON path that does not parse, or is too large.
    #[error("`{pattern}` is not a pattern that Kiln can follow: {why}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// Text that should be JSON and is not.
    #[error("`{what}` was given text that is not JSON: {why}")]
    Json {
        /// The function.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text cannot be read as one expression.
    #[error("`{text}` is not an expression: {why}")]
    Syntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Values that refer to each other without end.
    #[error("`<+{path}>` refers to itself, or through more than {MAX_INDIRECTIONS} other values")]
    Cycle {
        /// The path at which the limit was met.
        path: String,
    },
    /// The evaluation used up its budget.
    #[error("the expression takes more than {MAX_OPERATIONS} operations or builds more than {MAX_TEXT_BYTES} bytes")]
    Budget,
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
