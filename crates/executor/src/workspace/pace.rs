//! Whether compression is worth it, which depends on both ends and on what is between them: it is tried out.
//!
//! ```text
//!         slow, or clearly faster compressed             as fast stored
//!  ┌──────────────────────────────────┐   ┌─────────────────────────────────────┐
//!  └─► compressed ── after a while, ──┴─► stored ── after a while, ─► compressed ─┘
//!                    for one stretch                for one stretch
//! ```
//! What is measured is the content that leaves in a second, whatever holds it up: the network, the other end, or compression itself.

use std::time::{Duration, Instant};

/// What is done to content before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// It stays as it is.
    Stored,
    /// It is compressed, where that makes it smaller.
    Compressed,
}

/// Bytes of content that are sent in one way until their pace counts: what is on the way still went in the other.
const SETTLE_BYTES: u64 = 16 << 20;
/// Bytes of content whose pace is measured then.
const STRETCH_BYTES: u64 = 32 << 20;
/// How many times as much has to leave compressed in a second. What is as quick both ways, such as packs of git that nothing makes smaller,
/// says nothing about what follows it, and the processors have other work.
const GAIN: f64 = 1.25;
/// Where less content than this leaves in a second, it stays compressed: not the processors are what is slow.
const SLOW_BYTES_PER_S: f64 = 100e6;
/// The other way is tried again after so many stretches.
const TRY_EVERY: u32 = 20;

/// How to pack, by what was measured.
#[derive(Debug)]
pub(super) struct Pace {
    packing: Packing,
    /// Bytes of content of this stretch.
    bytes: u64,
    /// When what counts of it began.
    since: Option<Instant>,
    /// Bytes a second the other way, while this one is tried.
    other: Option<f64>,
    /// Stretches until the other way is tried.
    patience: u32,
}

impl Default for Pace {
    /// Begins compressed: on a slow network it matters, on a fast one the beginning takes no time.
    fn default() -> Self {
        Self { packing: Packing::Compressed, bytes: 0, since: None, other: None, patience: 0 }
    }
}

impl Pace {
    /// Returns what to do to the next content.
    pub(super) fn packing(&self) -> Packing {
        self.packing
    }

    /// Takes note that content was handed over.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        match self.since {
            None if self.bytes >= SETTLE_BYTES => (self.since, self.bytes) = (Some(now), 0),
            Some(since) if self.bytes >= STRETCH_BYTES => {
                let took = now.duration_since(since).max(Duration::from_micros(1));
                self.measured(self.bytes as f64 / took.as_secs_f64());
                (self.since, self.bytes) = (self.since.map(|_| now), 0);
            }
            _ => {}
        }
    }

    fn measured(&mut self, pace: f64) {
        match self.other.take() {
            Some(other) => {
                let (stored, compressed) = match self.packing {
                    Packing::Stored => (pace, other),
                    Packing::Compressed => (other, pace),
                };
                let better = if compressed > stored * GAIN { Packing::Compressed } else { Packing::Stored };
                if better != self.packing {
                    self.turn();
                }
            }
            None if self.patience > 0 => self.patience -= 1,
            None if self.packing == Packing::Compressed && pace < SLOW_BYTES_PER_S => {}
            None => {
                self.other = Some(pace);
                self.patience = TRY_EVERY;
                self.turn();
            }
        }
    }

    fn turn(&mut self) {
        self.packing = match self.packing {
            Packing::Stored => Packing::Compressed,
            Packing::Compressed => Packing::Stored,
        };
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends so many MiB, at so many MiB a second stored and compressed, and returns how many of them were stored.
    fn stored(mebibytes: u64, stored_per_s: u64, compressed_per_s: u64) -> u64 {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut stored = 0;
        for _ in 0..mebibytes {
            let per_s = match pace.packing() {
                Packing::Stored => stored_per_s,
                Packing::Compressed => compressed_per_s,
            };
            stored += u64::from(pace.packing() == Packing::Stored);
            now += Duration::from_secs(1) / u32::try_from(per_s).unwrap();
            pace.sent(1 << 20, now);
        }
        stored
    }

    #[test]
    fn content_goes_the_way_that_is_faster() {
        let check = |stored_per_s, compressed_per_s, expect: std::ops::RangeInclusive<u64>| {
            let percent = stored(10_000, stored_per_s, compressed_per_s) / 100;
            assert!(expect.contains(&percent), "{stored_per_s}, {compressed_per_s}: {percent} % were stored");
        };
        // An agent on this machine, and a network of one gigabit.
        check(1000, 450, 90..=97);
        check(118, 236, 3..=10);
        // Packs of git, here and there.
        check(500, 520, 90..=97);
        check(118, 118, 90..=97);
        // A network of ten megabits, and an emulated processor.
        check(1, 2, 0..=0);
        check(20, 35, 0..=0);
    }

    #[test]
    fn a_small_tree_is_compressed() {
        assert_eq!(stored(48, 1000, 450), 0);
    }

    #[test]
    fn a_network_that_becomes_slow_is_noticed() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut send = |mebibytes: u64, stored: u32, compressed: u32| {
            for _ in 0..mebibytes {
                let per_s = if pace.packing() == Packing::Stored { stored } else { compressed };
                now += Duration::from_secs(1) / per_s;
                pace.sent(1 << 20, now);
            }
            pace.packing()
        };
        assert_eq!(send(100, 1000, 450), Packing::Stored);
        assert_eq!(send(1000, 50, 100), Packing::Compressed);
        assert_eq!(send(1000, 50, 90), Packing::Compressed);
    }
}
