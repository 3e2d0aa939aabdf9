//! Counts of things in messages.

use std::fmt::Display;

/// Returns a number and its noun, in the singular for one: `1 test`, `2 tests`. The plural of `thing` must be formed
/// with an `s`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, thing: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_plural() {
        assert_eq!([0_u64, 1, 2].map(|number| counted(number, "test")), ["0 tests", "1 test", "2 tests"]);
        assert_eq!(counted(1_usize, "stage"), "1 stage");
    }
}
