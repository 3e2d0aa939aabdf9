//! Detects the encoding of a report.

use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Number of bytes that are searched for the declaration.
const HEAD_BYTES: usize = 1024;

/// Conversion of bytes to text.
pub(crate) enum Decoding {
    /// The encoding is known.
    Known(Decoder),
    /// The report declares this encoding, and has been ASCII so far. Some writers declare one and write UTF-8.
    Declared(&'static Encoding),
}

impl Decoding {
    /// Detects the encoding from the first bytes: a byte order mark, the zeros of UTF-16, or the declaration. The
    /// default is UTF-8.
    pub(crate) fn of(head: &[u8]) -> Self {
        if let Some((encoding, _)) = Encoding::for_bom(head) {
            return known(encoding);
        }
        match head {
            [b'<', 0, ..] => known(UTF_16LE),
            [0, b'<', ..] => known(UTF_16BE),
            _ => match declared(head) {
                Some(encoding) if encoding == UTF_8 || encoding == UTF_16LE || encoding == UTF_16BE => known(UTF_8),
                Some(encoding) if encoding.is_ascii_compatible() => Self::Declared(encoding),
                Some(encoding) => known(encoding),
                None => known(UTF_8),
            },
        }
    }

    /// Returns the decoder for these bytes, or none while they are ASCII in every possible encoding.
    pub(crate) fn decoder(&mut self, bytes: &[u8]) -> Option<&mut Decoder> {
        if let Self::Declared(encoding) = *self {
            let from = bytes.iter().position(|byte| !byte.is_ascii())?;
            // A character that is cut at the end of the bytes proves nothing.
            let is_utf8 = match std::str::from_utf8(&bytes[from..]) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
            };
            *self = known(if is_utf8 { UTF_8 } else { encoding });
        }
        match self {
            Self::Known(decoder) => Some(decoder),
            Self::Declared(_) => None,
        }
    }
}

fn known(encoding: &'static Encoding) -> Decoding {
    Decoding::Known(encoding.new_decoder_with_bom_removal())
}

/// Returns the encoding that the XML declaration names, if it is known.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&head[..head.len().min(HEAD_BYTES)]);
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Encoding::for_label_no_replacement(value[1..].split(quote).next()?.as_bytes())
}
