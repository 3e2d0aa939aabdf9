//! A line of output as a terminal would show it: text overwritten with a carriage return or a backspace is gone,
//! colours stay, and all other sequences that move the cursor are left out.

use std::fmt::Write as _;

use anstyle_parse::{Params, Parser, Perform};

const ESCAPE: &str = "\u{1b}";
/// Longest description of the look of characters. Programs that never reset a colour would make it longer and longer.
const PEN_MAX_BYTES: usize = 64;
/// Greatest distance of the cursor beyond a line's end.
const LEAP_MAX: usize = 256;
const TAB: u8 = b'\t';
const BACKSPACE: u8 = 0x08;

/// The unfinished line of a step.
#[derive(Default)]
pub struct Row {
    screen: Screen,
    parser: Parser,
    /// Whether this piece continues a cut line.
    continues: bool,
}

/// A line to show.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The text, with its colours, which end with it.
    pub text: String,
    /// Whether it continues a cut line.
    pub continues: bool,
    /// Whether it is cut at its end.
    pub goes_on: bool,
}

impl Row {
    /// Adds some text, and calls `tell` with the lines that it ends.
    pub fn push(&mut self, text: &str, mut tell: impl FnMut(Line)) {
        for byte in text.bytes() {
            match byte {
                b'\n' => tell(self.end(false)),
                b'\r' => {
                    self.parser = Parser::default();
                    self.screen.at = 0;
                }
                byte => self.parser.advance(&mut self.screen, byte),
            }
        }
    }

    /// Ends a line, and with it each sequence that the line leaves open. The sequences of a cut line continue.
    pub fn end(&mut self, is_cut: bool) -> Line {
        let line = Line { text: self.screen.text(), continues: self.continues, goes_on: is_cut };
        // A sequence does not fill a whole piece.
        if !is_cut || self.screen.cells.is_empty() {
            self.parser = Parser::default();
        }
        self.screen.clear();
        self.continues = is_cut;
        line
    }

    /// Returns whether the line is empty.
    pub fn is_empty(&self) -> bool {
        self.screen.cells.is_empty() && !self.continues
    }

    /// Returns the present text of the line, without colours.
    pub fn plain(&self) -> String {
        self.screen.cells.iter().map(|cell| cell.char).collect()
    }
}

#[derive(Clone, Copy)]
struct Cell {
    char: char,
    /// Its look: an index in [`Screen::pens`].
    pen: usize,
}

#[derive(Default)]
struct Screen {
    cells: Vec<Cell>,
    /// Position of the next character.
    at: usize,
    /// Looks of the characters of this line, in the order of their first use: parameters of sequences that end with
    /// `m`. The last one is that of the next character.
    pens: Vec<String>,
}

impl Screen {
    fn put(&mut self, char: char) {
        let cell = Cell { char, pen: self.pens.len() };
        while self.cells.len() < self.at {
            self.cells.push(Cell { char: ' ', pen: 0 });
        }
        match self.cells.get_mut(self.at) {
            Some(place) => *place = cell,
            None => self.cells.push(cell),
        }
        self.at += 1;
    }

    /// Forgets the line. The next one begins with the same colours.
    fn clear(&mut self) {
        self.cells.clear();
        self.at = 0;
        self.pens = self.pens.pop().filter(|pen| !pen.is_empty()).into_iter().collect();
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(self.cells.len());
        let mut pen = "";
        for cell in &self.cells {
            let wanted = self.pen(cell.pen);
            if wanted != pen {
                let reset = if pen.is_empty() { "" } else { "\u{1b}[0m" };
                let colour = if wanted.is_empty() { String::new() } else { format!("{ESCAPE}[{wanted}m") };
                text.push_str(reset);
                text.push_str(&colour);
                pen = wanted;
            }
            text.push(cell.char);
        }
        if !pen.is_empty() {
            text.push_str("\u{1b}[0m");
        }
        text
    }

    /// Returns the look of characters that were written when there were `count` pens.
    fn pen(&self, count: usize) -> &str {
        count.checked_sub(1).map_or("", |last| &self.pens[last])
    }

    /// Changes the look of the next characters.
    fn look(&mut self, params: &Params) {
        let mut written = String::new();
        for param in params.iter() {
            let joined = param.iter().map(u16::to_string).collect::<Vec<_>>().join(":");
            let _infallible = write!(written, "{}{joined}", if written.is_empty() { "" } else { ";" });
        }
        let before = self.pens.last().map_or("", String::as_str);
        let pen = match written.strip_prefix('0') {
            Some("") => String::new(),
            Some(rest) if rest.starts_with(';') => rest[1..].to_owned(),
            _ if before.is_empty() || before.len() + written.len() > PEN_MAX_BYTES => written,
            _ => format!("{before};{written}"),
        };
        if pen != before {
            self.pens.push(pen);
        }
    }

