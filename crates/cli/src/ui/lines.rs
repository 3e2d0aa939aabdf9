//! Cutting output into lines, a step at a time.

use std::collections::HashMap;

/// A line is shown in pieces of at most this many bytes, so that output without line ends needs no memory.
const LINE_MAX_BYTES: usize = 16 << 10;

/// The unfinished last line of each step.
#[derive(Default)]
pub struct Lines {
    rest: HashMap<String, String>,
}

impl Lines {
    /// Adds a step's output and gives the lines it completes, without their ends.
    pub fn push(&mut self, key: &str, text: &str) -> Vec<String> {
        let rest = self.rest.entry(key.to_owned()).or_default();
        let mut lines = Vec::new();
        for piece in text.split_inclusive('\n') {
            rest.push_str(piece);
            if rest.ends_with('\n') || rest.len() >= LINE_MAX_BYTES {
                lines.push(without_end(rest));
                rest.clear();
            }
        }
        lines
    }

    /// Gives what is left of a step's last line and forgets the step.
    pub fn finish(&mut self, key: &str) -> Option<String> {
        self.rest.remove(key).filter(|rest| !rest.is_empty()).map(|rest| without_end(&rest))
    }
}

fn without_end(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_chunks_fall() {
        let text = "one\ntwo\r\nthree";
        for at in 0..text.len() {
            let mut lines = Lines::default();
            let mut got = lines.push("s", &text[..at]);
            got.extend(lines.push("s", &text[at..]));
            assert_eq!(got, ["one", "two"], "cut at {at}");
            assert_eq!(lines.finish("s").as_deref(), Some("three"));
            assert_eq!(lines.finish("s"), None);
        }
    }

    #[test]
    fn a_line_without_end_needs_no_memory() {
        let (mut lines, piece) = (Lines::default(), "x".repeat(4096));
        let shown: usize = (0..100).map(|_| lines.push("s", &piece).iter().map(String::len).sum::<usize>()).sum();
        let rest = lines.finish("s").map_or(0, |l| l.len());
        assert_eq!(shown + rest, 409_600);
        assert!(rest < LINE_MAX_BYTES);
    }
}
