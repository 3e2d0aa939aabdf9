//! The words for how things ended.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_executor::tally;
use kiln_wire::run::{RunReport, StageReport, Status, StepReport, TestCase, Tests};

/// Failed tests shown in the summary; the rest is counted.
const FAILURES_SHOWN: usize = 20;

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// `0.4 s`, `12.3 s`, `3 min 05 s`.
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

/// A coloured sign and word for a status.
#[must_use]
pub fn mark(status: Status) -> String {
    let (colour, sign, word) = match status {
        Status::Passed => (GREEN, "✓", "passed"),
        Status::Failed => (RED, "✗", "failed"),
        Status::Ignored => (YELLOW, "!", "failed, ignored"),
        Status::Skipped => (DIM, "-", "skipped"),
        Status::Cancelled => (YELLOW, "■", "cancelled"),
    };
    format!("{colour}{sign} {word}{RESET}")
}

/// One line on a step's end.
#[must_use]
pub fn ended(step: &StepReport) -> String {
    let mut line = mark(step.status);
    if step.status != Status::Skipped {
        let _infallible = write!(line, " in {}", seconds(step.duration));
    }
    if step.attempts > 1 {
        let _infallible = write!(line, ", {} attempts", step.attempts);
    }
    if let Some(message) = &step.message {
        let _infallible = write!(line, ": {message}");
    }
    if let Some(tests) = &step.tests {
        let _infallible = write!(line, " ({})", counts(tests));
    }
    line
}

/// One line on a stage's end.
#[must_use]
pub fn stage_ended(stage: &StageReport) -> String {
    let mut line = mark(stage.status);
    if stage.status != Status::Skipped {
        let _infallible = write!(line, " in {}", seconds(stage.duration));
    }
    if let Some(message) = &stage.message {
        let _infallible = write!(line, ": {message}");
    }
    line
}

/// Returns a name with a colon, where it says more than the id does: an iteration's values, or other words.
#[must_use]
pub fn called(id: &str, name: &str) -> String {
    let own = id.rsplit('.').next().unwrap_or(id);
    let as_id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if as_id.eq_ignore_ascii_case(own) || name == own { String::new() } else { format!("{}: ", shown(name)) }
}

/// How to look into an instance that is kept.
#[must_use]
pub fn kept(instance: &str, duration: Duration) -> String {
    format!("kept for {}; look into it with: kiln shell {instance} (Ctrl-C here ends it)", seconds(duration))
}

/// `12 tests: 10 passed, 1 failed, 1 skipped`.
#[must_use]
pub fn counts(tests: &Tests) -> String {
    let mut line = format!("{} tests: {} passed", tests.total, tests.passed);
    for (count, word) in [(tests.failed, "failed"), (tests.errors, "errors"), (tests.skipped, "skipped")] {
        if count > 0 {
            let _infallible = write!(line, ", {count} {word}");
        }
    }
    line
}

/// The last words on a run: every step with its time, the tests, the failures.
#[must_use]
pub fn summary(report: &RunReport) -> String {
    let mut out = format!("\n{BOLD}{}{RESET}\n", report.name);
    for stage in &report.stages {
        let _infallible = writeln!(out, "  {:<32} {}", stage.id, stage_ended(stage));
        for step in &stage.steps {
            let _infallible = writeln!(out, "    {:<30} {}", step.id, ended(step));
        }
    }
    if let Some(tests) = tally::of_run(report) {
        let _infallible = writeln!(out, "  {}", counts(&tests));
        let failures: Vec<&TestCase> = tests.cases.iter().filter(|case| tally::is_broken(case.result)).collect();
        for failure in failures.iter().take(FAILURES_SHOWN) {
            let class = if failure.class.is_empty() { String::new() } else { format!("{}: ", shown(&failure.class)) };
            let _infallible = writeln!(out, "    {RED}✗{RESET} {class}{}", shown(&failure.name));
            for line in failure.message.lines().take(5) {
                let _infallible = writeln!(out, "        {DIM}{}{RESET}", shown(line));
            }
        }
        let more = (tests.failed + tests.errors).saturating_sub(failures.len().min(FAILURES_SHOWN) as u64);
        if more > 0 {
            let _infallible = writeln!(out, "    and {more} more");
        }
    }
    let _infallible = writeln!(out, "{} in {}", mark(report.status), seconds(report.duration));
    out
}

/// Returns a text of a report as one line that does nothing to a terminal: without colours, and with spaces for control characters.
fn shown(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_where_it_says_more_than_the_id() {
        assert_eq!(called("say_hello", "say hello"), "");
        assert_eq!(called("group.say_hello", "Say hello"), "");
        assert_eq!(called("after-other", "after-other"), "");
        assert_eq!(called("test_0", "test (os=x)"), "test (os=x): ");
        assert_eq!(called("b", "build\non x"), "build on x: ");
    }

    #[test]
    fn names_in_reports_stay_on_their_line_and_colour_nothing() {
        assert_eq!(
            shown("evil \n[s/globs] \u{2717} failed\rx \u{1b}[31mred\u{1b}[0m\t."),
            "evil  [s/globs] \u{2717} failed x red ."
        );
        assert_eq!(shown("plain ü"), "plain ü");
    }
}
