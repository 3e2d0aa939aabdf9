//! Why a message cannot be read.

use std::error::Error;
use std::fmt;

use serde_json::error::Category;

/// Says where a message is wrong, and quotes nothing of it: what stands there may be a secret, and of a message that cannot be
/// read nobody knows its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self(match error.classify() {
            Category::Data => format!("a value has another type than its field at line {line} column {column}"),
            // These are about the form alone.
            Category::Eof | Category::Syntax | Category::Io => error.to_string(),
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::StartStepRequest;

    #[test]
    fn nothing_of_the_message_is_quoted() {
        for (text, expect) in [
            (r#"{"id": ["hunter2"]}"#, "a value has another type than its field at line 1 column 7"),
            (r#"{"timeout": "hunter2"}"#, "a value has another type than its field at line 1 column 21"),
            (r#""hunter2""#, "a value has another type than its field at line 1 column 9"),
            (r#"{"id": hunter2}"#, "expected value at line 1 column 8"),
            (r#"{"id": "hunter2"#, "EOF while parsing a string at line 1 column 15"),
        ] {
            let error = serde_json::from_str::<StartStepRequest>(text).map(|_| ()).expect_err(text);
            assert_eq!(Unreadable::from(error).to_string(), expect, "{text}");
        }
    }
}
