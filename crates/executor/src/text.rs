//! Makes text of bytes, a piece at a time.

/// Makes text of the pieces of a stream. The beginning of a character at the end of a piece is kept until its rest arrives.
#[derive(Default)]
pub struct Decoder {
    /// The beginning of a character, of three bytes at most.
    rest: Vec<u8>,
}

impl Decoder {
    /// Adds a piece, and returns the text that is whole. What is not UTF-8 is U+FFFD.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.rest.extend_from_slice(piece);
        let mut text = String::with_capacity(self.rest.len());
        let mut at = 0;
        loop {
            match std::str::from_utf8(&self.rest[at..]) {
                Ok(valid) => {
                    text.push_str(valid);
                    at = self.rest.len();
                    break;
                }
                Err(error) => {
                    let end = at + error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.rest[at..end]));
                    at = end;
                    let Some(wrong) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    at += wrong;
                }
            }
        }
        self.rest.drain(..at);
        text
    }

    /// Returns what is left at the end of the stream: a U+FFFD for a character that was cut off, or nothing.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> String {
        let mut decoder = Decoder::default();
        let mut text: String = pieces.iter().map(|piece| decoder.push(piece)).collect();
        text.push_str(&decoder.finish());
        text
    }

    #[test]
    fn a_text_is_the_same_wherever_its_pieces_are_cut() {
        for bytes in ["aä€😀z".as_bytes(), b"a\xffb\xe2\x82c\xf0\x9f\x98", b"\xe4\n", b""] {
            let whole = String::from_utf8_lossy(bytes);
            for one in 0..=bytes.len() {
                for two in one..=bytes.len() {
                    assert_eq!(
                        decode(&[&bytes[..one], &bytes[one..two], &bytes[two..]]),
                        whole,
                        "{bytes:?} {one} {two}"
                    );
                }
            }
        }
    }
}
