//! The result of a test program, read from its output.

use std::collections::VecDeque;
use std::time::Duration;

/// Lines of output that are kept for a failure.
const LINES_MAX: usize = 4_000;
/// The beginning of the line in which a test says that it could not do its work.
const NOT_RUN: &str = "not run: ";

/// The result of a test program.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Crate and program.
    pub name: String,
    /// How long it ran.
    pub took: Duration,
    /// Tests that passed.
    pub passed: usize,
    /// Failures: tests by their names, and a program that did not come to its end.
    pub failures: Vec<String>,
    /// Tests that were not run, and the reasons.
    pub not_run: Vec<String>,
    /// Whether the program reported its end.
    pub ended: bool,
    /// The end of its output.
    lines: VecDeque<String>,
}

impl Outcome {
    pub fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Takes a line of the program's output. Returns whether it reports the end of a test.
    pub fn line(&mut self, line: String) -> bool {
        let mut test_ended = false;
        if let Some((test, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            test_ended = true;
            if result.starts_with("FAILED") {
                self.failures.push(format!("{}: {test}", self.name));
            } else if result.starts_with("ok") {
                self.passed += 1;
            }
        } else if let Some(what) = line.strip_prefix(NOT_RUN) {
            self.not_run.push(format!("{}: {what}", self.name));
        } else if line.starts_with("test result: ") {
            self.ended = true;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        test_ended
    }

    /// Records that the program itself failed.
    pub fn failed(&mut self, how: &str) {
        self.failures.push(format!("{}: {how}", self.name));
    }

    /// Prints a line, and after a failure the whole output of the program.
    pub fn tell(&self) {
        if !self.failures.is_empty() {
            println!("\n---- {} printed:", self.name);
            for line in &self.lines {
                println!("{line}");
            }
            println!("----");
        }
        let failed = if self.failures.is_empty() { String::new() } else { format!(", {} failed", self.failures.len()) };
        println!("{:>8.1} s  {}: {} passed{failed}", self.took.as_secs_f64(), self.name, self.passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &str, passed: usize, failures: &[&str], not_run: &[&str], ended: bool) {
        let mut outcome = Outcome::new("p".to_owned());
        for line in printed.lines() {
            outcome.line(line.to_owned());
        }
        assert_eq!((outcome.passed, outcome.ended), (passed, ended));
        assert_eq!((outcome.failures, outcome.not_run), (to_vec(failures), to_vec(not_run)));
    }

    fn to_vec(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn counts_tests() {
        let printed = "running 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c - should panic ... ok\n\n\
                       test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        check(printed, 2, &["p: b"], &[], true);
    }

    #[test]
    fn one_that_is_only_slow_has_not_ended() {
        let mut outcome = Outcome::new("p".to_owned());
        assert!(!outcome.line("test a has been running for over 60 seconds".to_owned()));
        assert!(outcome.line("test a ... ok".to_owned()));
    }

    #[test]
    fn an_end_that_never_came_is_seen() {
        check("running 2 tests\ntest a ... ok", 1, &[], &[], false);
    }

    #[test]
    fn what_was_not_run_is_kept() {
        check("not run: no corpus\ntest a ... ok\ntest result: ok.", 1, &[], &["p: no corpus"], true);
    }

    #[test]
    fn only_the_end_of_long_output_is_kept() {
        let mut outcome = Outcome::new("p".to_owned());
        for n in 0..=LINES_MAX {
            outcome.line(n.to_string());
        }
        assert_eq!((outcome.lines.len(), outcome.lines.front().map(String::as_str)), (LINES_MAX, Some("1")));
    }
}
