//! How long work tells what it does. The library never prints; the caller shows this as it likes.

use std::sync::Arc;
use std::time::Duration;

/// Something worth telling a person who waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A piece of work began.
    Began {
        /// What it is, as in "building image debian".
        task: String,
    },
    /// It goes on: its newest line, or how far it is.
    Step {
        /// The task of [`Progress::Began`].
        task: String,
        /// What happens now.
        detail: String,
    },
    /// It ended well.
    Done {
        /// The task of [`Progress::Began`].
        task: String,
        /// How long it took.
        took: Duration,
    },
    /// It ended without what it was for. The error is the caller's to tell.
    Failed {
        /// The task of [`Progress::Began`].
        task: String,
    },
    /// A line that the person should read once, such as the choice of software emulation.
    Note(String),
}

/// Receives progress. Called from any thread; should return at once.
pub type Listener = Arc<dyn Fn(Progress) + Send + Sync>;

/// A task. One that is dropped before it is done has failed.
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
