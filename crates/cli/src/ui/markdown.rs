//! A run as Markdown, for the summaries of CI systems.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_test_report::show::{self, escaped, one_line};
use kiln_test_report::tally;
use kiln_wire::run::{RunReport, Status};

use super::summary::seconds;

/// Rows of the table; the rest is counted.
const ROWS_SHOWN: usize = 500;

/// Returns the summary: each stage and step with its time, and the test results.
#[must_use]
pub fn summary(report: &RunReport) -> String {
    let (sign, word) = sign(report.status);
    let mut out = format!("## {sign} {}: {word} in {}\n\n", text(&report.name), seconds(report.duration));
    out.push_str("| Stage | Step | Result | Time | |\n|---|---|---|---:|---|\n");
    let mut rows = Vec::new();
    for stage in &report.stages {
        rows.push(row(&stage.name, "", stage.status, stage.duration, stage.message.as_deref(), None));
        for step in &stage.steps {
            let tests = step.tests.as_ref().map(show::brief);
            rows.push(row("", &step.name, step.status, step.duration, step.message.as_deref(), tests));
        }
    }
    out.extend(rows.iter().take(ROWS_SHOWN).map(String::as_str));
    if rows.len() > ROWS_SHOWN {
        let _infallible = writeln!(out, "\nand {} more", rows.len() - ROWS_SHOWN);
    }
    if let Some(tests) = tally::of_run(report) {
        let _infallible = write!(out, "\n### Tests\n\n{}", show::markdown(&tests));
    }
    out.push('\n');
    out
}

fn row(
    stage: &str,
    step: &str,
    status: Status,
    duration: Duration,
    message: Option<&str>,
    tests: Option<String>,
) -> String {
    let (sign, word) = sign(status);
    let time = if status == Status::Skipped { String::new() } else { seconds(duration) };
    let more = message.map(str::to_owned).into_iter().chain(tests).collect::<Vec<_>>().join("; ");
    format!("| {} | {} | {sign} {word} | {time} | {} |\n", text(stage), text(step), text(&more))
}

fn text(text: &str) -> String {
    escaped(&one_line(text))
}

fn sign(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Passed => ("✅", "passed"),
        Status::Failed => ("❌", "failed"),
        Status::Ignored => ("⚠️", "failed, ignored"),
        Status::Skipped => ("⏭️", "skipped"),
        Status::Cancelled => ("⏹️", "cancelled"),
    }
}

#[cfg(test)]
mod tests {
    use kiln_wire::run::{ReportProblem, StageReport, StepReport, Tests};

    use super::*;

    fn step(name: &str, status: Status, message: Option<&str>, tests: Option<Tests>) -> StepReport {
        StepReport {
            id: "s".into(),
            name: name.into(),
            status,
            cause: None,
            exit_code: None,
            message: message.map(str::to_owned),
            attempts: 1,
            duration: Duration::from_millis(1500),
            tests,
        }
    }

    #[test]
    fn each_stage_and_step_is_a_row_whatever_its_name() {
        let problem = ReportProblem { file: "a.xml".into(), line: None, message: "the report is empty".into() };
        let tests = Tests { total: 2, passed: 2, problems: vec![problem], ..Tests::default() };
        let steps = vec![
            step("a | b\n# c", Status::Failed, Some("exit code 1"), Some(tests)),
            step("later", Status::Skipped, Some("the steps before it failed"), None),
        ];
        let stage = StageReport {
            id: "st".into(),
            name: "<St>".into(),
            status: Status::Failed,
            message: None,
            instance: None,
            duration: Duration::from_secs(200),
            steps,
        };
        let report = RunReport {
            name: "p".into(),
            run_id: "r".into(),
            status: Status::Failed,
            duration: Duration::from_secs(201),
            stages: vec![stage],
        };
        insta::assert_snapshot!(summary(&report), @r"
        ## ❌ p: failed in 3 min 21 s

        | Stage | Step | Result | Time | |
        |---|---|---|---:|---|
        | &lt;St&gt; |  | ❌ failed | 3 min 20 s |  |
        |  | a &#124; b &#35; c | ❌ failed | 1.5 s | exit code 1; 2 tests: 2 passed; 1 problem with the reports |
        |  | later | ⏭️ skipped |  | the steps before it failed |

        ### Tests

        | Tests | Passed | Failed | Errors | Skipped | Flaky | Time |
        |---:|---:|---:|---:|---:|---:|---:|
        | 2 | 2 | 0 | 0 | 0 | 0 | 0.0 s |

        #### Problems with the reports

        - a.xml: the report is empty
        ");
    }
}
