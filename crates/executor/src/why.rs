//! Why a run or a stage ends before its end.

/// The reason for an early end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The caller asked for it.
    Asked,
    /// A step failed, and its failure strategy ends the run.
    Aborted,
    /// The run's time was up.
    RunTimeout,
    /// The stage's time was up.
    StageTimeout,
}

impl Why {
    /// Returns the reason in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Asked => "the run was cancelled",
            Self::Aborted => "a step's failure ended the run",
            Self::RunTimeout => "the run's time was up",
            Self::StageTimeout => "the stage's time was up",
        }
    }

    /// Returns the reason for a step or a stage whose turn had not come.
    pub(crate) fn before_its_turn(self) -> String {
        format!("{} before its turn", self.text())
    }
}
