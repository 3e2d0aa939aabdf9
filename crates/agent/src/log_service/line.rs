//! Splits output into lines, and writes them in the form of the service or of files.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::patterns::Patterns;
use crate::moment;

/// Largest size of a line that the service takes.
pub(super) const LINE_BYTES: usize = 70 << 10;
/// Text at the end of a line that was cut, as the protocol has it.
const CUT: &str = "... (log line truncated)";

/// Least size in JSON of a line without text.
const LEAST_BYTES: usize =
    r#"{"level":"info","pos":0,"out":"","time":"2000-02-28T23:59:59.000000000Z","args":null}"#.len() + 1;

/// Splits output into lines, wherever the borders of its parts fall. It keeps the beginning of a line that is too long.
#[derive(Debug, Clone, Default)]
pub(super) struct Splitter {
    /// Offset of the next byte.
    at: u64,
    /// Number of the next line, from 0.
    number: u64,
    /// Beginning of a line that is not complete yet.
    begun: Vec<u8>,
    /// Whether the end of the line was left out.
    cut: bool,
    /// Whether that line was given out.
    given: bool,
}

/// A line of output, or a piece of one that is longer than a message may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Number of the line, from 0.
    pub(super) number: u64,
    /// Offset of the byte after it.
    pub(super) end: u64,
    /// Text without the line break.
    pub(super) text: &'a [u8],
    /// Whether the end of the line was left out.
    pub(super) cut: bool,
    /// Whether it has a line break; the last line may have none.
    pub(super) whole: bool,
}

impl Splitter {
    /// Makes a splitter that begins after this many bytes and lines.
    pub(super) fn between(at: u64, number: u64) -> Self {
        Self { at, number, ..Self::default() }
    }

    /// Returns the offset of the next byte that it needs.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Returns how many lines there were.
    pub(super) fn lines(&self) -> u64 {
        self.number
    }

    /// Returns whether it stands between two lines.
    pub(super) fn is_between_lines(&self) -> bool {
        self.given || (self.begun.is_empty() && !self.cut)
    }

    /// Takes bytes up to the next line break, and returns how many, and the line. It takes all of them if there is
    /// none.
    pub(super) fn next<'a>(&'a mut self, bytes: &'a [u8]) -> (usize, Option<Piece<'a>>) {
        self.begin();
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.keep(bytes);
            self.at += bytes.len() as u64;
            return (bytes.len(), None);
        };
        let line = &bytes[..end];
        self.at += end as u64 + 1;
        let number = self.number;
        self.number += 1;
        let (text, cut) = if self.begun.is_empty() && !self.cut && line.len() <= LINE_BYTES {
            (line, false)
        } else {
            self.keep(line);
            self.given = true;
            (self.begun.as_slice(), self.cut)
        };
        (end + 1, Some(Piece { number, end: self.at, text, cut, whole: true }))
    }

    /// Returns a last line without a line break, if there is one.
    pub(super) fn finish(&mut self) -> Option<Piece<'_>> {
        self.begin();
        if self.is_between_lines() {
            return None;
        }
        let number = self.number;
        self.number += 1;
        self.given = true;
        Some(Piece { number, end: self.at, text: &self.begun, cut: self.cut, whole: false })
    }

    fn begin(&mut self) {
        if std::mem::take(&mut self.given) {
            self.begun.clear();
            self.begun.shrink_to(1024);
            self.cut = false;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room;
    }
}

/// How lines are written.
#[derive(Debug)]
pub(super) struct Lines {
    /// Whether line breaks are left out.
    pub(super) trim: bool,
    /// Patterns that are hidden in lines.
    pub(super) patterns: Patterns,
}

#[derive(Serialize)]
struct OfService<'a> {
    level: &'a str,
    pos: u64,
    out: &'a str,
    time: &'a str,
    args: Option<()>,
}

#[derive(Serialize)]
struct OfFile<'a> {
    pos: u64,
    out: &'a str,
    time: u64,
}

/// The form in which a line is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// The service's form, with the time since 1970.
    Service { at: Duration },
    /// The form of files, with the time since the step's start.
    File { after: Duration },
}

impl Lines {
    /// Writes a line as JSON.
    pub(super) fn write(&self, piece: &Piece<'_>, form: Form, to: &mut Vec<u8>) {
        let mut text = self.patterns.hide(String::from_utf8_lossy(whole_characters(piece)));
        if piece.cut {
            text.to_mut().push_str(CUT);
        }
        if piece.whole && !self.trim {
            text.to_mut().push('\n');
        }
        write(piece.number, &text, form, to);
    }

    /// Returns the least size of a line in the service's form, with the line break after it.
    pub(super) fn least_bytes(&self, piece: &Piece<'_>) -> u64 {
        // What a pattern hides may be longer than what stands in its place.
        let text = if self.patterns.is_empty() { whole_characters(piece).len() } else { 0 };
        (LEAST_BYTES + text) as u64
    }

