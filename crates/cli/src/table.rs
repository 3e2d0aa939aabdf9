//! Tables for people: aligned columns, one line each.

use std::io::IsTerminal as _;

/// Smallest width to which the last column is cut.
const LAST_COLUMN_MIN_CHARS: usize = 16;
/// The space between two columns.
const GAP: &str = "  ";

/// A column's heading and the alignment of its cells.
pub type Column = (&'static str, Side);

/// Alignment of a cell in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    ansi: &'static str,
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: clean(&text.to_string()), ansi: "" }
    }
}

impl Cell {
    /// Creates the cell of a state, in its colour.
    #[must_use]
    pub fn state(state: &str) -> Self {
        let ansi = match state {
            "ready" | "assigned" => "32",
            "claimed" => "36",
            "intended" | "launching" | "booting" | "resuming" | "waiting" => "33",
            _ => "2",
        };
        Self { text: clean(state), ansi }
    }

    /// Creates a highlighted cell.
    #[must_use]
    pub fn warning(text: impl ToString) -> Self {
        Self { text: clean(&text.to_string()), ansi: "33" }
    }
}

/// Rows under headings.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table without rows.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns the text, a line for each row, with colours. The last column is cut so that lines fit into `width`
    /// characters.
    #[must_use]
    pub fn text(&self, width: Option<usize>) -> String {
        let headings: Vec<Cell> =
            self.columns.iter().map(|(name, _)| Cell { text: (*name).to_owned(), ansi: "1" }).collect();
        let mut widths = vec![0; self.columns.len()];
        for row in std::iter::once(&headings).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        if let (Some(whole), Some((last, others))) = (width, widths.split_last_mut()) {
            let before: usize = others.iter().map(|width| width + GAP.len()).sum();
            *last = (*last).min(whole.saturating_sub(before).max(LAST_COLUMN_MIN_CHARS));
        }
        std::iter::once(&headings).chain(&self.rows).map(|row| self.line(row, &widths) + "\n").collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        // Blanks are written only before a cell with text, so that no line ends in them.
        let mut owed = 0;
        for (((_, side), cell), width) in self.columns.iter().zip(row).zip(widths) {
            let text = cut(&cell.text, *width);
            let missing = width - text.chars().count();
            let (before, after) = if *side == Side::Right { (missing, 0) } else { (0, missing) };
            owed += before;
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', owed));
                owed = 0;
                line.push_str(&painted(&text, cell.ansi));
            }
            owed += after + GAP.len();
        }
        line
    }
}

fn painted(text: &str, ansi: &str) -> String {
    if ansi.is_empty() { text.to_owned() } else { format!("\u{1b}[{ansi}m{text}\u{1b}[0m") }
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

/// Returns a text in one line, without characters that a terminal would obey. It may come from a VM.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim_end().to_owned()
}

/// Returns the line length of the terminal on standard output; none when it is no terminal.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(terminal_size::Width(columns), _)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("NAME", Side::Left), ("COUNT", Side::Right), ("NOTE", Side::Left)]);
        table.row(["a".into(), 12.into(), "the first one of a number of things".into()]);
        table.row(["a longer one".into(), 3.into(), "".into()]);
        table
    }

    #[track_caller]
    fn check(width: Option<usize>, expected: &str) {
        let plain = anstream::adapter::strip_str(&table().text(width)).to_string();
        assert_eq!(plain.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn columns_are_aligned() {
        check(
            None,
            "NAME          COUNT  NOTE\na                12  the first one of a number of things\na longer one      3",
        );
    }

    #[test]
    fn the_last_column_is_cut_for_a_terminal() {
        check(Some(40), "NAME          COUNT  NOTE\na                12  the first one of a…\na longer one      3");
        check(Some(5), "NAME          COUNT  NOTE\na                12  the first one o…\na longer one      3");
    }

    #[test]
    fn a_terminal_is_not_led_astray() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{9b}2J\n"), "a [31mb  c 2J");
    }
}
