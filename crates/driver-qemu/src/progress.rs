//! Progress of long work. The library never prints; the caller shows progress as it likes.

use std::sync::Arc;
use std::time::Duration;

/// News for a person who waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A piece of work began.
    Began {
        /// Its name, as in "building image debian".
        task: String,
    },
    /// The task has progressed: its newest line, or its position.
    Step {
        /// The task of [`Progress::Began`].
        task: String,
        /// The present action.
        detail: String,
    },
    /// The task succeeded.
    Done {
        /// The task of [`Progress::Began`].
        task: String,
        /// Its duration.
        took: Duration,
    },
    /// The task failed. The caller reports the error.
    Failed {
        /// The task of [`Progress::Began`].
        task: String,
    },
    /// A line that the person should read once, such as the choice of software emulation.
    Note(String),
}

/// Receives progress. Called from any thread; should return at once.
pub type Listener = Arc<dyn Fn(Progress) + Send + Sync>;

/// A task. It has failed if it is dropped before it is done.
pub(crate) struct Task<'a> {
    listener: &'a Listener,
    name: String,
    began: std::time::Instant,
    is_done: bool,
}

impl<'a> Task<'a> {
    pub(crate) fn begin(listener: &'a Listener, name: impl Into<String>) -> Self {
        let name = name.into();
        listener(Progress::Began { task: name.clone() });
        Self { listener, name, began: std::time::Instant::now(), is_done: false }
    }

    pub(crate) fn step(&self, detail: impl Into<String>) {
        (self.listener)(Progress::Step { task: self.name.clone(), detail: detail.into() });
    }

    pub(crate) fn done(mut self) -> Duration {
        let took = self.began.elapsed();
        self.is_done = true;
        (self.listener)(Progress::Done { task: self.name.clone(), took });
        took
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            (self.listener)(Progress::Failed { task: std::mem::take(&mut self.name) });
        }
    }
}