    /// Writes a line that the agent adds itself.
    pub(super) fn note(&self, number: u64, text: &str, form: Form, to: &mut Vec<u8>) {
        let mut text = Cow::Borrowed(text);
        if !self.trim {
            text.to_mut().push('\n');
        }
        write(number, &text, form, to);
    }
}

fn write(pos: u64, out: &str, form: Form, to: &mut Vec<u8>) {
    let before = to.len();
    let written = match form {
        Form::Service { at } => {
            let line = OfService { level: "info", pos, out, time: &moment::with_nanoseconds(at), args: None };
            serde_json::to_writer(&mut *to, &line)
        }
        Form::File { after } => serde_json::to_writer(&mut *to, &OfFile { pos, out, time: after.as_secs() }),
    };
    // Texts and numbers always have a JSON form, and memory takes all of it.
    debug_assert!(written.is_ok());
    if written.is_err() {
        to.truncate(before);
    }
}

/// Returns the text of a line. A character that was cut in two is left out.
fn whole_characters<'a>(piece: &Piece<'a>) -> &'a [u8] {
    let text = piece.text;
    if !piece.cut {
        return text;
    }
    // A character has at most four bytes.
    let starts = (1..=text.len().min(4)).find(|back| text[text.len() - back] & 0xC0 != 0x80);
    match starts {
        Some(back) if std::str::from_utf8(&text[text.len() - back..]).is_err() => &text[..text.len() - back],
        Some(_) | None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn split(parts: &[&[u8]]) -> Vec<(u64, u64, Vec<u8>, bool, bool)> {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        let mut take = |p: Piece<'_>| out.push((p.number, p.end, p.text.to_vec(), p.cut, p.whole));
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let (used, piece) = splitter.next(rest);
                piece.into_iter().for_each(&mut take);
                rest = &rest[used..];
            }
        }
        splitter.finish().into_iter().for_each(&mut take);
        assert!(splitter.finish().is_none());
        out
    }

    #[test]
    fn lines_are_the_same_wherever_the_parts_are_cut() {
        let text = b"one\n\ntwo\r\nlast";
        let expect = vec![
            (0, 4, b"one".to_vec(), false, true),
            (1, 5, b"".to_vec(), false, true),
            (2, 10, b"two\r".to_vec(), false, true),
            (3, 14, b"last".to_vec(), false, false),
        ];
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(split(&[a, b]), expect, "cut at {cut}");
        }
        assert_eq!(split(&[b"a\n"]), [(0, 2, b"a".to_vec(), false, true)]);
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_is_kept_and_memory_is_bounded() {
        let long = vec![b'x'; LINE_BYTES];
        for over in [0, 1, 500_000] {
            let more = vec![b'y'; over];
            for parts in [vec![long.as_slice(), &more, b"\nnext"], vec![&[&long, more.as_slice(), b"\nnext"].concat()]]
            {
                let lines = split(&parts);
                assert_eq!((lines[0].2 == long, lines[0].3), (true, over > 0));
                assert_eq!(lines[1].2, b"next");
            }
        }
        let mut splitter = Splitter::default();
        for _ in 0..1000 {
            splitter.next(&long);
        }
        assert!(splitter.begun.capacity() <= 2 * LINE_BYTES);
    }

    #[track_caller]
    fn check(text: &[u8], cut: bool, whole: bool, trim: bool, expect: &str) {
        let lines = Lines { trim, patterns: Patterns::default() };
        let mut out = Vec::new();
        let piece = Piece { number: 7, end: 0, text, cut, whole };
        lines.write(&piece, Form::Service { at: Duration::new(951_782_399, 5) }, &mut out);
        let got: Value = serde_json::from_slice(&out).expect("JSON");
        let time = "2000-02-28T23:59:59.000000005Z";
        assert_eq!(got, json!({"level": "info", "pos": 7, "out": expect, "time": time, "args": null}));
        assert!(lines.least_bytes(&piece) <= out.len() as u64 + 1);
        out.clear();
        lines.write(&piece, Form::File { after: Duration::from_millis(2999) }, &mut out);
        let got: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(got, json!({"pos": 7, "out": expect, "time": 2}));
    }

    #[test]
    fn lines_are_written_with_all_their_fields() {
        check(b"text \"quoted\" \x1b[1m", false, true, false, "text \"quoted\" \u{1b}[1m\n");
        check(b"text\r", false, true, true, "text\r");
        check(b"no end", false, false, false, "no end");
        check(b"bad \xff byte", false, true, true, "bad \u{fffd} byte");
        check("halved \u{e9}".as_bytes(), true, true, true, "halved \u{e9}... (log line truncated)");
        check(b"halved \xc3", true, true, true, "halved ... (log line truncated)");
        check(b"halved \xf0\x9f\x98", true, true, false, "halved ... (log line truncated)\n");
        check(
            b"\x80\x80\x80\x80\x80",
            true,
            false,
            true,
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}... (log line truncated)",
        );
    }
}
