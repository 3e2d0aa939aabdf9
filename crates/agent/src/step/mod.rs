//! Steps: what is known of each, and the set of them.
//!
//! ```text
//!   start_step ──► running ──main process ended──► ended
//!                     │                              ▲
//!                     └─ timeout, cancel, destroy ─► stopping
//! ```
//! A step's result is published once, through a watch channel, so that any number of pollers see it and none can
//! take it from another.

mod registry;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_wire::agent::PollStepResponse;
use kiln_wire::agent::kiln::{StepState, StepSummary};
use tokio::sync::watch;

use crate::ending::{Stop, Wish};
use crate::journal::FoundStep;
use crate::os::terminal::Keyboard;
use crate::spool::Spool;

pub use registry::{Registry, Started};

/// A step that was started.
#[derive(Debug)]
pub struct Step {
    /// As given by the caller.
    pub id: String,
    /// For people.
    pub name: String,
    /// Pollers of a detached step are answered at once.
    pub detach: bool,
    /// Unique on this machine, also among steps of one id; found in the environment of every process of the step.
    pub mark: String,
    /// Its output.
    pub spool: Arc<Spool>,
    started: SystemTime,
    stop: watch::Sender<Option<Stop>>,
    end: watch::Sender<Option<Arc<End>>>,
    keyboard: watch::Sender<Option<Keyboard>>,
}

/// How a step ended.
#[derive(Debug, Clone)]
pub struct End {
    /// What pollers are told.
    pub response: PollStepResponse,
    /// When.
    pub at: SystemTime,
}

impl Step {
    /// A step about to run.
    pub fn new(id: String, name: String, detach: bool, mark: String, spool: Arc<Spool>) -> Self {
        let (stop, end) = (watch::Sender::new(None), watch::Sender::new(None));
        Self {
            id,
            name,
            detach,
            mark,
            spool,
            started: SystemTime::now(),
            stop,
            end,
            keyboard: watch::Sender::new(None),
        }
    }

    /// A step of an earlier process of the agent, which has ended with it.
    pub(crate) fn left(found: &FoundStep, spool: Arc<Spool>, response: PollStepResponse) -> Self {
        let FoundStep { id, name, mark, at_unix_ms, .. } = found;
        let step = Self::new(id.clone(), name.clone(), false, mark.clone(), spool);
        let at = Duration::from_millis(u64::try_from(*at_unix_ms).unwrap_or(0));
        let started = UNIX_EPOCH.checked_add(at).unwrap_or(UNIX_EPOCH);
        step.finish(response);
        Self { started, ..step }
    }

    /// When it was started, in milliseconds since 1970.
    pub(crate) fn started_unix_ms(&self) -> i64 {
        unix_ms(self.started)
    }

    /// Leaves our side of its terminal with the step.
    pub(crate) fn give_keyboard(&self, keyboard: Keyboard) {
        self.keyboard.send_replace(Some(keyboard));
    }

    /// Our side of its terminal, once it has one; `None` when it has ended.
    pub(crate) async fn keyboard(&self) -> Option<Keyboard> {
        let mut keyboard = self.keyboard.subscribe();
        tokio::select! {
            given = keyboard.wait_for(Option::is_some) => given.ok()?.as_ref()?.another().ok(),
            _ = self.wait() => None,
        }
    }

    /// Asks for its end. The first one who asks gives the cause; a later one may only shorten the grace.
    pub fn stop(&self, stop: Stop) {
        self.stop.send_if_modified(|present| match present {
            None => {
                *present = Some(stop);
                true
            }
            Some(present) if stop.grace < present.grace => {
                present.grace = stop.grace;
                true
            }
            Some(_) => false,
        });
    }

    /// The wish that it ends, now and later.
    pub fn stops(&self) -> Wish {
        self.stop.subscribe()
    }

    /// Publishes the result; only the first counts.
    pub fn finish(&self, response: PollStepResponse) {
        self.keyboard.send_replace(None);
        self.end.send_if_modified(|end| {
            if end.is_some() {
                return false;
            }
            *end = Some(Arc::new(End { response, at: SystemTime::now() }));
            true
        });
    }

    /// The result, if there is one.
    pub fn ended(&self) -> Option<Arc<End>> {
        self.end.borrow().clone()
    }

    /// Waits for the result.
    pub async fn wait(&self) -> Arc<End> {
        let mut end = self.end.subscribe();
        // The sender lives in `self`, so the wait cannot fail; a step without result is told as such all the same.
        let value = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        value.unwrap_or_else(|| Arc::new(End { response: PollStepResponse::default(), at: SystemTime::now() }))
    }

    /// Where it is in its life.
    pub fn state(&self) -> StepState {
        if self.end.borrow().is_some() {
            StepState::Ended
        } else if self.stop.borrow().is_some() {
            StepState::Stopping
        } else {
            StepState::Running
        }
    }

    /// One line of the list.
    pub fn summary(&self) -> StepSummary {
        let progress = self.spool.progress();
        let end = self.ended();
        let response = end.as_ref().map(|end| end.response.clone()).unwrap_or_default();
        StepSummary {
            id: self.id.clone(),
            name: self.name.clone(),
            state: self.state(),
            started_unix_ms: self.started_unix_ms(),
            ended_unix_ms: end.as_ref().map_or(0, |end| unix_ms(end.at)),
            exit_code: end.map(|_| response.exit_code),
            cause: response.cause,
            signal: response.signal,
            error: response.error,
            output_bytes: progress.len,
            output_cut: progress.cut,
        }
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
