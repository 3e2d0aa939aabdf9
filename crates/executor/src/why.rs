//! Why a run or a stage ends before its end.

use kiln_pipeline::plan::Limit;

/// The reason for an early end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The caller asked for it.
    Asked,
    /// A step failed, and its failure strategy ends the run.
    Aborted,
    /// The run's time was up.
    RunTimeout(Limit),
    /// The stage's time was up.
    StageTimeout(Limit),
    /// The step of this name failed, and its failure strategy ends the stage.
    StepFailed(String),
}

impl Why {
    /// Returns the reason in words. A time is told as the file has it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Asked => "the run was cancelled".to_owned(),
            Self::Aborted => "a step's failure ended the run".to_owned(),
            Self::RunTimeout(limit) => format!("the run's time was up (timeout: {})", limit.written),
            Self::StageTimeout(limit) => format!("the stage's time was up (timeout: {})", limit.written),
            Self::StepFailed(step) => format!("the failure of the step {step} ended the pipeline"),
        }
    }

    /// Returns the reason for a step or a stage whose turn had not come.
    pub(crate) fn before_its_turn(&self) -> String {
        format!("{} before its turn", self.text())
    }
}
