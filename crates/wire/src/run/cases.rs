//! What the test reports of a step say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis;

/// What test reports add up to. The counts are of all cases; the cases themselves are bounded in number and size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tests {
    /// Test cases.
    pub total: u64,
    /// Those that passed.
    pub passed: u64,
    /// Those that failed an assertion.
    pub failed: u64,
    /// Those that broke in another way.
    pub errors: u64,
    /// Those that did not run.
    pub skipped: u64,
    /// Those of the passed that had failed in an earlier attempt.
    pub flaky: u64,
    /// How long all cases took together, in milliseconds, as far as the reports say so.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
    /// The cases, in the order of the reports. Those that failed, broke or are flaky have room of their own.
    pub cases: Vec<TestCase>,
    /// How many cases are counted and not in `cases`, because there was no room.
    pub cases_left_out: u64,
    /// The cases that took longest, the longest first, without their messages.
    pub slowest: Vec<TestCase>,
    /// What is wrong with the reports themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ReportProblem>,
}

/// One test case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestCase {
    /// Class or file that the case belongs to; may be empty.
    #[serde(default)]
    pub class: String,
    /// The case's name.
    pub name: String,
    /// The file of its source, where the report names one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// How it ended.
    pub result: TestResult,
    /// Whether it passed after it had failed in an earlier attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// How long it took, in milliseconds, where the report says so.
    #[serde(default, rename = "duration_ms", with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// What it said when it failed or was skipped; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How a test case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestResult {
    /// It did what it was to do.
    Passed,
    /// It failed an assertion.
    Failed,
    /// It broke in another way.
    Error,
    /// It did not run.
    Skipped,
}

/// Something that is wrong with a report itself, so that cases may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportProblem {
    /// The report's path, as the step sees it.
    pub file: String,
    /// The line of the file, from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong, in one line, and what became of the cases.
    pub message: String,
}
