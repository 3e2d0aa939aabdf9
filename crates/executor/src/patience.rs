//! Limits for waiting on something that does not answer.

use std::time::Duration;

use crate::wait::Telling;

/// Limits of waiting.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Time for which an agent may be out of reach before it counts as lost.
    pub unreachable_for: Duration,
    /// Time after its own timeout for which a step may still run, although the agent should have ended it.
    pub overdue_after: Duration,
    /// Time that a cancelled step has to end.
    pub cancelled_within: Duration,
    /// Time that the rest of a step's output has to arrive after the step's end.
    pub drain_within: Duration,
    /// Time that background steps have to end after their stage's last step.
    pub background_within: Duration,
    /// Time beyond its timeout that a stage has to end in order, before its instance is ended for it.
    pub end_within: Duration,
    /// When a wait is reported.
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
