//! An instance: its states and the transitions between them.
//!
//! ```text
//! intended ─► launching ─► booting ─► ready ─► claimed ─► terminating ─► gone
//!     │           │           │      │  ▲                     ▲
//!     │           │           │      ▼  │ resuming            │
//!     │           │           │  hibernating ─► hibernated    │
//!     └───────────┴───────────┴────────┴──────────┴───────────┘   (from everywhere)
//! ```
//! `intended`: the row exists and the cloud has not been called. `launching`: the cloud was called or is about to be,
//! and the outcome is not known. `booting`: the instance exists, and its agent has no identity yet. From `terminating`
//! on, only `gone` follows; `gone` is final. Every change is a compare-and-swap on the generation, which each change
//! counts up, so a late executor changes nothing.

use kiln_wire::reach::Reach;
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, codes};
use crate::id::{InstanceId, StageId};
use crate::site::SiteId;

codes! {
    /// State of an instance's row.
    pub enum State {
        /// There is a row, but no call yet.
        Intended = "intended",
        /// The site was called; the outcome is not known.
        Launching = "launching",
        /// The instance exists; its agent is not ours yet.
        Booting = "booting",
        /// The instance is warm and waits for a stage.
        Ready = "ready",
        /// The instance is being put to sleep.
        Hibernating = "hibernating",
        /// The instance sleeps.
        Hibernated = "hibernated",
        /// The instance wakes up.
        Resuming = "resuming",
        /// The instance serves a stage.
        Claimed = "claimed",
        /// The instance has to end; the cloud may not know yet.
        Terminating = "terminating",
        /// The instance has ended.
        Gone = "gone",
    }
}

impl State {
    /// Tells whether `next` may follow this state.
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
            // The launch was answered, repeated, or found in the cloud.
            | (Launching, Launching | Booting)
            // The agent got its identity, or the address became known.
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

    /// Tells whether the instance is `ready` or on its way there.
    #[must_use]
    pub fn is_supply(self) -> bool {
        !matches!(self, Self::Claimed | Self::Terminating | Self::Gone)
    }
}

/// The row of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its pool.
    pub pool: String,
    /// Its flavor.
    pub flavor: String,
    /// Its site.
    pub site: SiteId,
    /// The place within the site where it is launched; empty where the site has no places.
    pub place: String,
    /// Idempotency token of its launch, which all instances of one batch share.
    pub token: String,
    /// Its number in the batch, from 0.
    pub batch_index: u32,
    /// The size of its batch. A repeated launch asks for as many instances as the first one did.
    pub batch_size: u32,
    /// The image that it is launched with.
    pub image: String,
    /// [`crate::config::Launch::digest`] of its launch.
    pub digest: String,
    /// Its state.
    pub state: State,
    /// Number of changes. Every change names the generation that it was made from.
    pub generation: i64,
    /// The runner that works on it.
    pub runner: String,
    /// The stage it serves or served.
    pub stage: Option<StageId>,
    /// When its row was created.
    pub created_ms: i64,
    /// When it entered its state.
    pub since_ms: i64,
    /// When it was ready for the first time.
    pub ready_ms: Option<i64>,
    /// When it was claimed.
    pub claimed_ms: Option<i64>,
    /// When its stage's time runs out.
    pub deadline_ms: Option<i64>,
    /// When an operator's hold on it ends. A held warm instance is not claimed; a held busy one outlives its stage.
    pub hold_until_ms: Option<i64>,
    /// Earliest time of the next attempt.
    pub retry_ms: Option<i64>,
    /// Failed attempts at the work of its present state.
    pub attempts: i64,
    /// Where its agent listens; none until its site has reported it.
    pub address: Option<Reach>,
    /// DNS name in the certificate that its agent presented at launch; its own id once it is ready.
    pub server_name: Option<String>,
    /// Whether it is a copy that must be given its own identity first.
    pub needs_claim: bool,
    /// The cause of its end.
    pub cause: Option<Cause>,
}

/// Returns the id of an instance of a batch. The first one has the token itself as its id.
#[must_use]
pub fn id_in_batch(token: &str, index: u32) -> InstanceId {
    InstanceId::new(if index == 0 { token.to_owned() } else { format!("{token}-{index}") })
}

/// A batch of new instances.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its idempotency token: unique for ever, lower-case letters, digits and hyphens, at most 60 characters.
    pub token: String,
    /// The number of instances.
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
    /// [`crate::config::Launch::digest`] of the launch.
    pub digest: String,
    /// The runner that works on them.
    pub runner: String,
}

impl Batch {
    /// Returns the rows of its instances, for which nobody has called the site yet.
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
    /// Tells whether the instance may still cost something or be needed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state != State::Gone
    }

    /// Tells whether an operator holds the instance now.
    #[must_use]
    pub fn is_held(&self, now_ms: i64) -> bool {
        self.hold_until_ms.is_some_and(|until| until > now_ms)
    }

    /// Returns the row after a change to another state. Returns none where that state must not follow: then another
    /// change came first, and nothing is left to do.
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

    /// Returns the row of an instance that has to end. The first cause stays.
    #[must_use]
    pub fn terminating(&self, cause: Cause, now_ms: i64) -> Option<Self> {
        let mut next = self.become_(State::Terminating, now_ms)?;
        next.cause.get_or_insert(cause);
        Some(next)
    }

    /// Tells whether the pause after a failed attempt is over. A pause longer than the longest possible one was counted
    /// from a clock that was ahead, so it is over too.
    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.retry_ms.is_none_or(|at| !(1..=BACKOFF_MAX_MS).contains(&(at - now_ms)))
    }

    /// Returns the row after a failed attempt at its state's work. The work is repeated after a pause.
    #[must_use]
    pub fn failed_once(&self, now_ms: i64) -> Self {
        let mut next = self.clone();
        next.generation += 1;
        next.attempts += 1;
        next.retry_ms = Some(now_ms + backoff_ms(next.attempts));
        next
    }
}

/// Shortest pause between two attempts.
const BACKOFF_MIN_MS: i64 = 1_000;
/// Longest pause between two attempts.
const BACKOFF_MAX_MS: i64 = 60_000;

/// Returns the pause after a number of failed attempts.
#[must_use]
pub fn backoff_ms(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    (BACKOFF_MIN_MS << doublings).min(BACKOFF_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing at the top of this file, as a table.
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
