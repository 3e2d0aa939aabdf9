//! What a run tells while it goes on, in the order it happens.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::report::{RunReport, StageReport, StepReport, millis};

/// Something that happened. `stage` and `step` are the ids that reports carry.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The pipeline's name.
        name: String,
        /// This run's id.
        run_id: String,
    },
    /// A stage's turn came; it asks for an instance.
    StageStarted {
        /// The stage's id.
        stage: String,
        /// Its name, for people.
        name: String,
    },
    /// A stage has an instance that is ready for its steps.
    InstanceReady {
        /// The stage's id.
        stage: String,
        /// The instance's id.
        instance: String,
        /// The phases of the wait, in their order.
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
    /// A step printed something; secrets are masked already.
    Output {
        /// The stage's id.
        stage: String,
        /// The step's id.
        step: String,
        /// The bytes, as they came.
        #[serde(rename = "text", serialize_with = "text")]
        bytes: Bytes,
    },
    /// A step failed and will run again.
    StepRetry {
        /// The stage's id.
        stage: String,
        /// The step's id.
        step: String,
        /// Why.
        message: String,
        /// The pause before it runs again, in milliseconds.
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
    },
    /// A step ended, or was skipped.
    StepFinished {
        /// The stage's id.
        stage: String,
        /// How.
        #[serde(flatten)]
        report: StepReport,
    },
    /// A stage's steps failed and its instance is kept for a look.
    InstanceKept {
        /// The stage's id.
        stage: String,
        /// The instance's id.
        instance: String,
        /// Where its agent listens.
        agent: kiln_wire::reach::Reach,
        /// The directory of the sources in it.
        workspace_dir: String,
        /// The time for which it is kept at most, in milliseconds.
        #[serde(rename = "for_ms", serialize_with = "millis")]
        duration: Duration,
    },
    /// Something worth knowing that is no failure.
    Note {
        /// The stage's id.
        stage: String,
        /// What.
        message: String,
    },
    /// A stage ended and its instance is gone.
    StageFinished {
        /// How; the steps were told of before.
        #[serde(flatten)]
        report: StageReport,
    },
    /// The run ended.
    RunFinished {
        /// How.
        #[serde(flatten)]
        report: RunReport,
    },
}

/// A named span of time.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// What was waited for.
    pub name: String,
    /// Its length, in milliseconds.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub duration: Duration,
}

/// Receives the events of a run. It must not block, or the run waits for it.
pub type Sink<'a> = &'a (dyn Fn(Event) + Send + Sync);

fn text<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
