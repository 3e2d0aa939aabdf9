//! The values of plain scalars.

/// A scalar's text and its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text after YAML's own escapes and folding; for block scalars exactly the text that a program would get.
    pub text: String,
    /// The type of its value.
    pub resolved: Resolved,
    /// Whether it is written without quotes and not as a block.
    pub plain: bool,
}

/// The type of a scalar under the core schema of YAML 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// Nothing, `~`, `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// Another number.
    Float,
    /// Anything else, and everything in quotes.
    Text,
}

impl Resolved {
    /// Returns the type in plain words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Resolved::Null => "nothing",
            Resolved::Bool => "a boolean",
            Resolved::Int | Resolved::Float => "a number",
            Resolved::Text => "text",
        }
    }
}

impl Scalar {
    /// Returns the scalar that this text is when it is written without quotes.
    #[must_use]
    pub fn unquoted(text: String) -> Scalar {
        Scalar { resolved: resolve(&text), text, plain: true }
    }

    /// Returns the value as JSON. Values that JSON cannot hold, such as infinities, stay text.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let text = || serde_json::Value::from(self.text.as_str());
        match self.resolved {
            Resolved::Null => serde_json::Value::Null,
            Resolved::Bool => self.text.eq_ignore_ascii_case("true").into(),
            Resolved::Int => self.text.parse::<i64>().map_or_else(|_| text(), Into::into),
            Resolved::Float => self.text.parse::<f64>().map_or_else(|_| text(), Into::into),
            Resolved::Text => text(),
        }
    }
}

/// Returns the type of a plain scalar.
pub(super) fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Resolved::Bool,
        ".nan" | ".NaN" | ".NAN" => Resolved::Float,
        _ => number(text),
    }
}

fn number(text: &str) -> Resolved {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Resolved::Float;
    }
    let radix = |prefix: &str, radix: u32| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
    };
    if radix("0x", 16) || radix("0o", 8) {
        return Resolved::Int;
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Resolved::Int;
    }
    // `parse` also accepts "inf", "nan" and the like, which are text in YAML.
    let starts_like_a_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if starts_like_a_number && unsigned.parse::<f64>().is_ok() { Resolved::Float } else { Resolved::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars() {
        let cases = [
            ("", Resolved::Null),
            ("~", Resolved::Null),
            ("true", Resolved::Bool),
            ("yes", Resolved::Text),
            ("-12", Resolved::Int),
            ("0x1F", Resolved::Int),
            ("0o17", Resolved::Int),
            ("1.5e3", Resolved::Float),
            ("1.2.3", Resolved::Text),
            ("inf", Resolved::Text),
            ("-.inf", Resolved::Float),
            ("10m", Resolved::Text),
            ("-", Resolved::Text),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text), expected, "{text:?}");
        }
    }
}
