//! Words for results.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_document::count::counted;
pub use kiln_test_report::show::seconds;
use kiln_test_report::show::{self, one_line};
use kiln_test_report::tally;
use kiln_wire::run::{RunReport, StageReport, Status, StepReport};

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// Returns when something is repeated, with the wait as in the file.
#[must_use]
pub fn again(wait: &str) -> String {
    match wait {
        "" => "runs again".to_owned(),
        wait => format!("runs again in {wait}"),
    }
}

/// Returns a coloured sign and word for a status.
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

/// Returns one line on a step's end.
#[must_use]
pub fn ended(step: &StepReport) -> String {
    let mut line = mark(step.status);
    if step.status != Status::Skipped {
        let _infallible = write!(line, " in {}", seconds(step.duration));
    }
    if step.attempts > 1 {
        let _infallible = write!(line, ", {}", counted(step.attempts, "attempt"));
    }
    if let Some(message) = &step.message {
        let _infallible = write!(line, ": {}", one_line(message));
    }
    if let Some(tests) = &step.tests {
        let _infallible = write!(line, " ({})", show::brief(tests));
    }
    line
}

/// Returns one line on a stage's end.
#[must_use]
pub fn stage_ended(stage: &StageReport) -> String {
    let mut line = mark(stage.status);
    if stage.status != Status::Skipped {
        let _infallible = write!(line, " in {}", seconds(stage.duration));
    }
    if let Some(message) = &stage.message {
        let _infallible = write!(line, ": {}", one_line(message));
    }
    line
}

/// Returns a name with a colon if it says more than the id: an iteration's values, or other words.
#[must_use]
pub fn called(id: &str, name: &str) -> String {
    let own = id.rsplit('.').next().unwrap_or(id);
    let as_id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if as_id.eq_ignore_ascii_case(own) || name == own { String::new() } else { format!("{}: ", one_line(name)) }
}

/// Returns one line on a long wait.
#[must_use]
pub fn waiting(what: &str, waited: Duration) -> String {
    format!("waiting for {what}, {} so far", seconds(waited))
}

/// Returns the way to inspect a kept instance.
#[must_use]
pub fn kept(instance: &str, duration: Duration) -> String {
    format!("kept for {}; inspect it with: kiln shell {instance} (Ctrl-C here ends it)", seconds(duration))
}

/// Returns the summary of a run: every step with its time, the tests, the failures.
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
        out.push_str(&show::text(&tests));
    }
    let _infallible = writeln!(out, "{} in {}", mark(report.status), seconds(report.duration));
    out
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
}
