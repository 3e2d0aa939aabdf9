//! Tests as Markdown, for the step summary of GitHub and similar systems.

use std::fmt::Write as _;

use kiln_wire::run::{TestCase, Tests};

use super::{PROBLEMS_SHOWN, called, failures, flaky, problem, seconds, slow};

/// Failed and flaky tests that are shown; the rest is counted. GitHub accepts at most 1 MiB in all.
const CASES_SHOWN: usize = 50;

/// Returns a summary: a table of the counts, the failed and flaky tests with their messages, the slow ones, and the
/// reports that could not be read.
#[must_use]
pub fn markdown(tests: &Tests) -> String {
    let mut out = String::new();
    let Tests { total, passed, failed, errors, skipped, .. } = tests;
    out.push_str(
        "| Tests | Passed | Failed | Errors | Skipped | Flaky | Time |\n|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let time = seconds(tests.duration);
    let _infallible =
        writeln!(out, "| {total} | {passed} | {failed} | {errors} | {skipped} | {} | {time} |", tests.flaky);
    cases(&mut out, "Failed", &failures(tests).collect::<Vec<_>>(), failed + errors);
    cases(&mut out, "Flaky: failed, then passed", &flaky(tests).collect::<Vec<_>>(), tests.flaky);
    let mut slow = slow(tests).peekable();
    if slow.peek().is_some() {
        out.push_str("\n#### Slowest\n\n| Time | Test |\n|---:|---|\n");
    }
    for (case, duration) in slow {
        let _infallible = writeln!(out, "| {} | {} |", seconds(duration), escaped(&called(case)));
    }
    if !tests.problems.is_empty() {
        out.push_str("\n#### Problems with the reports\n\n");
    }
    for found in tests.problems.iter().take(PROBLEMS_SHOWN) {
        let _infallible = writeln!(out, "- {}", escaped(&problem(found)));
    }
    more(&mut out, tests.problems.len() as u64, tests.problems.len().min(PROBLEMS_SHOWN));
    out
}

fn cases(out: &mut String, heading: &str, cases: &[&TestCase], all: u64) {
    if all == 0 {
        return;
    }
    let _infallible = writeln!(out, "\n#### {heading}\n");
    for case in cases.iter().take(CASES_SHOWN) {
        let name = escaped(&called(case));
        if case.message.trim().is_empty() {
            let _infallible = writeln!(out, "- {name}");
        } else {
            let _infallible = writeln!(out, "- <details><summary>{name}</summary>\n");
            fenced(out, &case.message);
            out.push_str("  </details>\n");
        }
    }
    more(out, all, cases.len().min(CASES_SHOWN));
}

fn more(out: &mut String, all: u64, shown: usize) {
    let more = all.saturating_sub(shown as u64);
    if more > 0 {
        let _infallible = writeln!(out, "- and {more} more");
    }
}

/// Adds a literal text. The fence is longer than any row of backticks in it.
fn fenced(out: &mut String, text: &str) {
    let plain = anstream::adapter::strip_str(text).to_string();
    let longest = plain.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let _infallible = writeln!(out, "  {fence}text");
    for line in plain.lines() {
        let _infallible = writeln!(out, "  {}", super::one_line(line));
    }
    let _infallible = writeln!(out, "  {fence}\n");
}

/// Returns a line without any meaning to Markdown or HTML.
#[must_use]
pub fn escaped(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Written as a reference, because a backslash has no meaning within HTML.
            '|' | '`' | '*' | '_' | '[' | ']' | '~' | '\\' | '#' | '@' | '!' => {
                let _infallible = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
