//! `KEY=VALUE` files: the agent's settings file, and what steps write to hand over variables.
//!
//! The forms that godotenv writes and reads: comments, `export`, single quotes (taken as they are), double quotes
//! (with escapes), values over several lines within quotes, `KEY: value`, and `__B64__` before a base64 value.
//! There is no limit on the length of a value but the file's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BASE64_MARK: &str = "__B64__";

/// Reads pairs in the order of the file. A line that is no pair is skipped: the file is written by a user's script,
/// and one stray line must not lose the other variables.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let line = &rest[..line_end];
        let body = line.trim_start();
        let body = body.strip_prefix("export ").unwrap_or(body);
        let pair = body.find(['=', ':']).map(|at| (body[..at].trim(), &body[at + 1..]));
        match pair {
            Some((key, value)) if is_key(key) => {
                let start = rest.len() - (rest[line_end..].len() + value.len());
                let (value, used) = value_of(&rest[start..]);
                out.push((key.to_owned(), decode(value)));
                rest = &rest[start + used..];
            }
            _ => rest = rest.get(line_end + 1..).unwrap_or(""),
        }
    }
    out
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The value at the start of `text`, and how much of `text` it uses, with its line end.
fn value_of(text: &str) -> (String, usize) {
    let skipped = text.len() - text.trim_start_matches([' ', '\t']).len();
    let body = &text[skipped..];
    let quoted = match body.as_bytes().first() {
        Some(b'\'') => body[1..].find('\'').map(|end| (body[1..=end].to_owned(), end + 2)),
        Some(b'"') => double_quoted(&body[1..]).map(|(value, used)| (value, used + 1)),
        _ => None,
    };
    if let Some((value, used)) = quoted {
        let after = skipped + used;
        let line_end = text[after..].find('\n').map_or(text.len(), |at| after + at + 1);
        return (value, line_end);
    }
    let end = text.find('\n').unwrap_or(text.len());
    let line = text[..end].trim_end_matches('\r');
    let value = line.find(" #").map_or(line, |at| &line[..at]);
    (value.trim().to_owned(), (end + 1).min(text.len()))
}

fn double_quoted(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                other => out.push(other),
            },
            _ => out.push(c),
        }
    }
    None
}

fn decode(value: String) -> String {
    let Some(text) = value.strip_prefix(BASE64_MARK) else { return value };
    match STANDARD.decode(text) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let pairs = parse(text);
        let got: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn forms() {
        check("", &[]);
        check("A=1", &[("A", "1")]);
        check("A=1\nB = two words \r\n", &[("A", "1"), ("B", "two words")]);
        check("# c\n\nexport A=b=c\nnot a pair\nD:e\n", &[("A", "b=c"), ("D", "e")]);
        check("A='x # y'\nB=x # y\n", &[("A", "x # y"), ("B", "x")]);
        check("A=\"l1\nl2\\n\\\"l3\\\"\"  \nB=2", &[("A", "l1\nl2\n\"l3\""), ("B", "2")]);
        check("A='it\nis'\nB=", &[("A", "it\nis"), ("B", "")]);
        check("A=\"unclosed\nB=2", &[("A", "\"unclosed"), ("B", "2")]);
        check("A=__B64__aGkKeW91\n", &[("A", "hi\nyou")]);
        check("A=é\nÉ=1\nB=2", &[("A", "é"), ("B", "2")]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(text in "[aA=: #'\"\\\\\n\ré]{0,60}") {
            for (key, _) in parse(&text) {
                proptest::prop_assert!(is_key(&key));
            }
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[a-z =#'\n]{0,40}") {
            proptest::prop_assert_eq!(parse(&format!("K=\"{value}\"\nL=1")), vec![("K".into(), value), ("L".into(), "1".into())]);
        }
    }

    #[test]
    fn a_value_may_be_longer_than_64_kib() {
        let long = "x".repeat(200_000);
        check(&format!("A={long}\nB=1\n"), &[("A", &long), ("B", "1")]);
    }
}
