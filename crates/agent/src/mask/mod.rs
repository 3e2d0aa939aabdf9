//! Hides secrets in output, wherever the borders of the chunks fall.

mod stream;
mod variants;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use stream::{MASK, Masker};

/// The secrets of the stage. More may come while steps run.
#[derive(Debug, Default)]
pub struct Secrets {
    patterns: Mutex<BTreeSet<Vec<u8>>>,
    generation: AtomicU64,
}

impl Secrets {
    /// Adds values to be masked from now on, with the forms in which they may be printed.
    pub fn add<S: AsRef<str>>(&self, values: impl IntoIterator<Item = S>) {
        let mut patterns = crate::lock::lock(&self.patterns);
        let before = patterns.len();
        for value in values {
            patterns.extend(variants::of(value.as_ref()));
        }
        if patterns.len() != before {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Changes whenever a secret was added.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn patterns(&self) -> Vec<Vec<u8>> {
        crate::lock::lock(&self.patterns).iter().cloned().collect()
    }
}
