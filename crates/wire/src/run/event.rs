//! The events of a run, in the order in which they happen.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cases::TestCase;
use super::report::{RunReport, StageReport, StepReport};
use crate::millis;
use crate::reach::Reach;

/// Longest piece of a line, in bytes. A longer line is told in pieces, which are marked.
pub const LINE_MAX_BYTES: usize = 16 << 10;

/// Something that happened in a run. `stage` and `step` are the ids that reports carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The pipeline's name.
        name: String,
        /// This run's id.
        run_id: String,
    },
    /// A stage's turn came, and it asks for an instance.
    StageStarted {
        /// The stage's id.
        stage: String,
        /// Its name, for people.
        name: String,
    },
    /// A stage has waited for some time, or goes on waiting for something else.
    Waiting {
        /// The stage's id.
        stage: String,
        /// The step's id, where it is a step that waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// What is waited for, in words that follow "waiting for".
        what: String,
        /// How long the wait has lasted so far, in milliseconds.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
    },
    /// A stage has an instance that is ready for its steps.
    InstanceReady {
        /// The stage's id.
        stage: String,
        /// The instance's id.
        instance: String,
        /// The phases of the wait, in their order.
        #[serde(default)]
        phases: Vec<Phase>,
    },
    /// A step began.
    StepStarted {
        /// The stage's id.
        stage: String,
        /// The step's id.
        step: String,
        /// Its name, for people.
        name: String,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// A step printed something. Secrets are masked already.
    Output {
        /// The stage's id.
        stage: String,
        /// The step's id.
        step: String,
        /// The text, which ends anywhere in a line but never within a character. What is not UTF-8 is U+FFFD.
        text: String,
        /// Whether the text goes on with a line that was cut for its length.
        #[serde(default, skip_serializing_if = "is_false")]
        continues: bool,
        /// Whether a line is cut at the end of the text, because it is longer than [`LINE_MAX_BYTES`].
        #[serde(default, skip_serializing_if = "is_false")]
        goes_on: bool,
    },
    /// Test cases of a step's reports, in their order: some of them, and the others in further events before the step's end.
    TestCases {
        /// The stage's id.
        stage: String,
        /// The step's id.
        step: String,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The cases.
        cases: Vec<TestCase>,
    },
    /// A step failed and will run again, or a step group with all that is in it.
    StepRetry {
        /// The stage's id.
        stage: String,
        /// The step's id, or the group's.
        step: String,
        /// Why it failed.
        message: String,
        /// The pause before it runs again, in milliseconds.
        #[serde(rename = "after_ms", with = "millis")]
        after: Duration,
        /// The same as the file has it, `10s`; empty where there is no pause.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        wait: String,
    },
    /// A step ended, or was skipped.
    StepFinished {
        /// The stage's id.
        stage: String,
        /// How it ended.
        #[serde(flatten)]
        report: StepReport,
    },
    /// A stage's steps failed, and its instance is kept for a look.
    InstanceKept {
        /// The stage's id.
        stage: String,
        /// The instance's id.
        instance: String,
        /// Where its agent listens.
        agent: Reach,
        /// The directory of the sources in it.
        workspace_dir: String,
        /// The time for which it is kept at most, in milliseconds.
        #[serde(rename = "for_ms", with = "millis")]
        duration: Duration,
    },
    /// Something worth knowing that is no failure.
    Note {
        /// The stage's id.
        stage: String,
        /// What it is, in one line.
        message: String,
    },
    /// A stage ended and its instance is gone.
    StageFinished {
        /// How it ended, with its steps, each of which has had its own event before.
        #[serde(flatten)]
        report: StageReport,
    },
    /// The run ended.
    RunFinished {
        /// How it ended, with its stages, each of which has had its own event before.
        #[serde(flatten)]
        report: RunReport,
    },
    /// An event of a newer Kiln. It is read, and never told.
    #[serde(other)]
    Unknown,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A named span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What was waited for.
    pub name: String,
    /// Its length, in milliseconds.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
}
