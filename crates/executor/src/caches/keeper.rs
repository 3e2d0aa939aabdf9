//! What all work with caches of one place shares.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kiln_agent_client::Agent;

use crate::context::Context;
use crate::wait::Reason;

/// A stage, or a step of it, whose files are kept.
pub(super) struct Keeper<'a> {
    pub(super) run: &'a Context<'a>,
    pub(super) stage: &'a str,
    pub(super) step: Option<&'a str>,
    pub(super) agent: &'a Agent,
    /// The directory that relative paths start at.
    pub(super) base: &'a str,
    /// Takes what people are told.
    pub(super) say: &'a (dyn Fn(String) + Send + Sync),
}

impl Keeper<'_> {
    /// Waits for `work`, and tells when that lasts.
    pub(super) fn wait<'w, T: Send + 'w>(
        &'w self,
        reason: &'w Reason,
        work: impl Future<Output = T> + Send + 'w,
    ) -> BoxFuture<'w, T> {
        self.run.wait((self.stage, self.step), reason, work)
    }
}

/// How often it is told how far a long transfer is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Tells how far a transfer is, now and then.
pub(super) struct Progress<'r> {
    reason: &'r Reason,
    what: String,
    bytes: u64,
    told: Instant,
}

impl<'r> Progress<'r> {
    pub(super) fn new(reason: &'r Reason, what: String) -> Self {
        Self { reason, what, bytes: 0, told: Instant::now() }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            self.reason.set(format!("{}, {} so far", self.what, size(self.bytes)));
        }
    }
}

/// Returns a size as people read it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// Returns a time as people read it.
pub(super) fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..60 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        for (bytes, expected) in [(0, "0 B"), (1536, "1.5 KiB"), (12 << 20, "12.0 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(size(bytes), expected);
        }
        for (ms, expected) in [(7, "7 ms"), (2_345, "2.3 s"), (125_000, "2 min 5 s")] {
            assert_eq!(time(Duration::from_millis(ms)), expected);
        }
    }
}
