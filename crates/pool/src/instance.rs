//! One instance: its states and what may follow what.
//!
//! ```text
//! intended ─► launching ─► booting ─► ready ─► claimed ─► terminating ─► gone
//!     │           │           │      │  ▲                     ▲
//!     │           │           │      ▼  │ resuming            │
//!     │           │           │  hibernating ─► hibernated    │
//!     └───────────┴───────────┴────────┴──────────┴───────────┘   (from everywhere)
//! ```
//! `intended`: the row is there and the cloud was not called. `launching`: it was called, or is about to be, and the
//! outcome is not known. `booting`: it exists, and its agent has not been given its identity. From `terminating` on, nothing
//! but `gone` follows; `gone` is final. Every change is a compare-and-swap on the generation, which each change counts up,
//! so that a late executor changes nothing.

use kiln_wire::reach::Reach;
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, codes};
use crate::id::{InstanceId, StageId};
use crate::site::SiteId;

codes! {
    /// Where an instance is in its life.
    pub enum State {
        /// A row, no call yet.
        Intended = "intended",
        /// Called; the outcome is not known.
        Launching = "launching",
        /// Exists; its agent is not ours yet.
        Booting = "booting",
        /// Warm: waits for a stage.
        Ready = "ready",
        /// Goes to sleep.
        Hibernating = "hibernating",
        /// Sleeps.
        Hibernated = "hibernated",
        /// Wakes up.
        Resuming = "resuming",
        /// Serves a stage.
        Claimed = "claimed",
        /// Is to end; the cloud may not know yet.
        Terminating = "terminating",
        /// Ended.
        Gone = "gone",
    }
}

impl State {
    /// Whether `next` may follow.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Booting, Claimed, Gone, Hibernated, Hibernating, Intended, Launching, Ready, Resuming, Terminating,
        };
        match (self, next) {
            (Gone, _) => false,
            (Terminating, Gone) => true,
            (Terminating, _) => false,
            (_, Terminating)
            | (Intended, Launching)
            // A launch that was answered, tried again, or found in the cloud.
            | (Launching, Launching | Booting)
            // Given its identity, or an address that was not known before.
            | (Booting, Booting | Ready)
            | (Ready, Ready | Claimed | Hibernating)
            | (Hibernating, Hibernated)
            | (Hibernated, Resuming)
            // A woken instance may have another address, so its agent is looked for again.
            | (Resuming, Booting)
            | (Claimed, Claimed) => true,
            _ => false,
        }
    }

    /// Whether it is on its way to `ready` or there.
    #[must_use]
    pub fn is_supply(self) -> bool {
        !matches!(self, Self::Claimed | Self::Terminating | Self::Gone)
    }
}

/// A row: all that is known about one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The pool it belongs to.
    pub pool: String,
    /// The flavor it belongs to.
    pub flavor: String,
    /// The site that it is at.
    pub site: SiteId,
    /// The place within the site that it is launched in; empty where the site has no places.
    pub place: String,
    /// Idempotency token of its launch, which all instances of one batch share.
    pub token: String,
    /// Its number in the batch, from 0.
    pub batch_index: u32,
    /// How many instances the batch asks for. A repeated launch asks for as many as the first one did.
    pub batch_size: u32,
    /// Image it is launched with.
    pub image: String,
    /// [`crate::config::Launch::digest`] of what it was launched as.
    pub digest: String,
    /// Where it is in its life.
    pub state: State,
    /// Counts changes; every change names the one it saw.
    pub generation: i64,
    /// The runner whose process works on it.
    pub runner: String,
    /// The stage it serves or served.
    pub stage: Option<StageId>,
    /// When its row was made.
    pub created_ms: i64,
    /// When it came into its state.
    pub since_ms: i64,
    /// When it was ready for the first time.
    pub ready_ms: Option<i64>,
    /// When it was claimed.
    pub claimed_ms: Option<i64>,
    /// When its stage's time is up.
    pub deadline_ms: Option<i64>,
    /// Until when an operator holds it. A held warm instance is not claimed; a held busy one outlives its stage.
    pub hold_until_ms: Option<i64>,
    /// Not to be tried again before this.
    pub retry_ms: Option<i64>,
    /// How often the present state's work was tried and failed.
    pub attempts: i64,
    /// Where its agent listens; none until its site has told.
    pub address: Option<Reach>,
    /// DNS name in the certificate that its agent presented when it was launched; its own id once it is ready.
    pub server_name: Option<String>,
    /// Whether it is a copy that must be given its own identity first.
    pub needs_claim: bool,
    /// Why it ends or ended.
    pub cause: Option<Cause>,
}

