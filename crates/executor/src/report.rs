//! How a run ended, item by item.

use std::time::Duration;

use serde::Serialize;

use crate::junit::Tests;

/// How a step, stage or run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It did what it was asked.
    Passed,
    /// It failed, and what stands around it counts that.
    Failed,
    /// It failed, and its failure strategy said to go on.
    Ignored,
    /// Its conditions were not met.
    Skipped,
    /// It was ended before its own end.
    Cancelled,
}

/// Why something failed, apart from its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The program ended with a code other than 0.
    ExitCode,
    /// A signal ended it.
    Signal,
    /// It ran out of memory.
    OutOfMemory,
    /// Its time was up.
    Timeout,
    /// The instance or the way to it failed, not the program.
    Infrastructure,
    /// The file asked for something that could not be worked out when its turn came.
    Plan,
    /// Somebody ended it.
    Cancelled,
}

/// One step's end.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Identifier, with its iteration where it has one.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// Why, when it failed or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The program's exit code, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// One line for people: what failed, or why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many times it was started.
    pub attempts: u32,
    /// From its first start to its last end, in milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// What its JUnit reports add up to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
}

/// One stage's end.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Identifier, with its iteration where it has one.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// One line for people: what failed, or why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The instance it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// From asking for an instance to its end, in milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// The steps in the order they were begun.
    pub steps: Vec<StepReport>,
}

/// A whole run's end.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The pipeline's name.
    pub name: String,
    /// This run's id.
    pub run_id: String,
    /// How it ended.
    pub status: Status,
    /// In milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// The stages in the order they were begun.
    pub stages: Vec<StageReport>,
}

impl RunReport {
    /// The sum of all steps' tests, where any step had reports.
    #[must_use]
    pub fn tests(&self) -> Option<Tests> {
        let mut found = self.stages.iter().flat_map(|s| &s.steps).filter_map(|s| s.tests.as_ref());
        let mut sum = found.next()?.clone();
        found.for_each(|t| sum.add(t));
        Some(sum)
    }
}

pub(crate) fn millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
