//! The set of steps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::Step;
use crate::lock::lock;

/// The outcome of a request to start.
#[derive(Debug)]
pub enum Started {
    /// It is new: run it.
    New(Arc<Step>),
    /// A step of that id is known; nothing changes.
    Known,
}

/// All steps of the agent, in the order of their start.
#[derive(Debug)]
pub struct Registry {
    steps: Mutex<Steps>,
    /// Counts starts, for those who wait for a step.
    starts: watch::Sender<u64>,
    kept: usize,
}

#[derive(Debug, Default)]
struct Steps {
    by_id: HashMap<String, Arc<Step>>,
    order: Vec<String>,
}

impl Registry {
    /// Keeps at most `kept` steps that have ended.
    pub fn new(kept: usize) -> Self {
        Self { steps: Mutex::default(), starts: watch::Sender::new(0), kept }
    }

    /// Adds a step, made by `make`, unless one of that id is known.
    pub fn start<E>(&self, id: &str, make: impl FnOnce() -> Result<Step, E>) -> Result<Started, E> {
        let step = {
            let mut steps = lock(&self.steps);
            if steps.by_id.contains_key(id) {
                return Ok(Started::Known);
            }
            let step = Arc::new(make()?);
            steps.by_id.insert(id.to_owned(), step.clone());
            steps.order.push(id.to_owned());
            steps.evict(self.kept);
            step
        };
        self.starts.send_modify(|n| *n += 1);
        Ok(Started::New(step))
    }

    /// Adds a step that has ended. A later one of the same id takes its place.
    pub(crate) fn add(&self, step: Step) {
        let mut steps = lock(&self.steps);
        let id = step.id.clone();
        if steps.by_id.insert(id.clone(), Arc::new(step)).is_none() {
            steps.order.push(id);
        }
        steps.evict(self.kept);
    }

    /// The step of that id.
    pub fn get(&self, id: &str) -> Option<Arc<Step>> {
        lock(&self.steps).by_id.get(id).cloned()
    }

    /// The step of that id, if it is started within `patience`.
    pub async fn wait_for(&self, id: &str, patience: Duration) -> Option<Arc<Step>> {
        let mut starts = self.starts.subscribe();
        let found = async {
            loop {
                starts.borrow_and_update();
                if let Some(step) = self.get(id) {
                    return Some(step);
                }
                starts.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }

    /// All steps in the order of their start.
    pub fn all(&self) -> Vec<Arc<Step>> {
        let steps = lock(&self.steps);
        steps.order.iter().filter_map(|id| steps.by_id.get(id).cloned()).collect()
    }

    /// Forgets every step that has ended, with its output.
    pub fn forget_ended(&self) {
        lock(&self.steps).evict(0);
    }
}

impl Steps {
    /// Forgets the oldest ended steps until at most `kept` of them remain.
    fn evict(&mut self, kept: usize) {
        if self.by_id.len() <= kept {
            return;
        }
        let ended = |step: &Arc<Step>| step.ended().is_some();
        let mut over = self.by_id.values().filter(|step| ended(step)).count().saturating_sub(kept);
        let by_id = &mut self.by_id;
        self.order.retain(|id| {
            if over == 0 || !by_id.get(id).is_some_and(ended) {
                return true;
            }
            over -= 1;
            if let Some(step) = by_id.remove(id) {
                step.spool.remove();
            }
            false
        });
    }
}
