//! Encodings in which programs print a text.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Line lengths of programs that wrap base64: GNU's and MIME, and PEM.
const BASE64_WRAPS: [usize; 2] = [76, 64];
/// Line length of `xxd -p`.
const HEX_WRAP: usize = 60;
/// Length below which the rest of a wrapped line is not searched for.
const SHORTEST_WRAPPED: usize = 8;

/// The set of encoded characters that leaves RFC 3986's unreserved characters as they are.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Sets of encoders that leave more characters: in a path, in a query, in an address, as JavaScript does, as Java does.
const URLS: [&AsciiSet; 6] = [
    URL,
    &URL.remove(b'/'),
    &URL.remove(b'/').remove(b'?').remove(b':').remove(b'@'),
    &URL.remove(b':').remove(b'@').remove(b'$').remove(b'&').remove(b'+').remove(b',').remove(b';').remove(b'='),
    &URL.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')'),
    &URL.remove(b'*').add(b'~'),
];

/// Characters that a shell takes as they are.
const SHELL_PLAIN: &str = "_-./,:=@%+";

/// Adds the percent-encoded forms, with digits in either case.
pub(super) fn url(text: &str, out: &mut Vec<String>) {
    for set in URLS {
        let encoded = utf8_percent_encode(text, set).to_string();
        if encoded == text {
            continue;
        }
        let mut lower = String::with_capacity(encoded.len());
        let mut digits = 0;
        for c in encoded.chars() {
            lower.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
            digits = if c == '%' { 2 } else { i32::max(digits - 1, 0) };
        }
        for form in [lower, encoded] {
            out.push(form.replace("%20", "+"));
            out.push(form);
        }
    }
}

/// Adds the forms within a JSON string: minimal, with `/` escaped, safe within HTML, and in ASCII only.
pub(super) fn json(text: &str, out: &mut Vec<String>) {
    let quoted = serde_json::Value::from(text).to_string();
    let escaped = &quoted[1..quoted.len() - 1];
    out.push(escaped.into());
    out.push(escaped.replace('/', "\\/"));
    out.push(escaped.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
    let ascii = escaped.chars().map(|c| match c {
        c if c.is_ascii() => c.to_string(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    });
    out.push(ascii.collect());
}

/// Adds the forms within XML or HTML: with the necessary replacements, and with those of quotes too.
pub(super) fn xml(text: &str, out: &mut Vec<String>) {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return;
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let double = text.replace('"', "&quot;");
    out.extend(["&#39;", "&#x27;", "&apos;"].map(|single| double.replace('\'', single)));
    out.extend([double, text]);
}

/// Adds the forms as a word of a shell: within single quotes, and with backslashes.
pub(super) fn shell(text: &str, out: &mut Vec<String>) {
    out.push(text.replace('\'', r"'\''"));
    let plain = |c: char| c.is_alphanumeric() || SHELL_PLAIN.contains(c);
    out.push(text.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect());
}

/// Adds the hexadecimal forms in either case, also wrapped.
pub(super) fn hex(text: &str, out: &mut Vec<String>) {
    let lower: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    for digits in [lower.to_uppercase(), lower] {
        wrapped(&digits, HEX_WRAP, out);
        out.push(digits);
    }
}

/// Adds the base64 forms of the text on its own, also with a line end behind it, also wrapped.
pub(super) fn base64(text: &str, out: &mut Vec<String>) {
    for value in [text.to_owned(), format!("{text}\n")] {
        out.extend([STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(&value)));
        BASE64_WRAPS.into_iter().for_each(|width| wrapped(&STANDARD.encode(&value), width, out));
    }
}

/// Adds the forms inside the base64 of a longer text.
pub(super) fn inside_base64(text: &str, out: &mut Vec<String>) {
    for shift in 0..3 {
        out.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| inside(text, shift, &engine)));
    }
}

/// Returns the form of `text` within the base64 of a longer text in which it starts at `shift` modulo 3: the characters
/// that depend on it alone.
fn inside(text: &str, shift: usize, engine: &GeneralPurpose) -> String {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(text.as_bytes());
    let encoded = engine.encode(&padded);
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded[first..last].into()
}

/// Adds the lines of an encoding that does not fit into one. All of it is ASCII.
fn wrapped(encoded: &str, width: usize, out: &mut Vec<String>) {
    let mut rest = encoded;
    while encoded.len() > width && rest.len() >= SHORTEST_WRAPPED {
        let (line, after) = rest.split_at(width.min(rest.len()));
        out.push(line.to_owned());
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encode: fn(&str, &mut Vec<String>), text: &str, there: &[&str]) {
        let mut forms = Vec::new();
        encode(text, &mut forms);
        there.iter().for_each(|form| assert!(forms.iter().any(|known| known == form), "{form} is not in {forms:?}"));
    }

    #[test]
    fn what_programs_write() {
        let text = "a\"b/c é<?>~*&'";
        check(json, text, &[r#"a\"b/c é<?>~*&'"#, r#"a\"b\/c é<?>~*&'"#, r#"a\"b/c \u00e9<?>~*&'"#]);
        check(json, text, &[r#"a\"b/c é\u003c?\u003e~*\u0026'"#]);
        check(url, text, &["a%22b%2Fc%20%C3%A9%3C%3F%3E~%2A%26%27", "a%22b%2fc%20%c3%a9%3c%3f%3e~%2a%26%27"]);
        check(url, text, &["a%22b%2Fc+%C3%A9%3C%3F%3E%7E*%26%27", "a%22b/c%20%c3%a9%3c%3f%3e~%2a%26%27"]);
        check(xml, text, &["a&quot;b/c é&lt;?&gt;~*&amp;&#39;", "a\"b/c é&lt;?&gt;~*&amp;'"]);
        check(shell, text, &[r#"a\"b/c\ é\<\?\>\~\*\&\'"#, r#"a"b/c é<?>~*&'\''"#]);
        check(hex, "k/Z+", &["6b2f5a2b", "6B2F5A2B"]);
        check(base64, "k/Z+", &["ay9aKw==", "ay9aKw", "ay9aKwo="]);
    }

    #[test]
    fn what_is_wrapped_is_found_line_by_line() {
        let secret = "0123456789".repeat(12);
        let encoded = STANDARD.encode(format!("{secret}\n"));
        for width in [76, 64] {
            let lines: Vec<&str> =
                encoded.as_bytes().chunks(width).filter_map(|l| std::str::from_utf8(l).ok()).collect();
            check(base64, &secret, &lines);
        }
        check(hex, &secret, &[&"30313233343536373839".repeat(3)]);
    }

    #[test]
    fn a_secret_is_found_inside_other_base64_at_any_alignment() {
        let secret = "hunter2-and-more";
        let mut forms = Vec::new();
        inside_base64(secret, &mut forms);
        for prefix in ["", "u", "us", "user:"] {
            let encoded = STANDARD.encode(format!("{prefix}{secret}:tail"));
            let hit = forms.iter().filter(|form| encoded.contains(*form)).map(String::len).max();
            assert!(hit >= Some(secret.len() * 8 / 6 - 1), "{prefix}: {encoded}");
        }
    }
}
