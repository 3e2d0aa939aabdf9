//! Files of secrets, in the format of `.env` files.
//!
//! ```text
//! # a comment
//! TOKEN=as it stands, to the end of the line
//! export NAME=value
//! PLAIN='as it stands, also
//! over several lines'
//! ESCAPED="with \n, \r, \t, \" and \\, also
//! over several lines"     # a comment
//! ```
//! Ambiguous text is refused, because a wrong secret is noticed late and a cut one is not masked. No message quotes a
//! line, because it may be part of a secret.

/// A fault in a file of secrets, with its place.
#[derive(Debug, PartialEq, Eq)]
pub struct FileError {
    /// Its line, from 1.
    pub line: usize,
    /// The fault.
    pub kind: Mistake,
}

/// Faults of a file of secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The line is no pair of name and value.
    #[error("expected NAME=VALUE; a value of several lines must be in quotes, as NAME='...'")]
    NoPair,
    /// The text before the `=` is no name.
    #[error(
        "a name has letters, digits, `_`, `.` and `-` only; a value of several lines must be in quotes, as NAME='...'"
    )]
    NoName,
    /// A quote is not closed.
    #[error("the value of {name} begins with {quote}, which is never closed")]
    Unclosed { name: String, quote: char },
    /// Something follows a quoted value.
    #[error(
        "more than a comment follows the {quote} that ends the value of {name}; write {quote} within it as {escaped}"
    )]
    AfterQuote { name: String, quote: char, escaped: &'static str },
    /// Something follows a quoted value that ends in a later line. A closing quote may be missing before.
    #[error(
        "the value of {name} continues to the {quote} in line {line}, and more than a comment follows there; end it with {quote} before, or \
         write {quote} within it as {escaped}"
    )]
    Overrun { name: String, quote: char, escaped: &'static str, line: usize },
    /// A value without quotes contains what may be a comment.
    #[error("it is not clear whether ` #` begins a comment; put the value of {name} in quotes")]
    Comment { name: String },
}

/// Reads all pairs in their order.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, FileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap_or_default();
        let begin = line.trim_start();
        if begin.trim_end().is_empty() || begin.starts_with('#') {
            rest = after_line(rest);
            continue;
        }
        let number = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let wrong = |kind| FileError { line: number, kind };
        let pair = begin.strip_prefix("export ").unwrap_or(begin);
        let (name, value) = pair.split_once('=').ok_or(wrong(Mistake::NoPair))?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Err(wrong(Mistake::NoName));
        }
        if value.starts_with('=') {
            // It is probably the end of a line of base64.
            return Err(wrong(Mistake::NoPair));
        }
        // The value within the rest of the file: a quoted one may continue after the line.
        let value = &rest[line.len() - value.trim_start().len()..];
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted(name, quote, &value[1..], number).map_err(wrong)?,
            _ => (plain(name, line_of(value)).map_err(wrong)?, after_line(value)),
        };
        pairs.push((name.to_owned(), value));
        rest = after;
    }
    Ok(pairs)
}

fn plain(name: &str, value: &str) -> Result<String, Mistake> {
    let comment = value.starts_with('#') || value.contains(" #") || value.contains("\t#");
    if comment { Err(Mistake::Comment { name: name.to_owned() }) } else { Ok(value.trim_end().to_owned()) }
}

/// Reads a value, which begins in line `begin`, up to its closing quote. Returns it with the text after its line.
fn quoted<'t>(name: &str, quote: char, text: &'t str, begin: usize) -> Result<(String, &'t str), Mistake> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            c if c == quote => {
                let after = &text[at + 1..];
                let end = line_of(after).trim_start();
                if end.trim_end().is_empty() || end.starts_with('#') {
                    return Ok((value, after_line(after)));
                }
                let escaped = if quote == '"' { "\\\"" } else { "\"'\", in double quotes" };
                let (name, line) = (name.to_owned(), begin + text[..at].matches('\n').count());
                return Err(match line == begin {
                    true => Mistake::AfterQuote { name, quote, escaped },
                    false => Mistake::Overrun { name, quote, escaped, line },
                });
            }
            c => value.push(c),
        }
    }
    Err(Mistake::Unclosed { name: name.to_owned(), quote })
}

fn line_of(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |at| &text[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        let pairs = parse(text).unwrap_or_else(|error| panic!("{text:?}: line {}: {}", error.line, error.kind));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expect, "{text:?}");
    }

    #[track_caller]
    fn refuse(text: &str, line: usize, message: &str) {
        let error = parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text:?}: {}", error.kind);
        assert!(error.kind.to_string().contains(message), "{text:?}: {}", error.kind);
    }

    #[test]
    fn values_are_read_as_they_are_meant() {
        check("", &[]);
        check("# nothing\n\n  \n", &[]);
        check("A=1\nB = two words \r\nC=", &[("A", "1"), ("B", "two words"), ("C", "")]);
        check("TOK=plain#hash\nexport EXP=exported\n", &[("TOK", "plain#hash"), ("EXP", "exported")]);
        check("A='x # \"y\" \\n'\nB=\"x # 'y'\" # c\n", &[("A", "x # \"y\" \\n"), ("B", "x # 'y'")]);
        check("ESC=\"a\\nb\\t\\\"c\\\" \\\\ é\"", &[("ESC", "a\nb\t\"c\" \\ é")]);
        check("A=b=c==\naccount.token=t", &[("A", "b=c=="), ("account.token", "t")]);
        check("\u{feff}A=1", &[("A", "1")]);
        check("A=\"\"\nB=''\n", &[("A", ""), ("B", "")]);
    }

    #[test]
    fn a_value_has_several_lines_within_quotes() {
        let key = "-----BEGIN X-----\nMIIEow+abc/def==\nQUJD=\n";
        check(&format!("KEY=\"{key}\"\nTOK=1\n"), &[("KEY", key), ("TOK", "1")]);
        check(&format!("KEY='{key}' # the key\nTOK=1"), &[("KEY", key), ("TOK", "1")]);
    }

    #[test]
    fn what_is_no_value_or_could_be_two_is_refused_with_its_line() {
        refuse("A=1\nKEY=\"-----BEGIN\nMIIE\nB=2\n", 2, "the value of KEY begins with \", which is never closed");
        let overrun = "the value of KEY continues to the \" in line 3, and more than a comment follows there; end it with \" before";
        refuse("KEY=\"-----BEGIN\nMIIE\nCMT=\"quoted\" # comment\n", 1, overrun);
        refuse("KEY=\"a\"b\" # comment\n", 1, "more than a comment follows the \" that ends");
        refuse("KEY='it's'\n", 1, "more than a comment follows");
        refuse("KEY=-----BEGIN X-----\nMIIEow\n", 2, "a value of several lines must be in quotes");
        refuse("KEY=-----BEGIN X-----\nMIIEow+abc/def==\n", 2, "a value of several lines must be in quotes");
        refuse("KEY=-----BEGIN X-----\nMIIEow==\n", 2, "a value of several lines must be in quotes");
        refuse("A=1\n\nB=x # y\n", 3, "put the value of B in quotes");
        refuse("=x", 1, "a name has letters");
        refuse("A=\"x\\", 1, "never closed");
    }

    #[test]
    fn no_message_quotes_a_value() {
        for text in [
            "hunter2",
            "A=\"hunter2",
            "A='hunter2'hunter2",
            "A='hunter2\n'hunter2",
            "A=hunter2 # hunter2",
            "hunter2 hunter2=1",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.kind.to_string().contains("hunter2"), "{}", error.kind);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[aA=: #'\"\\\\\n\ré]{0,60}") {
            drop(parse(&text));
        }
    }
}
