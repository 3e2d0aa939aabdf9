//! The forms in which a secret may be printed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A shorter secret is not masked: it would blank out most of the output, and is no secret.
const SHORTEST: usize = 2;
/// A shorter line of a secret of several lines is not masked: it is punctuation, as in JSON.
const SHORTEST_LINE: usize = 3;
/// A shorter secret is not looked for inside other base64: what it leaves there is too short to tell apart.
const SHORTEST_INSIDE_BASE64: usize = 6;

/// A longer secret, a file for instance, is masked line by line only.
const LONGEST_WHOLE: usize = 16 * 1024;
/// Line lengths of programs that wrap base64: GNU's and MIME, and PEM.
const WRAPS: [usize; 2] = [76, 64];
/// A shorter rest of a wrapped line is not looked for.
const SHORTEST_WRAPPED: usize = 8;

/// RFC 3986's unreserved characters stay.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Many encoders leave more as it is: in a path, in a query, in an address, as JavaScript does.
const KEPT: [&AsciiSet; 4] = [
    &URL.remove(b'/'),
    &URL.remove(b'/').remove(b'?').remove(b':').remove(b'@'),
    &URL.remove(b':').remove(b'@').remove(b'$').remove(b'&').remove(b'+').remove(b',').remove(b';').remove(b'='),
    &URL.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')'),
];

/// Every form of `secret`, without duplicates in the eyes of the caller's set.
pub(super) fn of(secret: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let whole = secret.trim_matches(['\n', '\r']);
    if whole.trim().len() < SHORTEST {
        return out;
    }
    if whole.len() <= LONGEST_WHOLE {
        forms(whole, &mut out);
        wrapped(whole, &mut out);
    } else if !whole.contains('\n') {
        out.push(whole.into());
    }
    if whole.contains('\n') {
        for line in whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE) {
            if line.len() <= LONGEST_WHOLE { forms(line, &mut out) } else { out.push(line.into()) }
        }
        if whole.len() <= LONGEST_WHOLE {
            out.push(whole.replace('\n', "\r\n").into_bytes());
        }
    } else if whole.trim() != whole {
        forms(whole.trim(), &mut out);
    }
    out
}

fn forms(text: &str, out: &mut Vec<Vec<u8>>) {
    out.push(text.into());
    url(text, out);
    json(text, out);
    if text.contains('\'') {
        out.push(text.replace('\'', r"'\''").into());
    }
    for value in [text.to_owned(), format!("{text}\n")] {
        out.extend([STANDARD, URL_SAFE].map(|engine| engine.encode(&value).into_bytes()));
        out.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(&value).into_bytes()));
    }
    if text.len() >= SHORTEST_INSIDE_BASE64 {
        for shift in 0..3 {
            out.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| inside(text, shift, &engine)));
        }
    }
}

/// The lines of wrapped base64.
fn wrapped(text: &str, out: &mut Vec<Vec<u8>>) {
    for value in [text.to_owned(), format!("{text}\n")] {
        let encoded = STANDARD.encode(value).into_bytes();
        for width in WRAPS.into_iter().filter(|width| encoded.len() > *width) {
            out.extend(encoded.chunks(width).filter(|line| line.len() >= SHORTEST_WRAPPED).map(<[u8]>::to_vec));
        }
    }
}

/// What `text` looks like within the base64 of something longer in which it starts at `shift` modulo 3: the
/// characters that depend on it alone.
fn inside(text: &str, shift: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(text.as_bytes());
    let encoded = engine.encode(&padded);
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded.as_bytes()[first..last].into()
}

fn url(text: &str, out: &mut Vec<Vec<u8>>) {
    let encoded = utf8_percent_encode(text, URL).to_string();
    if encoded == text {
        return;
    }
    let mut lower = encoded.clone().into_bytes();
    for at in 0..lower.len() {
        if at + 2 < lower.len() && lower[at] == b'%' {
            lower[at + 1..at + 3].make_ascii_lowercase();
        }
    }
    out.push(lower);
    out.push(encoded.replace("%20", "+").into());
    out.extend(KEPT.map(|set| utf8_percent_encode(text, set).to_string().into()));
    out.push(encoded.into());
}

fn json(text: &str, out: &mut Vec<Vec<u8>>) {
    let Ok(quoted) = serde_json::to_string(text) else { return };
    let escaped = &quoted[1..quoted.len() - 1];
    out.push(escaped.into());
    out.push(escaped.replace('/', "\\/").into());
    let html = escaped.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    out.push(html.into());
    let ascii: String = escaped
        .chars()
        .map(|c| match c {
            c if c.is_ascii() => c.to_string(),
            c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        })
        .collect();
    out.push(ascii.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ones_are_left_alone() {
        assert!(of("x").is_empty());
        assert!(of(" \n").is_empty());
        assert!(of("ab").contains(&b"ab".to_vec()));
    }

    #[test]
    fn each_line_counts() {
        let forms = of("first line\n}\nsecond\n");
        for wanted in ["first line", "second", "first line\n}\nsecond", "first%20line", "first+line"] {
            assert!(forms.contains(&wanted.as_bytes().to_vec()), "{wanted}");
        }
        assert!(!forms.contains(&b"}".to_vec()));
    }

    #[test]
    fn wrapped_base64_is_found_line_by_line() {
        let secret = "0123456789".repeat(12);
        let forms = of(&secret);
        let encoded = STANDARD.encode(format!("{secret}\n"));
        for line in encoded.as_bytes().chunks(76) {
            assert!(forms.iter().any(|form| form == line), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_long_file_is_masked_by_line() {
        let line = "x".repeat(100);
        let forms = of(&format!("{line}\n").repeat(1000));
        assert!(forms.contains(&line.into_bytes()) && forms.iter().all(|form| form.len() < 1000));
    }

    #[test]
    fn encoded_forms() {
        let forms = of("a\"b/c é<?>~~");
        for wanted in
            [r#"a\"b/c é<?>~~"#, r#"a\"b\/c é<?>~~"#, r#"a\"b/c \u00e9<?>~~"#, "a%22b%2Fc%20%C3%A9%3C%3F%3E~~"]
        {
            assert!(forms.contains(&wanted.as_bytes().to_vec()), "{wanted}");
        }
    }

    #[test]
    fn a_secret_is_found_inside_other_base64_at_any_alignment() {
        let secret = "hunter2-and-more";
        let forms = of(secret);
        for prefix in ["", "u", "us", "user:"] {
            let encoded = STANDARD.encode(format!("{prefix}{secret}:tail"));
            let hit = forms.iter().filter(|form| encoded.contains(&*String::from_utf8_lossy(form))).map(Vec::len).max();
            assert!(hit >= Some(secret.len() * 8 / 6 - 1), "{prefix}: {encoded}");
        }
    }
}
