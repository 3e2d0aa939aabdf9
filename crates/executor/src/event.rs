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
        /// Which.
        stage: String,
        /// What people call it.
        name: String,
    },
    /// A stage has its instance.
    InstanceReady {
        /// Which stage.
        stage: String,
        /// The instance's id.
        instance: String,
        /// What was waited for, in order, in milliseconds.
        phases: Vec<Phase>,
    },
    /// A step began.
    StepStarted {
        /// Which stage.
        stage: String,
        /// Which step.
        step: String,
        /// What people call it.
        name: String,
        /// 1 for the first time.
        attempt: u32,
    },
    /// A step printed something; secrets are masked already.
    Output {
        /// Which stage.
        stage: String,
        /// Which step.
        step: String,
        /// What, as it came.
        #[serde(rename = "text", serialize_with = "text")]
        bytes: Bytes,
    },
    /// A step failed and will run again.
    StepRetry {
        /// Which stage.
        stage: String,
        /// Which step.
        step: String,
        /// Why.
        message: String,
        /// How long from now, in milliseconds.
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
    },
    /// A step ended, or was skipped.
    StepFinished {
        /// Which stage.
        stage: String,
        /// How.
        #[serde(flatten)]
        report: StepReport,
    },
    /// A stage's steps failed and its instance is kept for a look.
    InstanceKept {
        /// Which stage.
        stage: String,
        /// The instance's id.
        instance: String,
        /// Where its agent listens.
        agent: kiln_wire::reach::Reach,
        /// The directory of the sources in it.
        workspace_dir: String,
        /// For how long at most, in milliseconds.
        #[serde(rename = "for_ms", serialize_with = "millis")]
        duration: Duration,
    },
    /// Something worth knowing that is no failure.
    Note {
        /// Which stage.
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
    /// How long, in milliseconds.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub duration: Duration,
}

/// Where events go. It must not block: a slow one would slow the run.
pub type Sink<'a> = &'a (dyn Fn(Event) + Send + Sync);

fn text<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}