/// The id of an instance of a batch: the first one has the token itself.
#[must_use]
pub fn id_in_batch(token: &str, index: u32) -> InstanceId {
    InstanceId::new(if index == 0 { token.to_owned() } else { format!("{token}-{index}") })
}

/// What a batch of new instances is to be.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its idempotency token: unique for ever, lower-case letters, digits and hyphens, at most 60 characters.
    pub token: String,
    /// How many instances.
    pub size: u32,
    /// Their pool.
    pub pool: String,
    /// Their flavor.
    pub flavor: String,
    /// The site that makes them.
    pub site: SiteId,
    /// The place within the site; empty where the site has no places.
    pub place: String,
    /// Their image.
    pub image: String,
    /// [`crate::config::Launch::digest`] of what is launched.
    pub digest: String,
    /// The runner whose process works on them.
    pub runner: String,
}

impl Batch {
    /// The rows of its instances, which nobody has asked the site for yet.
    #[must_use]
    pub fn intended(&self, now_ms: i64) -> Vec<Instance> {
        (0..self.size).map(|index| self.row(index, now_ms)).collect()
    }

    fn row(&self, index: u32, now_ms: i64) -> Instance {
        Instance {
            id: id_in_batch(&self.token, index),
            pool: self.pool.clone(),
            flavor: self.flavor.clone(),
            site: self.site.clone(),
            place: self.place.clone(),
            token: self.token.clone(),
            batch_index: index,
            batch_size: self.size,
            image: self.image.clone(),
            digest: self.digest.clone(),
            state: State::Intended,
            generation: 1,
            runner: self.runner.clone(),
            stage: None,
            created_ms: now_ms,
            since_ms: now_ms,
            ready_ms: None,
            claimed_ms: None,
            deadline_ms: None,
            hold_until_ms: None,
            retry_ms: None,
            attempts: 0,
            address: None,
            server_name: None,
            needs_claim: false,
            cause: None,
        }
    }
}

impl Instance {
    /// Whether it may still cost something or be needed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state != State::Gone
    }

    /// Whether an operator holds it now.
    #[must_use]
    pub fn is_held(&self, now_ms: i64) -> bool {
        self.hold_until_ms.is_some_and(|until| until > now_ms)
    }

    /// The row after it came into another state. None where that must not follow: then somebody else was quicker, and there
    /// is nothing to do.
    #[must_use]
    pub fn become_(&self, state: State, now_ms: i64) -> Option<Self> {
        if !self.state.may_become(state) {
            return None;
        }
        let mut next = self.clone();
        next.generation += 1;
        if state != self.state {
            (next.state, next.since_ms) = (state, now_ms);
            (next.attempts, next.retry_ms) = (0, None);
        }
        Some(next)
    }

    /// The row of an instance that is to end. The first cause stays.
    #[must_use]
    pub fn terminating(&self, cause: Cause, now_ms: i64) -> Option<Self> {
        let mut next = self.become_(State::Terminating, now_ms)?;
        next.cause.get_or_insert(cause);
        Some(next)
    }

    /// Whether the pause after a failed try is over. One that is longer than any was counted from a clock that was ahead.
    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.retry_ms.is_none_or(|at| !(1..=BACKOFF_MAX_MS).contains(&(at - now_ms)))
    }

    /// The row after a try of the present state's work failed and is to be repeated after a while.
    #[must_use]
    pub fn failed_once(&self, now_ms: i64) -> Self {
        let mut next = self.clone();
        next.generation += 1;
        next.attempts += 1;
        next.retry_ms = Some(now_ms + backoff_ms(next.attempts));
        next
    }
}

/// Shortest pause between two tries.
const BACKOFF_MIN_MS: i64 = 1_000;
/// Longest pause between two tries.
const BACKOFF_MAX_MS: i64 = 60_000;

/// The pause after so many failed tries.
#[must_use]
pub fn backoff_ms(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    (BACKOFF_MIN_MS << doublings).min(BACKOFF_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing above, as a table.
    #[test]
    fn what_may_follow_what() {
        let mut drawn = Vec::new();
        for from in State::ALL {
            let next: Vec<_> = State::ALL.iter().filter(|to| from.may_become(**to)).map(|to| to.as_str()).collect();
            drawn.push(format!("{from}: {}", next.join(" ")));
        }
        insta::assert_snapshot!(drawn.join("\n"), @r"
        intended: launching terminating
        launching: launching booting terminating
        booting: booting ready terminating
        ready: ready hibernating claimed terminating
        hibernating: hibernated terminating
        hibernated: resuming terminating
        resuming: booting terminating
        claimed: claimed terminating
        terminating: gone
        gone: 
        ");
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses: Vec<_> = [1, 2, 3, 6, 7, 100].into_iter().map(backoff_ms).collect();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    }
}
