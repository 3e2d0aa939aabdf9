//! Patterns that are hidden in lines, beside the secrets that are known.
//!
//! They are searched for with an engine that takes time in proportion to a line, whatever the pattern. What it does not
//! know of the language that the original takes (Go's) is refused with the place: a pattern that hides nothing would be
//! trusted.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_mask::MASK;
use regex_lite::{NoExpand, Regex, RegexBuilder};

/// Most patterns.
const PATTERNS: usize = 256;
/// Longest text of all patterns.
const CONTENT_BYTES: usize = 256 << 10;
/// Memory that a pattern takes at most.
const PATTERN_BYTES: usize = 1 << 20;
/// How deep the groups of a pattern may be nested.
const NESTED: u32 = 50;

/// Patterns that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// No text.
    #[error("it is not base64 of a text")]
    Encoding,
    /// Too much of them.
    #[error("it has {what}; at most {most} are taken")]
    TooMuch {
        /// What is too much.
        what: String,
        /// How much is taken.
        most: usize,
    },
    /// One that cannot be read.
    #[error("the pattern in line {line} cannot be used: {why}; correct it or leave it out")]
    Pattern {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: regex_lite::Error,
    },
}

/// The patterns of a stage.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<Regex>);

impl Patterns {
    /// Reads base64 of a text with a pattern in each line; empty lines are skipped.
    pub(super) fn read(content: &str) -> Result<Self, PatternError> {
        let bytes = STANDARD.decode(content.trim()).map_err(|_| PatternError::Encoding)?;
        let text = String::from_utf8(bytes).map_err(|_| PatternError::Encoding)?;
        if text.len() > CONTENT_BYTES {
            return Err(PatternError::TooMuch { what: format!("{} bytes", text.len()), most: CONTENT_BYTES });
        }
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, pattern)| !pattern.is_empty());
        let patterns = lines.map(|(at, pattern)| {
            let mut builder = RegexBuilder::new(pattern);
            let built = builder.size_limit(PATTERN_BYTES).nest_limit(NESTED).build();
            built.map_err(|why| PatternError::Pattern { line: at + 1, why })
        });
        let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
        if patterns.len() > PATTERNS {
            return Err(PatternError::TooMuch { what: format!("{} patterns", patterns.len()), most: PATTERNS });
        }
        Ok(Self(patterns))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hides all that matches.
    pub(super) fn hide<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        self.0.iter().fold(text, |text, pattern| match pattern.replace_all(&text, NoExpand(MASK)) {
            Cow::Borrowed(_) => text,
            Cow::Owned(hidden) => Cow::Owned(hidden),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Patterns, String> {
        Patterns::read(&STANDARD.encode(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_matches_is_hidden() {
        let patterns = read("ghp_[a-zA-Z0-9]{1,50}\n\n  \\bBearer\\s+(\\S+)\r\n(?i)pin=\\d{4}\n").expect("patterns");
        let hide = |text| patterns.hide(Cow::Borrowed(text)).into_owned();
        assert_eq!(hide("a ghp_abc b Bearer x.y.z PIN=1234"), format!("a {MASK} b {MASK} {MASK}"));
        assert_eq!(hide("nothing $1 here"), "nothing $1 here");
        assert_eq!(read("").expect("none").hide(Cow::Borrowed("all")), "all");
    }

    #[test]
    fn one_that_cannot_be_used_is_told_with_its_line() {
        let error = read("fine\n\nwrong(").expect_err("a refusal");
        assert!(error.starts_with("the pattern in line 3 cannot be used: "), "{error}");
        assert!(error.ends_with("; correct it or leave it out"), "{error}");
        assert!(read("(?=ahead)").is_err());
        assert!(read("a{10000}{1000}").expect_err("a refusal").contains("line 1"));
        assert!(read(&"x\n".repeat(PATTERNS + 1)).expect_err("a refusal").contains("257 patterns; at most 256"));
        assert!(read(&"x".repeat(CONTENT_BYTES + 1)).expect_err("a refusal").contains("at most 262144"));
        assert!(matches!(Patterns::read("no base64!"), Err(PatternError::Encoding)));
    }

    #[test]
    fn a_pattern_that_is_made_to_take_long_does_not() {
        let patterns = read("(a*)*b").expect("a pattern");
        let began = std::time::Instant::now();
        assert_eq!(patterns.hide(Cow::Owned("a".repeat(2000))).len(), 2000);
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
    }
}
