//! One stage: from the demand for an instance to its end.
//!
//! ```text
//! waiting ─► assigned ─► ended        waiting ─► ended (no capacity, cancelled, destroyed)
//! ```
//! The row is written before anything else happens, so that neither a restart nor a caller that goes away loses the demand.

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, codes};
use crate::id::{InstanceId, StageId};
use crate::wait::WaitReason;

codes! {
    /// Where a stage is in its life.
    pub enum StageState {
        /// Has no instance yet.
        Waiting = "waiting",
        /// Has one.
        Assigned = "assigned",
        /// Ended; its instance ends too.
        Ended = "ended",
    }
}

/// One kind of instance that would do for a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The pool.
    pub pool: String,
    /// The flavor in it.
    pub flavor: String,
    /// The image, which is the flavor's own unless the stage asks for another.
    pub image: String,
}

/// A row: all that is known about one stage. It holds no secret: what the stage runs comes with each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// As the caller names it.
    pub id: StageId,
    /// The pool that was asked for.
    pub pool: String,
    /// What would do, best first.
    pub candidates: Vec<Candidate>,
    /// Whose it is, for listings.
    pub account: String,
    /// Where it is in its life.
    pub state: StageState,
    /// Counts changes.
    pub generation: i64,
    /// Its instance.
    pub instance: Option<InstanceId>,
    /// When it was asked for.
    pub created_ms: i64,
    /// Until when it may wait for an instance.
    pub wait_until_ms: i64,
    /// How long it may keep its instance, in milliseconds.
    pub run_ms: i64,
    /// When it got its instance.
    pub assigned_ms: Option<i64>,
    /// Whether the agent was prepared for it.
    pub set_up: bool,
    /// Instances that were tried and failed before its present one.
    pub attempts: i64,
    /// Why it still waits; none until somebody has looked at it.
    pub why: Option<WaitReason>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

impl Stage {
    /// The row of a stage that ended; none when it already has. The first cause stays.
    #[must_use]
    pub fn ended(&self, cause: Cause, now_ms: i64) -> Option<Self> {
        if self.state == StageState::Ended {
            return None;
        }
        let mut next = self.clone();
        next.generation += 1;
        next.state = StageState::Ended;
        next.ended_ms = Some(now_ms);
        next.cause = Some(cause);
        Some(next)
    }
}
