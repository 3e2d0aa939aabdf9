//! Tests in a terminal.

use std::fmt::Write as _;

use kiln_wire::run::{TestCase, Tests};

use super::{PROBLEMS_SHOWN, called, counts, failures, flaky, one_line, problem, seconds, slow};

/// Failed tests that are shown; the rest is counted.
const FAILURES_SHOWN: usize = 20;
/// Flaky tests that are shown; the rest is counted.
const FLAKY_SHOWN: usize = 10;
/// Lines of a message that are shown.
const LINES_SHOWN: usize = 5;

const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// Returns a summary as lines of an indented list: the counts, the failed tests and their messages, the flaky ones, the
/// slow ones, and the reports that could not be read.
#[must_use]
pub fn text(tests: &Tests) -> String {
    let mut out = String::new();
    if tests.total > 0 || tests.problems.is_empty() {
        let time = if tests.duration.is_zero() { String::new() } else { format!(" in {}", seconds(tests.duration)) };
        let _infallible = writeln!(out, "  {}{time}", counts(tests));
    }
    let broken: Vec<&TestCase> = failures(tests).collect();
    for case in broken.iter().take(FAILURES_SHOWN) {
        let _infallible = writeln!(out, "    {RED}✗{RESET} {}", called(case));
        message(&mut out, case);
    }
    more(&mut out, tests.failed + tests.errors, broken.len().min(FAILURES_SHOWN), "failed");
    let flaky: Vec<&TestCase> = flaky(tests).collect();
    for case in flaky.iter().take(FLAKY_SHOWN) {
        let _infallible = writeln!(out, "    {YELLOW}~{RESET} {} (flaky: it failed, then passed)", called(case));
        message(&mut out, case);
    }
    more(&mut out, tests.flaky, flaky.len().min(FLAKY_SHOWN), "flaky");
    let mut slow = slow(tests).peekable();
    if slow.peek().is_some() {
        out.push_str("    slowest:\n");
    }
    for (case, duration) in slow {
        let _infallible = writeln!(out, "      {:>12}  {}", seconds(duration), called(case));
    }
    for found in tests.problems.iter().take(PROBLEMS_SHOWN) {
        let _infallible = writeln!(out, "    {YELLOW}!{RESET} {}", problem(found));
    }
    more(&mut out, tests.problems.len() as u64, tests.problems.len().min(PROBLEMS_SHOWN), "with problems");
    out
}

fn message(out: &mut String, case: &TestCase) {
    for line in case.message.lines().map(one_line).filter(|line| !line.trim().is_empty()).take(LINES_SHOWN) {
        let _infallible = writeln!(out, "        {DIM}{line}{RESET}");
    }
}

fn more(out: &mut String, all: u64, shown: usize, what: &str) {
    let more = all.saturating_sub(shown as u64);
    if more > 0 {
        let _infallible = writeln!(out, "    and {more} more {what}");
    }
}
