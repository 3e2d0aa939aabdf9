//! Syntax errors, as findings.

use granit_parser::{ErrorKind, Marker, ScanError};

use super::{MAX_BYTES, MAX_DEPTH, unquoted};
use crate::diagnostic::{Diagnostic, Location};

/// Returns the file's text if it is UTF-8 and not too large.
pub(super) fn checked_text(bytes: &[u8]) -> Result<&str, Diagnostic> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has more than {MAX_BYTES} bytes");
        return Err(Diagnostic::invalid("file-too-large", &Location::default(), message)
            .help("move what is large, such as scripts and data, into files of its own"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let at = error.valid_up_to();
        let location = Location { line: small(line), column: small(column), span: at..at + 1 };
        let message = format!("the file is not UTF-8: byte 0x{:02x} cannot start a character", bytes[at]);
        Diagnostic::invalid("not-utf8", &location, message).help(not_utf8_help(bytes))
    })
}

fn not_utf8_help(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "the file looks like UTF-16: save it as UTF-8"
    } else {
        "save the file as UTF-8"
    }
}

/// Returns the place between two marks of the library.
pub(super) fn location(start: Marker, end: Marker) -> Location {
    let from = start.byte_offset().unwrap_or_default();
    let to = end.byte_offset().unwrap_or(from).max(from);
    Location { line: small(start.line()), column: small(start.col() + 1), span: from..to }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
    )
}

/// Moves a place to the tab itself. The library marks something before it, or the place right after it.
fn move_to_tab(place: &mut Location, text: &str) {
    let (Some(before), Some(after)) = (text.get(..place.span.start), text.get(place.span.start..)) else { return };
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let in_line = before[line_start..].rfind('\t').map(|at| line_start + at);
    let Some(tab) = in_line.or_else(|| after.find('\t').map(|at| before.len() + at)) else { return };
    place.line = small(text[..tab].matches('\n').count() + 1);
    let tab_line_start = text[..tab].rfind('\n').map_or(0, |end| end + 1);
    place.column = small(text[tab_line_start..tab].chars().count() + 1);
    place.span = tab..tab + 1;
}

/// Translates the library's error.
pub(super) fn syntax(error: &ScanError, text: &str) -> Diagnostic {
    let mut place = location(*error.marker(), *error.marker());
    if is_tab(error.kind()) {
        move_to_tab(&mut place, text);
    }
    // A mark at the very end points at nothing, so it is moved to the last character.
    let end = text[place.span.start.min(text.len())..].chars().next().map_or(0, char::len_utf8);
    place.span.end = place.span.start + end;
    let (code, message, help) = match error.kind() {
        kind if is_tab(kind) => (
            "tab-indentation",
            "a tab is used where YAML requires spaces".to_owned(),
            Some("indent with spaces".to_owned()),
        ),
        ErrorKind::RecursionLimitExceeded => {
            ("too-deep", format!("the nesting is deeper than {MAX_DEPTH} levels"), None)
        }
        ErrorKind::UnknownAnchor => {
            let message = "the alias names an anchor that is not defined before it".to_owned();
            let define =
                "define the anchor with `&name` above; anchors do not carry over from one document to the next";
            let help = match unquoted::help(text, place.span.start) {
                Some(way_out) => format!("{define}; where the `*` is a part of the text, {way_out}"),
                None => define.to_owned(),
            };
            ("unknown-anchor", message, Some(help))
        }
        ErrorKind::UnclosedQuotedScalar => {
            ("yaml-syntax", "a quoted text is not closed".to_owned(), Some("close the quotes".to_owned()))
        }
        _ if dashes(text, place.span.start) => {
            ("yaml-syntax", "a line between two documents has three dashes".to_owned(), Some("write `---`".to_owned()))
        }
        other => {
            let (message, help) = structure(other);
            let help = unquoted::help(text, place.span.start).or(help.map(str::to_owned));
            ("yaml-syntax", message, help)
        }
    };
    let diagnostic = Diagnostic::invalid(code, &place, message);
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// Returns whether the line of a place consists of dashes, more than the three that separate documents.
fn dashes(text: &str, place: usize) -> bool {
    let start = text[..place.min(text.len())].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim_end();
    line.len() > 3 && line.bytes().all(|byte| byte == b'-')
}

/// Returns the fault in the signs of YAML's structure.
fn structure(kind: &ErrorKind) -> (String, Option<&'static str>) {
    match kind {
        ErrorKind::MappingValueNotAllowed => (
            "a `:` is in a place where no key is possible".to_owned(),
            Some("put the text in quotes if the colon belongs to it, or mend the indentation"),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidSimpleKey => (
            "a key and a `:` are expected here".to_owned(),
            Some("check that the indentation agrees with the lines above"),
        ),
        ErrorKind::ExpectedBlockSequenceEntry => {
            ("a `-` is expected here".to_owned(), Some("check that the indentation agrees with the lines above"))
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("text follows the closing quote".to_owned(), Some("put the whole text in quotes"))
        }
        ErrorKind::UnexpectedCharacter { character } => (
            format!("a text without quotes cannot begin with `{}`", character.escape_debug()),
            Some("put the text in quotes"),
        ),
        other => (format!("not YAML: {other}"), None),
    }
}
