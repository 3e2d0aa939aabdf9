//! The forms in which a secret may be printed.

mod encodings;

use crate::automaton::{FORM_MAX_BYTES, FORM_MIN_BYTES};

/// Length below which a secret is not masked. It would blank out most of the output, and is no secret.
const SHORTEST: usize = FORM_MIN_BYTES;
/// Length below which a line of a secret of several lines is not masked. Such lines are punctuation, as in JSON.
const SHORTEST_LINE: usize = 3;
/// Length below which a secret is not searched for in other letter case or inside other base64. Too much else looks
/// like it.
const SHORTEST_LOOSE: usize = 6;
/// Length below which a secret is not searched for as hexadecimal digits.
const SHORTEST_HEX: usize = 4;

/// Length above which a secret is searched for only as it is, in JSON and in base64. The other forms take many times
/// its size.
const ALL_FORMS_MAX_BYTES: usize = 1024;
/// Length above which a secret, such as a file, is masked line by line, or in pieces of this size.
const WHOLE_MAX_BYTES: usize = 16 << 10;

/// Returns every form of `secret`. The same form may come more than once.
pub(crate) fn of(secret: &str) -> Vec<Vec<u8>> {
    let whole = secret.trim_matches(['\n', '\r']);
    if whole.trim().len() < SHORTEST {
        return Vec::new();
    }
    let mut out = Vec::new();
    add(whole, &mut out);
    if whole.contains('\n') {
        if whole.len() <= WHOLE_MAX_BYTES {
            out.push(whole.replace('\n', "\r\n"));
        }
        whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE).for_each(|line| add(line, &mut out));
    } else if whole.trim() != whole {
        add(whole.trim(), &mut out);
    }
    out.iter().flat_map(|form| pieces(form, FORM_MAX_BYTES)).map(|form| form.as_bytes().to_vec()).collect()
}

fn add(text: &str, out: &mut Vec<String>) {
    if text.len() > WHOLE_MAX_BYTES {
        // The lines are added one by one.
        if !text.contains('\n') {
            out.extend(pieces(text, WHOLE_MAX_BYTES).map(str::to_owned));
        }
        return;
    }
    out.push(text.to_owned());
    encodings::json(text, out);
    encodings::base64(text, out);
    if text.len() > ALL_FORMS_MAX_BYTES {
        return;
    }
    encodings::url(text, out);
    encodings::xml(text, out);
    encodings::shell(text, out);
    if text.len() >= SHORTEST_HEX {
        encodings::hex(text, out);
    }
    if text.len() >= SHORTEST_LOOSE {
        encodings::inside_base64(text, out);
        out.extend([text.to_uppercase(), text.to_lowercase()]);
    }
}

/// Cuts a text between characters. Masks that touch become one, so pieces are masked like the whole text.
fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // No piece is too short to be searched for.
        let len = if rest.len() > most { rest.floor_char_boundary(most - FORM_MIN_BYTES) } else { rest.len() };
        let (piece, after) = rest.split_at(len);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(secret: &str, there: &[&str], absent: &[&str]) {
        let forms = of(secret);
        let has = |form: &str| forms.iter().any(|known| known == form.as_bytes());
        there.iter().for_each(|form| assert!(has(form), "{secret:?} is not looked for as {form:?}"));
        absent.iter().for_each(|form| assert!(!has(form), "{secret:?} is looked for as {form:?}"));
    }

    #[test]
    fn short_ones_are_left_alone() {
        assert!(of("x").is_empty());
        assert!(of(" \n").is_empty());
        check("ab", &["ab"], &["AB", "6162"]);
        check("abcd", &["abcd", "61626364"], &["ABCD"]);
    }

    #[test]
    fn each_line_counts() {
        let there = ["first line", "second", "first line\n}\nsecond", "first line\r\n}\r\nsecond", "first%20line"];
        check("first line\n}\nsecond\n", &there, &["}"]);
        check("first line\n}\nsecond\n", &["first+line", "FIRST LINE", r"first line\n}\nsecond"], &[]);
    }

    #[test]
    fn a_long_file_is_masked_by_line() {
        let line = "x".repeat(100);
        let forms = of(&format!("{line}\n").repeat(1000));
        assert!(forms.contains(&line.into_bytes()) && forms.iter().all(|form| form.len() < 1000));
    }

    #[test]
    fn a_long_line_is_masked_in_pieces_that_make_it_up() {
        let secret = "é1".repeat(60_000);
        let forms = of(&secret);
        assert!(forms.iter().all(|form| (SHORTEST..=FORM_MAX_BYTES).contains(&form.len())));
        assert_eq!(forms.concat(), secret.into_bytes());
    }

    #[test]
    fn no_form_is_longer_than_can_be_searched_for() {
        let forms = of(&"<\u{1}".repeat(WHOLE_MAX_BYTES / 2));
        assert!(forms.iter().all(|form| (SHORTEST..=FORM_MAX_BYTES).contains(&form.len())));
    }
}
