//! Characters that look like others: YAML does not treat a no-break space as a space, nor a typographic quote as a
//! quote. They arrive with text that was copied from a page or a chat, and are invisible to people.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Location, Severity};

/// Code of the findings about them.
pub(crate) const CODE: &str = "lookalike-character";

/// Lines above a syntax error that are searched. The parser reports an error only where it can no longer go on.
const LINES_ABOVE: usize = 3;

/// The character that was probably meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    Space,
    Nothing,
    Char(char),
}

/// Returns the usual name of such a character, and the character that was probably meant.
fn name(c: char) -> Option<(&'static str, Meant)> {
    Some(match c {
        '\u{a0}' | '\u{202f}' => ("a no-break space", Meant::Space),
        '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}' => ("a space of its own width", Meant::Space),
        '\u{200b}' | '\u{2060}' | '\u{feff}' => ("a space without width", Meant::Nothing),
        '\u{200c}' | '\u{200d}' => ("a joiner without width", Meant::Nothing),
        '\u{ad}' => ("a soft hyphen", Meant::Nothing),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            ("a mark of the direction of writing", Meant::Nothing)
        }
        '\u{2018}'..='\u{201b}' | '\u{2039}' | '\u{203a}' => ("a typographic quote", Meant::Char('\'')),
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => ("a typographic quote", Meant::Char('"')),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => ("a typographic dash", Meant::Char('-')),
        '\u{ff1a}' => ("a wide colon", Meant::Char(':')),
        _ => return None,
    })
}

/// Returns whether a text holds such a character.
pub(crate) fn is_in(text: &str) -> bool {
    text.chars().any(|c| name(c).is_some())
}

/// Adds the name of such a character to a finding that it causes.
pub(crate) fn explain(found: &mut Diagnostic, source: &str) {
    if found.severity < Severity::Warning {
        return;
    }
    let span = &found.location.span;
    let at = match found.code {
        "yaml-syntax" => in_lines(source, span.start, LINES_ABOVE),
        "unknown-key" | "wrong-type" => in_lines(source, span.start, 0),
        // The word equals a known one except for such characters.
        _ if found.help.as_deref().is_some_and(|help| help.starts_with("did you mean")) => {
            first_in(source, span.clone())
        }
        _ => None,
    };
    if let Some((at, c)) = at {
        rewrite(found, source, at, c);
    }
}

/// Returns the first such character in a piece of the text.
fn first_in(source: &str, span: Range<usize>) -> Option<(usize, char)> {
    let piece = source.get(span.clone())?;
    let piece = piece.lines().next()?;
    piece.char_indices().find(|(_, c)| name(*c).is_some()).map(|(at, c)| (span.start + at, c))
}

/// Returns the one that breaks the line of a place, or one of the lines above it, the nearest line first.
fn in_lines(source: &str, place: usize, above: usize) -> Option<(usize, char)> {
    let mut end = source.get(place..)?.find('\n').map_or(source.len(), |at| place + at);
    for _ in 0..=above {
        let start = source[..end].rfind('\n').map_or(0, |at| at + 1);
        // A byte order mark may begin a file.
        let start = if start == 0 && source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start };
        if let Some((at, c)) = breaking(&source[start..end]) {
            return Some((start + at, c));
        }
        end = source[..start].rfind('\n')?;
    }
    None
}

/// Returns the one that breaks a line's structure: before its first word, in its key, or right after the colon. Within
/// a value it is part of the text.
fn breaking(line: &str) -> Option<(usize, char)> {
    let colon = line.char_indices().find(|&(at, c)| {
        let next = line[at..].chars().nth(1);
        c == ':' && next.is_none_or(|next| next.is_whitespace() || name(next).is_some())
    });
    let wide = line.char_indices().find(|(_, c)| *c == '\u{ff1a}');
    let prefix = line.find(|c: char| c.is_ascii_alphanumeric() || "\"'#".contains(c)).unwrap_or(line.len());
    let key_ends = match (colon, wide) {
        // The character after the colon is included.
        (Some((at, _)), None) => at + 1 + line[at + 1..].chars().next().map_or(0, char::len_utf8),
        (None, Some((at, c))) => at + c.len_utf8(),
        (Some((at, _)), Some((wide, c))) => {
            if at < wide {
                at + 1
            } else {
                wide + c.len_utf8()
            }
        }
        (None, None) => prefix,
    };
    line[..key_ends].char_indices().find(|(_, c)| name(*c).is_some())
}

fn rewrite(found: &mut Diagnostic, source: &str, at: usize, c: char) {
    let Some((what, meant)) = name(c) else { return };
    let number = u32::from(c);
    let (message, help) = match meant {
        Meant::Space => (
            format!("{what} (U+{number:04X}) is in this place, and YAML does not treat it as a space"),
            "write a space in its place".to_owned(),
        ),
        Meant::Nothing => {
            (format!("{what} (U+{number:04X}) is in this place, and is invisible"), "remove it".to_owned())
        }
        Meant::Char(meant) => (
            format!("{what} (U+{number:04X}) is in this place, and YAML does not treat it as `{meant}`"),
            format!("write `{meant}` in its place"),
        ),
    };
    let before = &source[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    found.location = Location {
        line: small(before.matches('\n').count() + 1),
        column: small(before[line_start..].chars().count() + 1),
        span: at..at + c.len_utf8(),
    };
    (found.code, found.message, found.help) = (CODE, message, Some(help));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_line_is_told_from_what_belongs_to_its_text() {
        let cases = [
            ("name: Caf\u{e9}\u{a0}\u{201c}x\u{201d}", None),
            ("- echo \u{2013} x", None),
            ("\u{a0}name: x", Some('\u{a0}')),
            ("  -\u{a0}name: x", Some('\u{a0}')),
            ("name:\u{a0}x", Some('\u{a0}')),
            ("name:\u{a0}", Some('\u{a0}')),
            ("na\u{200b}me: x", Some('\u{200b}')),
            ("\u{201c}name\u{201d}: x", Some('\u{201c}')),
            ("\u{2013} name: x", Some('\u{2013}')),
            ("name\u{ff1a} x", Some('\u{ff1a}')),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(breaking(line).map(|(_, c)| c), expected, "{line:?}");
        }
    }
}
