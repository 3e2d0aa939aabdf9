//! What the runs of one strategy know of each other.

use std::sync::atomic::{AtomicBool, Ordering};

use kiln_pipeline::strategy::Expansion;

use crate::walk::End;

/// The runs of one strategy.
pub(crate) struct Siblings {
    /// Whether one of them has failed.
    failed: AtomicBool,
    skip_queued: bool,
}

impl Siblings {
    pub(crate) fn new(expansion: &Expansion) -> Self {
        Self { failed: AtomicBool::new(false), skip_queued: expansion.skip_queued }
    }

    /// Whether one of them has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns why a run that has not begun is skipped, if it is.
    pub(crate) fn skips(&self) -> Option<&'static str> {
        (self.skip_queued && self.has_failed()).then_some("another run of its strategy failed")
    }

    /// Notes how one of them ended.
    pub(crate) fn ended(&self, end: End) -> End {
        if end == End::Failed {
            self.failed.store(true, Ordering::Relaxed);
        }
        end
    }
}
