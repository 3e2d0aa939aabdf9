//! Stages that were ended before they were asked for.
//!
//! A caller that gives up sends `/destroy` after `/setup`, but the end may arrive first: over another connection, or
//! while the demand is still being read. So an end that finds no stage is remembered for a while, and a demand that
//! arrives within that time is refused at once. Otherwise it would wait, get an instance, and keep it until nobody came
//! for it.
//!
//! Ends are remembered in this process only. After a restart, or at another runner of the same store, such a stage ends
//! as unattended.

use std::collections::{HashMap, VecDeque};

use kiln_pool::{Cause, StageId};

/// How long an end that found no stage is remembered, in milliseconds: longer than a request is on its way, shorter
/// than a person takes to try again with the same id.
pub const FORESTALLED_FOR_MS: i64 = 30_000;
/// Most ends that are remembered; the oldest give way.
const FORESTALLED_MAX: usize = 10_000;

/// The ends that found no stage, with the uptime at which each came.
#[derive(Debug, Default)]
pub(crate) struct Forestalled {
    causes: HashMap<StageId, (i64, Cause)>,
    order: VecDeque<(i64, StageId)>,
}

impl Forestalled {
    /// Remembers an end that came at `now_ms`, an uptime.
    pub(crate) fn remember(&mut self, id: &StageId, cause: Cause, now_ms: i64) {
        self.forget_old(now_ms);
        while self.order.len() >= FORESTALLED_MAX {
            self.forget_oldest();
        }
        self.order.push_back((now_ms, id.clone()));
        self.causes.insert(id.clone(), (now_ms, cause));
    }

    /// Forgets an end that found its stage after all.
    pub(crate) fn forget(&mut self, id: &StageId) {
        self.causes.remove(id);
    }

    /// Returns the cause of an end that came before its stage, unless it is forgotten at `now_ms`, an uptime.
    pub(crate) fn cause(&mut self, id: &StageId, now_ms: i64) -> Option<Cause> {
        self.forget_old(now_ms);
        self.causes.get(id).map(|(_, cause)| cause.clone())
    }

    fn forget_old(&mut self, now_ms: i64) {
        while self.order.front().is_some_and(|(at_ms, _)| now_ms - at_ms >= FORESTALLED_FOR_MS) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at_ms, id)) = self.order.pop_front() else { return };
        // The same stage may have been ended again since.
        if self.causes.get(&id).is_some_and(|(latest_ms, _)| *latest_ms == at_ms) {
            self.causes.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_pool::Code;

    use super::*;

    fn cause() -> Cause {
        Cause::new(Code::Destroyed, "its caller destroyed it")
    }

    #[test]
    fn an_end_is_remembered_for_a_while() {
        let (mut forestalled, id) = (Forestalled::default(), StageId::new("a"));
        assert_eq!(forestalled.cause(&id, 0), None);
        forestalled.remember(&id, cause(), 5);
        assert_eq!(forestalled.cause(&id, FORESTALLED_FOR_MS + 4), Some(cause()));
        forestalled.remember(&id, cause(), 10);
        assert_eq!(forestalled.cause(&id, FORESTALLED_FOR_MS + 9), Some(cause()));
        assert_eq!(forestalled.cause(&id, FORESTALLED_FOR_MS + 10), None);
        assert!(forestalled.order.is_empty() && forestalled.causes.is_empty());
    }

    #[test]
    fn one_that_found_its_stage_is_forgotten() {
        let (mut forestalled, id) = (Forestalled::default(), StageId::new("a"));
        forestalled.remember(&id, cause(), 0);
        forestalled.forget(&id);
        assert_eq!(forestalled.cause(&id, 0), None);
    }

    #[test]
    fn their_number_has_a_limit() {
        let mut forestalled = Forestalled::default();
        for n in 0..=FORESTALLED_MAX {
            forestalled.remember(&StageId::new(format!("s{n}")), cause(), 0);
        }
        assert_eq!((forestalled.order.len(), forestalled.causes.len()), (FORESTALLED_MAX, FORESTALLED_MAX));
        assert_eq!(forestalled.cause(&StageId::new("s0"), 0), None);
        assert_eq!(forestalled.cause(&StageId::new("s1"), 0), Some(cause()));
    }
}
