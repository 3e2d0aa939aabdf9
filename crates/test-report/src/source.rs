//! A report's text, read piece by piece, under limits.

use std::io::{self, BufRead, Read};

use crate::encoding::Decoding;

/// Greatest size of a report that is read, in bytes.
pub const REPORT_MAX_BYTES: u64 = 64 << 20;
/// Greatest size of one tag with all its attributes, in bytes.
pub const TAG_MAX_BYTES: usize = 4 << 20;
/// Number of bytes that are read at a time.
const CHUNK_BYTES: usize = 32 << 10;

/// The reason why reading stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The report is larger than [`REPORT_MAX_BYTES`].
    ReportTooLarge,
    /// A tag is larger than [`TAG_MAX_BYTES`].
    TagTooLarge,
    /// The report could not be read.
    Unread(String),
}

/// Reads bytes of any encoding as UTF-8. Invalid ones become U+FFFD.
pub(crate) struct Source<R> {
    input: R,
    /// The encoding. It is detected from the first bytes.
    decoding: Option<Decoding>,
    text: String,
    /// The position up to which the text has been taken.
    at: usize,
    /// The present line, from 1.
    line: u64,
    /// Bytes that have been read so far.
    came: u64,
    /// Bytes of text that have been taken since the last mark.
    since_mark: usize,
    ended: bool,
    stop: Option<Stop>,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(input: R) -> Self {
        let (decoding, text) = (None, String::new());
        Self { input, decoding, text, at: 0, line: 1, came: 0, since_mark: 0, ended: false, stop: None }
    }

    /// Returns the present line, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Returns the reason why reading stopped before the end.
    pub(crate) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Returns whether the report is empty.
    pub(crate) fn was_empty(&self) -> bool {
        self.came == 0
    }

    /// Begins a part whose size is limited by [`TAG_MAX_BYTES`].
    pub(crate) fn mark(&mut self) {
        self.since_mark = 0;
    }

    /// Returns the text that has been read but not taken, at least this many bytes unless the report ends.
    pub(crate) fn rest(&mut self, least_bytes: usize) -> io::Result<&str> {
        while self.text.len() - self.at < least_bytes && !self.ended {
            self.refill()?;
        }
        Ok(&self.text[self.at..])
    }

    /// Takes this many bytes of the text.
    pub(crate) fn advance(&mut self, bytes: usize) {
        let to = self.text.ceil_char_boundary(self.at + bytes);
        self.line += memchr::memchr_iter(b'\n', &self.text.as_bytes()[self.at..to]).count() as u64;
        self.since_mark += to - self.at;
        self.at = to;
    }

    fn refill(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; CHUNK_BYTES];
        let mut read = 0;
        while read < CHUNK_BYTES {
            match self.input.read(&mut bytes[read..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stopped(Stop::Unread(error.to_string()))),
            }
        }
        self.came += read as u64;
        if self.came > REPORT_MAX_BYTES {
            return Err(self.stopped(Stop::ReportTooLarge));
        }
        self.decode(&bytes[..read]);
        Ok(())
    }

    fn decode(&mut self, bytes: &[u8]) {
        self.text.drain(..self.at);
        self.at = 0;
        let decoding = self.decoding.get_or_insert_with(|| Decoding::of(bytes));
        match decoding.decoder(bytes) {
            // All of it is ASCII.
            None => self.text.push_str(&String::from_utf8_lossy(bytes)),
            Some(decoder) => {
                let most = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 4);
                self.text.reserve(most);
                let (_result, _read, _replaced) = decoder.decode_to_string(bytes, &mut self.text, self.ended);
            }
        }
    }

    fn stopped(&mut self, stop: Stop) -> io::Error {
        self.ended = true;
        self.stop = Some(stop);
        io::Error::other("stopped")
    }
}

/// `BufRead` requires this. quick-xml uses `fill_buf`.
impl<R: Read> Read for Source<R> {
    fn read(&mut self, _to: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.since_mark > TAG_MAX_BYTES {
            return Err(self.stopped(Stop::TagTooLarge));
        }
        self.rest(1).map(str::as_bytes)
    }

    fn consume(&mut self, bytes: usize) {
        self.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(to.len()).min(1);
            to[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn text(input: impl Read) -> String {
        let mut source = Source::new(input);
        let mut text = String::new();
        loop {
            let rest = source.rest(1).expect("text");
            if rest.is_empty() {
                return text;
            }
            text.push_str(rest);
            let bytes = rest.len();
            source.advance(bytes);
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        assert_eq!(text(bytes), expect);
        assert_eq!(text(Dripping(bytes)), expect);
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
        check(b"<?xml encoding = 'Shift_JIS'?>\x93\xfa\x96{", "<?xml encoding = 'Shift_JIS'?>日本");
        check(b"<?xml encoding='windows-1251'?>\xc4\xe0", "<?xml encoding='windows-1251'?>Да");
        // A wrong declaration does no harm.
        check("<?xml encoding='ISO-8859-1'?>ü".as_bytes(), "<?xml encoding='ISO-8859-1'?>ü");
        check("<?xml encoding='utf-16'?>ü".as_bytes(), "<?xml encoding='utf-16'?>ü");
        check(b"<?xml encoding='iso-8859-1x'?>\xfc", "<?xml encoding='iso-8859-1x'?>\u{fffd}");
        check(b"\xfc", "\u{fffd}");
        check(b"", "");
    }

    #[test]
    fn a_character_that_two_pieces_share_is_whole() {
        for shift in 0..4 {
            let plain = format!("{}{}", "x".repeat(CHUNK_BYTES - shift), "ä€😀".repeat(20_000));
            assert!(text(plain.as_bytes()) == plain, "UTF-8, shifted by {shift}");
            let wide: Vec<u8> = format!("\u{feff}{plain}").encode_utf16().flat_map(u16::to_be_bytes).collect();
            assert!(text(&wide[..]) == plain, "UTF-16, shifted by {shift}");
        }
        let latin = [b"<?xml encoding='latin1'?>".to_vec(), vec![b' '; 3 * CHUNK_BYTES], vec![0xe9; 9]].concat();
        assert!(text(&latin[..]).ends_with(&format!(" {}", "é".repeat(9))));
    }

    #[test]
    fn lines_are_counted() {
        let mut source = Source::new(&b"a\nb\r\n\nc"[..]);
        for (taken, line) in [(1, 1), (1, 2), (3, 3), (1, 4), (1, 4)] {
            source.rest(taken).expect("text");
            source.advance(taken);
            assert_eq!(source.line(), line);
        }
    }

    #[test]
    fn a_report_that_is_too_large_is_not_read_to_its_end() {
        let stop = |mut source: Source<io::Repeat>, mark: bool| loop {
            if mark {
                source.mark();
            }
            match source.fill_buf().map(<[u8]>::len) {
                Ok(bytes) => source.consume(bytes),
                Err(_) => return source.stop().cloned(),
            }
        };
        assert_eq!(stop(Source::new(io::repeat(b' ')), true), Some(Stop::ReportTooLarge));
        assert_eq!(stop(Source::new(io::repeat(b'<')), false), Some(Stop::TagTooLarge));
    }
}
