//! Cuts very long lines of output, at places that depend on the output alone.

use kiln_wire::run::LINE_MAX_BYTES;

/// Some output of a step, which ends with a line that was cut, or anywhere else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Whether it goes on with a line that was cut.
    pub(crate) continues: bool,
    /// Whether a line is cut at its end.
    pub(crate) goes_on: bool,
}

/// Cuts the lines of one stream, wherever the borders of its texts fall. A carriage return ends a line too: what a progress bar
/// paints over takes no room.
#[derive(Default)]
pub(crate) struct Pieces {
    /// Bytes since the line began, or since it was cut.
    len: usize,
    /// Whether the line was cut before.
    continues: bool,
    /// The last character of a piece that has hardly any room left: only the next one tells whether the line is cut behind it.
    held: Option<char>,
}

impl Pieces {
    /// Adds some text, and gives `tell` the pieces that it makes, of which none is empty.
    pub(crate) fn push(&mut self, text: &str, mut tell: impl FnMut(Piece)) {
        let mut piece = String::with_capacity(text.len() + char::MAX.len_utf8());
        piece.extend(self.held.take());
        for char in text.chars() {
            let ends = matches!(char, '\n' | '\r');
            if !ends && self.len + char.len_utf8() > LINE_MAX_BYTES {
                tell(Piece { text: std::mem::take(&mut piece), continues: self.continues, goes_on: true });
                (self.len, self.continues) = (0, true);
            }
            piece.push(char);
            self.len += char.len_utf8();
            if ends {
                if self.continues {
                    tell(Piece { text: std::mem::take(&mut piece), continues: true, goes_on: false });
                }
                (self.len, self.continues) = (0, false);
            }
        }
        if self.len + char::MAX.len_utf8() > LINE_MAX_BYTES {
            self.held = piece.pop();
        }
        self.rest(piece, tell);
    }

    /// Gives `tell` what was held back: there is no more text.
    pub(crate) fn finish(&mut self, tell: impl FnMut(Piece)) {
        let rest = self.held.take().map(String::from).unwrap_or_default();
        self.rest(rest, tell);
    }

    fn rest(&self, text: String, mut tell: impl FnMut(Piece)) {
        if !text.is_empty() {
            tell(Piece { text, continues: self.continues, goes_on: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes texts, and returns the pieces, those of one line put together: where a text ends is no place of a cut.
    fn cut(texts: &[&str]) -> Vec<Piece> {
        let (mut pieces, mut told) = (Pieces::default(), Vec::<Piece>::new());
        let mut tell = |piece: Piece| match told.last_mut() {
            Some(last) if !last.goes_on && last.continues == piece.continues => {
                last.text.push_str(&piece.text);
                last.goes_on = piece.goes_on;
            }
            _ => told.push(piece),
        };
        texts.iter().for_each(|text| pieces.push(text, &mut tell));
        pieces.finish(&mut tell);
        told
    }

    /// Checks the lengths of the pieces of a text, with a `<` before those that continue and a `>` behind those that go on.
    #[track_caller]
    fn check(text: &str, expect: &str) {
        let whole = cut(&[text]);
        let shown = |piece: &Piece| {
            let (before, after) = (if piece.continues { "<" } else { "" }, if piece.goes_on { ">" } else { "" });
            format!("{before}{}{after}", piece.text.len())
        };
        assert_eq!(whole.iter().map(shown).collect::<Vec<_>>().join(" "), expect);
        assert_eq!(whole.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
        // Wherever the text comes in pieces.
        let near = |at: &usize| text.is_char_boundary(*at);
        for at in
            (0..text.len()).step_by(97).chain(LINE_MAX_BYTES - 9..LINE_MAX_BYTES + 9).filter(|at| *at < text.len())
        {
            let Some(at) = (at..text.len()).find(near) else { continue };
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole, "at {at}");
        }
    }

    #[test]
    fn a_line_is_cut_at_the_same_places_however_it_comes() {
        let x = |count| "x".repeat(count);
        check("one\ntwo", "7");
        check(&format!("{}\nx\n", x(16384)), "16387");
        check(&format!("{}\nx\n", x(16385)), "16384> <2 2");
        check(&format!("one\n{}\ntwo\n", x(40_000)), "16388> <16384> <7233 4");
        check(&x(32_768), "16384> <16384");
        check("", "");
    }

    #[test]
    fn no_character_is_cut() {
        check(&"é".repeat(8193), "16384> <2");
        check(&"日".repeat(5462), "16383> <3");
        check(&format!("a{}", "😀".repeat(4097)), "16381> <8");
    }

    #[test]
    fn what_a_carriage_return_paints_over_takes_no_room() {
        check(&"50%\r".repeat(10_000), "40000");
        check(&format!("{}\rx", "x".repeat(16385)), "16384> <2 1");
    }
}
