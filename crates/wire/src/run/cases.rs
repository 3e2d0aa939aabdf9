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
    /// The cases, in the order of the reports. Failures and errors have room of their own.
    pub cases: Vec<TestCase>,
    /// How many cases are counted and not in `cases`, because there was no room.
    pub cases_left_out: u64,
}

/// One test case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestCase {
    /// Class or file that the case belongs to; may be empty.
    #[serde(default)]
    pub class: String,
    /// The case's name.
    pub name: String,
    /// How it ended.
    pub result: TestResult,
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
