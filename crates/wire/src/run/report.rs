//! How a run ended, item by item.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cases::Tests;
use crate::millis;

/// How a step, stage or run ended. There are no others, and an unknown word is refused, lest it be taken for a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A cause of a newer Kiln. It is read, and never told.
    #[serde(other)]
    Unknown,
}

/// One step's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Identifier, with its iteration where it has one.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// Why, when it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The program's exit code, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// One line for people: what failed, or why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many times it was started.
    pub attempts: u32,
    /// From its first start to its last end, in milliseconds.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
    /// What its JUnit reports add up to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
}

/// One stage's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Identifier, with its iteration where it has one.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// One line for people: what failed, or why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The instance it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// From asking for an instance to its end, in milliseconds.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
    /// The steps, in the order in which they ended.
    #[serde(default)]
    pub steps: Vec<StepReport>,
}

/// A whole run's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The pipeline's name.
    pub name: String,
    /// This run's id.
    pub run_id: String,
    /// How it ended.
    pub status: Status,
    /// From its start to its end, in milliseconds.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
    /// The stages, in the order in which they ended.
    #[serde(default)]
    pub stages: Vec<StageReport>,
}
