//! The events of a run, for people, and a digest of them, for comparison.

use std::collections::VecDeque;

/// Number of lines that are kept unless all are wanted.
const KEPT_LINES: usize = 60;

/// The lines of one run.
#[derive(Debug, Clone)]
pub struct Transcript {
    lines: VecDeque<String>,
    /// Whether all lines are kept.
    pub all: bool,
    digest: u64,
    start_ms: i64,
}

impl Transcript {
    /// Creates an empty transcript whose times count from `start_ms`.
    #[must_use]
    pub fn new(start_ms: i64, all: bool) -> Self {
        Self { lines: VecDeque::new(), all, digest: 0xcbf2_9ce4_8422_2325, start_ms }
    }

    /// Adds a line.
    pub fn say(&mut self, now_ms: i64, text: &str) {
        let at = now_ms - self.start_ms;
        let line = format!("{:>5}.{:03} {text}", at / 1000, at % 1000);
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines.push_back(line);
        if !self.all && self.lines.len() > KEPT_LINES {
            self.lines.pop_front();
        }
    }

    /// Returns a digest that changes with every byte of every line so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Returns the last lines, at most this many.
    #[must_use]
    pub fn tail(&self, lines: usize) -> Vec<String> {
        self.lines.iter().skip(self.lines.len().saturating_sub(lines)).cloned().collect()
    }
}