    fn erase(&mut self, what: u16) {
        match what {
            0 => self.cells.truncate(self.at),
            1 => {
                let to = (self.at + 1).min(self.cells.len());
                self.cells[..to].fill(Cell { char: ' ', pen: 0 });
            }
            2 => self.cells.clear(),
            _ => {}
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, char: char) {
        if !char.is_control() {
            self.put(char);
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            TAB => self.put('\t'),
            BACKSPACE => self.at = self.at.saturating_sub(1),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], is_ignored: bool, action: u8) {
        if is_ignored || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().and_then(|param| param.first()).copied().unwrap_or_default();
        let count = usize::from(first.max(1));
        match action {
            b'm' => self.look(params),
            b'K' => self.erase(first),
            b'C' => self.at = (self.at + count).min(self.cells.len() + LEAP_MAX).max(self.at),
            b'D' => self.at = self.at.saturating_sub(count),
            b'G' => self.at = (count - 1).min(self.cells.len() + LEAP_MAX),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines of a text and the rest, joined by `|`; `␛` stands for an escape.
    fn shown(texts: &[&str]) -> String {
        let (mut row, mut lines) = (Row::default(), Vec::new());
        texts.iter().for_each(|text| row.push(text, |line| lines.push(line.text)));
        if !row.is_empty() {
            lines.push(row.end(false).text);
        }
        lines.join("|").replace('\u{1b}', "␛")
    }

    /// Checks the lines of a text, and that they do not depend on where it is cut in two.
    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(shown(&[text]), expect);
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(shown(&[&text[..at], &text[at..]]), expect, "cut at {at}");
        }
    }

    #[test]
    fn lines_end_where_their_newlines_are() {
        check("one\ntwo\r\nthree", "one|two|three");
        check("\n\nx\n", "||x");
        check("a\0b\u{7}c\u{b}\u{9b}d\te", "abcd\te");
    }

    #[test]
    fn a_sequence_that_is_left_open_ends_with_its_line() {
        check("one \u{1b}]0;title\ntwo\n", "one |two");
        check("three \u{1b}[\nfour\n", "three |four");
        check("three \u{1b}[3\nmore\n", "three |more");
        check("five \u{1b}P stuff\nsix\n", "five |six");
        check("a \u{1b}\nb \u{1b}_x\nc \u{1b}^x\nd \u{1b}Xx\ne \u{1b}#\nf", "a |b |c |d |e |f");
        check("10%\u{1b}]0;t\r20%\u{1b}[\r30%\n", "30%");
    }

    #[test]
    fn what_would_do_something_to_the_terminal_is_left_out() {
        check("a\u{1b}]0;✓ done\u{7}b\u{1b}]8;;http://x\u{1b}\\text\u{1b}]8;;\u{1b}\\ end\n", "abtext end");
        check("a\u{1b}[2J\u{1b}[10A\u{1b}[5;5H\u{1b}[?25lb\u{1b}c\u{1b}(Bd\u{1b}P1q#0~\u{1b}\\e\n", "abde");
    }

    #[test]
    fn the_last_state_of_a_line_is_shown() {
        check("10%\r20%\r30%\n", "30%");
        check("\r10%\r20%\r", "20%");
        check("downloading\rdone\n", "doneloading");
        check("downloading\r\u{1b}[Kdone\n", "done");
        check("12345\u{8}\u{8}ab\n", "123ab");
        check("back\u{8}\u{8}\u{8}\u{8}over\n", "over");
        check("\u{8}\u{8}x\n", "x");
        check("abc\u{1b}[1Gx\u{1b}[2Cy\u{1b}[3D\u{1b}[Kz\n", "xz");
        check("abc\u{1b}[1Kd\u{1b}[2Ke\n", "    e");
        check("é日\r😀\n", "😀日");
    }

    #[test]
    fn colours_stay_and_end_with_their_line() {
        check("seven \u{1b}[31mred\u{1b}[0m eight\n", "seven ␛[31mred␛[0m eight");
        check("\u{1b}[1m\u{1b}[38;5;0mx\ny\u{1b}[mz\n", "␛[1;38;5;0mx␛[0m|␛[1;38;5;0my␛[0mz");
        check("\u{1b}[31mred\r\u{1b}[0;32mg\n", "␛[32mg␛[0m␛[31med␛[0m");
        let long = "\u{1b}[38;2;1;2;3mx".repeat(50);
        assert!(shown(&[&long]).len() < 50 * 80);
    }

    #[test]
    fn a_cursor_that_leaps_takes_little_memory() {
        let mut row = Row::default();
        row.push(&"\u{1b}[65535C".repeat(1000), |_| {});
        row.push("x\u{1b}[65535Gy", |_| {});
        assert!(row.screen.cells.len() < 4 * LEAP_MAX, "{}", row.screen.cells.len());
    }

    #[test]
    fn a_cut_keeps_an_open_sequence_open() {
        let mut row = Row::default();
        row.push("x\u{1b}[3", |_| {});
        assert_eq!(row.end(true), Line { text: "x".into(), continues: false, goes_on: true });
        let mut lines = Vec::new();
        row.push("1my\nz\n", |line| lines.push((line.text, line.continues)));
        assert_eq!(lines, [("\u{1b}[31my\u{1b}[0m".into(), true), ("\u{1b}[31mz\u{1b}[0m".into(), false)]);
    }

    #[test]
    fn a_sequence_that_fills_a_piece_ends_with_it() {
        let mut row = Row::default();
        row.push("\u{1b}]0;title", |_| {});
        row.end(true);
        row.push("text", |_| {});
        assert_eq!(row.plain(), "text");
    }
}
