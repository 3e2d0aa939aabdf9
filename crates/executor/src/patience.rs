//! How long the executor waits for what does not answer.

use std::time::Duration;

use crate::wait::Telling;

/// Limits of waiting.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How long an agent may be out of reach before it counts as lost.
    pub unreachable_for: Duration,
    /// How long after its own timeout a step may still be running, although the agent should have ended it.
    pub overdue_after: Duration,
    /// How long a cancelled step may take to end.
    pub cancelled_within: Duration,
    /// How long the rest of a step's output may take to arrive after its end.
    pub drain_within: Duration,
    /// How long background steps may take to end after their stage's last step.
    pub background_within: Duration,
    /// How long a stage may take beyond its timeout to end in order, before its instance is ended for it.
    pub end_within: Duration,
    /// When a wait is told.
    pub telling: Telling,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            unreachable_for: Duration::from_secs(60),
            overdue_after: Duration::from_secs(30),
            cancelled_within: Duration::from_secs(15),
            drain_within: Duration::from_secs(30),
            background_within: Duration::from_secs(10),
            end_within: Duration::from_secs(300),
            telling: Telling::default(),
        }
    }
}
