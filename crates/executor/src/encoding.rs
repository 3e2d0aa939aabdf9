//! Makes text of a report's bytes.

use std::borrow::Cow;

/// How many bytes of a report are searched for its encoding.
const HEAD_BYTES: usize = 200;
/// Encodings in which a byte is the character of its number, or nearly.
const ONE_BYTE: &[&str] =
    &["iso-8859-1", "iso_8859-1", "latin1", "latin-1", "l1", "iso-8859-15", "windows-1252", "cp1252", "us-ascii"];

/// Returns a report's text. UTF-16 is told by its first bytes, an encoding of one byte for each character by the report's own
/// declaration. Anything else is read as UTF-8, with U+FFFD for what is not.
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        [b'<', 0, ..] => Cow::Owned(utf16(bytes, u16::from_le_bytes)),
        [0, b'<', ..] => Cow::Owned(utf16(bytes, u16::from_be_bytes)),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ if std::str::from_utf8(bytes).is_err() && is_one_byte(bytes) => {
            Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => String::from_utf8_lossy(bytes),
    }
}

fn utf16(bytes: &[u8], number: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| number([pair[0], pair[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Returns whether a report declares an encoding of one byte for each character.
fn is_one_byte(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD_BYTES)]).to_ascii_lowercase();
    let declaration = head.split("?>").next().unwrap_or_default();
    let Some((_, encoding)) = declaration.split_once("encoding") else { return false };
    let encoding = encoding.trim_start_matches([' ', '=', '"', '\'']);
    ONE_BYTE.iter().any(|name| encoding.strip_prefix(name).is_some_and(|rest| rest.starts_with(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        assert_eq!(text(bytes), expect);
    }

    #[test]
    fn the_encoding_is_found() {
        check("<a ü='€'/>".as_bytes(), "<a ü='€'/>");
        check(b"\xef\xbb\xbf<a/>", "<a/>");
        check(b"\xff\xfe<\0\xfc\0>\0\0\xd8", "<ü>\u{fffd}");
        check(b"\xfe\xff\0<\0a\0>", "<a>");
        check(b"<\0a\0>\0", "<a>");
        check(
            b"<?xml version='1.0' encoding='ISO-8859-1'?><a n='\xfc'/>",
            "<?xml version='1.0' encoding='ISO-8859-1'?><a n='ü'/>",
        );
        check(b"<?xml encoding=\"latin1\" ?>\xe9", "<?xml encoding=\"latin1\" ?>é");
        // A wrong declaration does no harm.
        check("<?xml encoding='ISO-8859-1'?>ü".as_bytes(), "<?xml encoding='ISO-8859-1'?>ü");
        check(b"<?xml encoding='iso-8859-1x'?>\xfc", "<?xml encoding='iso-8859-1x'?>\u{fffd}");
        check(b"\xfc", "\u{fffd}");
        check(b"", "");
    }
}
