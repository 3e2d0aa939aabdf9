//! Callers of this process that wait for news of a stage.
//!
//! Code that changes a stage's row here wakes those who wait for that stage, and only them. Changes by other processes
//! are found by the next pass, which wakes them too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use kiln_pool::StageId;

use crate::Assigned;

/// News for a waiting caller: its stage's instance, or none when the caller should read the row itself.
pub(crate) type News = Option<Assigned>;

/// The waiting callers, by stage.
#[derive(Default)]
pub(crate) struct Waiters {
    by_stage: Mutex<BTreeMap<StageId, Vec<oneshot::Sender<News>>>>,
}

impl Waiters {
    /// Returns a receiver of news about a stage from now on.
    pub(crate) fn expect(&self, stage: &StageId) -> oneshot::Receiver<News> {
        let (tell, told) = oneshot::channel();
        let mut by_stage = self.lock();
        let of_stage = by_stage.entry(stage.clone()).or_default();
        // Callers that have gone away are dropped.
        of_stage.retain(|waiter| !waiter.is_canceled());
        of_stage.push(tell);
        told
    }

    /// Gives news to all who wait for a stage.
    pub(crate) fn tell(&self, stage: &StageId, news: &News) {
        for waiter in self.lock().remove(stage).unwrap_or_default() {
            // A caller that has gone away needs no news.
            drop(waiter.send(news.clone()));
        }
    }

    /// Wakes all callers whose stage is not in `waiting`, so that they read its row.
    pub(crate) fn tell_others(&self, waiting: &std::collections::BTreeSet<&StageId>) {
        let mut by_stage = self.lock();
        by_stage.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_canceled());
            !waiters.is_empty()
        });
        let others: Vec<StageId> = by_stage.keys().filter(|id| !waiting.contains(id)).cloned().collect();
        drop(by_stage);
        for id in others {
            self.tell(&id, &None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StageId, Vec<oneshot::Sender<News>>>> {
        self.by_stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
