//! The operators: their notation and how tightly they bind.

use super::ast::Operator;

/// Returns the operator that a text starts with, and the length of its spelling.
pub(super) fn operator(text: &str) -> Option<(Operator, usize)> {
    OPERATORS.iter().find_map(|&(spelling, operator)| {
        let word = spelling.starts_with(|c: char| c.is_ascii_alphabetic());
        let found = if word { keyword(text, spelling) } else { text.starts_with(spelling) };
        found.then_some((operator, spelling.len()))
    })
}

/// Returns whether the text starts with this word as a whole.
pub(super) fn keyword(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|after| {
        !after.starts_with(|c: char| c.is_ascii_alphanumeric() || "_.([$".contains(c)) || {
            // `not (a)` and `a and (b)` are operators, `size(a)` is a call; a dot makes it a name.
            after.starts_with('(') && matches!(word, "not" | "and" | "or")
        }
    })
}

/// All operators, longer notations first.
const OPERATORS: [(&str, Operator); 31] = [
    ("||", Operator::Or),
    ("or", Operator::Or),
    ("&&", Operator::And),
    ("and", Operator::And),
    ("??", Operator::Otherwise),
    ("?:", Operator::Elvis),
    ("==", Operator::Equal),
    ("eq", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("ne", Operator::NotEqual),
    ("=~", Operator::Matches),
    ("!~", Operator::NotMatches),
    ("=^", Operator::StartsWith),
    ("!^", Operator::NotStartsWith),
    ("=$", Operator::EndsWith),
    ("!$", Operator::NotEndsWith),
    ("<=", Operator::LessOrEqual),
    ("le", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("ge", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    ("lt", Operator::Less),
    (">", Operator::Greater),
    ("gt", Operator::Greater),
    ("+", Operator::Add),
    ("-", Operator::Subtract),
    ("*", Operator::Multiply),
    ("/", Operator::Divide),
    ("div", Operator::Divide),
    ("%", Operator::Remainder),
    ("mod", Operator::Remainder),
];

/// Returns how tightly an operator binds.
pub(super) fn binding(operator: Operator) -> u8 {
    match operator {
        Operator::Otherwise | Operator::Elvis => 1,
        Operator::Or => 2,
        Operator::And => 3,
        Operator::Equal
        | Operator::NotEqual
        | Operator::Matches
        | Operator::NotMatches
        | Operator::StartsWith
        | Operator::NotStartsWith
        | Operator::EndsWith
        | Operator::NotEndsWith => 4,
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => 5,
        Operator::Add | Operator::Subtract => 6,
        Operator::Multiply | Operator::Divide | Operator::Remainder => 7,
    }
}
