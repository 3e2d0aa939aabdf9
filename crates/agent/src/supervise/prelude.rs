//! What stands in a step's output before it prints anything itself: the progress of its start, or why there was none.

use std::sync::Mutex;

use kiln_mask::Masker;

use crate::lock::lock;
use crate::spool::Writer;

/// The output of a step that is being started.
pub(crate) struct Prelude(Mutex<(Masker, Writer)>);

impl std::fmt::Debug for Prelude {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prelude")
    }
}

impl Prelude {
    pub(super) fn new(masker: Masker, to: Writer) -> Self {
        Self(Mutex::new((masker, to)))
    }

    /// Writes a line, masked.
    pub(crate) fn say(&self, line: &str) {
        let mut output = lock(&self.0);
        let (masker, to) = &mut *output;
        for part in [line, "\n"] {
            masker.push(part.as_bytes(), |settled| to.write(settled));
        }
    }

    /// What the step's own output goes on with.
    pub(super) fn into_parts(self) -> (Masker, Writer) {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Says that there is no more output.
    pub(super) fn close(self) {
        let (mut masker, mut to) = self.into_parts();
        masker.finish(|settled| to.write(settled));
        to.finish();
    }
}
