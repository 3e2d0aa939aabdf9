//! How long the executor waits for what does not answer.

use std::time::Duration;

/// Limits of waiting.
#[derive(Debug, Clone)]
pub struct Patience {
    /// An agent that could not be reached for this long is lost.
    pub unreachable_for: Duration,
    /// A step that the agent should have ended is waited for this much longer than its own timeout.
    pub overdue_after: Duration,
    /// How long a cancelled step may take to end.
    pub cancelled_within: Duration,
    /// How long the rest of a step's output may take after its end.
    pub drain_within: Duration,
    /// How long background steps that were told to end may take.
    pub background_within: Duration,
    /// How long a stage may take beyond its timeout to end in order, before its instance is ended for it.
    pub end_within: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            unreachable_for: Duration::from_secs(60),
            overdue_after: Duration::from_secs(30),
            cancelled_within: Duration::from_secs(15),
            drain_within: Duration::from_secs(30),
            background_within: Duration::from_secs(5),
            end_within: Duration::from_secs(300),
        }
    }
}
