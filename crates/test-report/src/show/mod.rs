//! Shows reports to people.
//!
//! Texts of a report are shown in one line, without anything that a terminal obeys: a name must not look like output of
//! Kiln.

mod markdown;
mod text;

use std::fmt::Write as _;
use std::time::Duration;

use kiln_wire::run::{ReportProblem, TestCase, TestResult, Tests};

pub use markdown::{escaped, markdown};
pub use text::text;

/// Duration from which on a case is shown as slow.
const SLOW: Duration = Duration::from_millis(100);
/// Number of slow cases that are shown.
const SLOW_SHOWN: usize = 5;
/// Number of problems that are shown.
const PROBLEMS_SHOWN: usize = 20;

/// Returns the counts: `12 tests: 10 passed, 1 failed, 1 skipped`.
#[must_use]
pub fn counts(tests: &Tests) -> String {
    let noun = if tests.total == 1 { "test" } else { "tests" };
    let mut line = format!("{} {noun}: {} passed", tests.total, tests.passed);
    let errors = if tests.errors == 1 { "error" } else { "errors" };
    for (count, word) in
        [(tests.failed, "failed"), (tests.errors, errors), (tests.skipped, "skipped"), (tests.flaky, "flaky")]
    {
        if count > 0 {
            let _infallible = write!(line, ", {count} {word}");
        }
    }
    line
}

/// Returns the counts and the number of problems of the reports.
#[must_use]
pub fn brief(tests: &Tests) -> String {
    match tests.problems.len() {
        0 => counts(tests),
        1 => format!("{}; 1 problem with the reports", counts(tests)),
        more => format!("{}; {more} problems with the reports", counts(tests)),
    }
}

/// Returns a duration: `0.4 s`, `12.3 s`, `3 min 05 s`.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    let all = duration.as_secs_f64();
    if all < 120.0 {
        return format!("{all:.1} s");
    }
    let whole = duration.as_secs();
    match whole / 3600 {
        0 => format!("{} min {:02} s", whole / 60, whole % 60),
        hours => format!("{hours} h {:02} min", whole % 3600 / 60),
    }
}

/// Returns a text as one line that a terminal shows as it is: without colours, and with spaces for line breaks, control
/// characters and characters that change the direction of writing.
#[must_use]
pub fn one_line(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.chars().map(|c| if c.is_control() || is_unseen(c) { ' ' } else { c }).collect()
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a case's class and name.
fn called(case: &TestCase) -> String {
    let name = if case.name.trim().is_empty() { "(no name)" } else { &case.name };
    one_line(&if case.class.is_empty() { name.to_owned() } else { format!("{}: {name}", case.class) })
}

/// Returns a problem as one line: `out/a.xml:3: what is wrong`.
#[must_use]
pub fn problem(problem: &ReportProblem) -> String {
    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    one_line(&format!("{}{line}: {}", problem.file, problem.message))
}

fn slow(tests: &Tests) -> impl Iterator<Item = (&TestCase, Duration)> {
    let timed = tests.slowest.iter().filter_map(|case| Some((case, case.duration?)));
    timed.filter(|(_, duration)| *duration >= SLOW).take(SLOW_SHOWN)
}

fn failures(tests: &Tests) -> impl Iterator<Item = &TestCase> {
    tests.cases.iter().filter(|case| matches!(case.result, TestResult::Failed | TestResult::Error))
}

fn flaky(tests: &Tests) -> impl Iterator<Item = &TestCase> {
    tests.cases.iter().filter(|case| case.flaky)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_report_stay_on_their_line_and_colour_nothing() {
        assert_eq!(
            one_line("evil \n[s/globs] \u{2717} failed\rx \u{1b}[31mred\u{1b}[0m\t.\u{2028}\u{202e}"),
            "evil  [s/globs] \u{2717} failed x red .  "
        );
        assert_eq!(one_line("plain ü"), "plain ü");
    }

    #[test]
    fn counts_are_words() {
        let check = |tests: Tests, expect: &str| assert_eq!(counts(&tests), expect);
        check(Tests { total: 1, passed: 1, ..Tests::default() }, "1 test: 1 passed");
        check(
            Tests { total: 8, passed: 3, failed: 2, errors: 1, skipped: 2, flaky: 1, ..Tests::default() },
            "8 tests: 3 passed, 2 failed, 1 error, 2 skipped, 1 flaky",
        );
        check(Tests::default(), "0 tests: 0 passed");
    }

    #[test]
    fn times_are_short() {
        for (ms, expect) in [(40, "0.0 s"), (12_340, "12.3 s"), (185_000, "3 min 05 s"), (7_500_000, "2 h 05 min")] {
            assert_eq!(seconds(Duration::from_millis(ms)), expect);
        }
    }
}
