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
    /// State of a stage's row.
    pub enum StageState {
        /// The stage has no instance yet.
        Waiting = "waiting",
        /// The stage has an instance.
        Assigned = "assigned",
        /// The stage has ended; its instance ends too.
        Ended = "ended",
    }
}

/// One kind of instance that fits a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The pool.
    pub pool: String,
    /// The flavor in it.
    pub flavor: String,
    /// The image, which is the flavor's own unless the stage asks for another.
    pub image: String,
}

/// The row of one stage. It holds no secret: the stage's commands come with each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The id that the caller gave.
    pub id: StageId,
    /// The pool that was asked for.
    pub pool: String,
    /// The kinds of instances that fit, best first.
    pub candidates: Vec<Candidate>,
    /// The caller's account, for listings.
    pub account: String,
    /// Its state.
    pub state: StageState,
    /// Number of changes.
    pub generation: i64,
    /// Its instance.
    pub instance: Option<InstanceId>,
    /// When it was requested.
    pub created_ms: i64,
    /// When its waiting time for an instance ends.
    pub wait_until_ms: i64,
    /// How long it may keep its instance, in milliseconds.
    pub run_ms: i64,
    /// When it got its instance.
    pub assigned_ms: Option<i64>,
    /// Whether the agent has been prepared for it.
    pub set_up: bool,
    /// Number of instances that failed before its present one.
    pub attempts: i64,
    /// The reason why it still waits; none until a plan has looked at it.
    pub why: Option<WaitReason>,
    /// The cause of its end.
    pub cause: Option<Cause>,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

impl Stage {
    /// Returns the row of the stage after its end; none when it has already ended. The first cause stays.
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
