//! How often output is looked for.
//!
//! A step that prints without a pause would wake everybody up to its reader for each of its writes. So when it prints that
//! fast, it is left alone for a moment and then carried in large parts. What a step prints now and then is carried at once.

use std::time::{Duration, Instant};

/// A read of at least so many bytes,
const LARGE_BYTES: usize = 4096;
/// so soon after the one before, shows a step that prints fast.
const SOON: Duration = Duration::from_millis(2);
/// How long it is left alone. A wide pipe takes 2 GB/s meanwhile.
const PAUSE: Duration = Duration::from_micros(500);

/// When to read next.
#[derive(Debug, Default)]
pub(super) struct Pace {
    read_at: Option<Instant>,
    /// Whether the pipe holds what comes in a pause; none as long as nobody has tried.
    wide: Option<bool>,
}

impl Pace {
    /// Returns how long to wait after a read of `bytes` that ended `now`, if it is better to. When the pipe was not `emptied`
    /// the next read gives much anyway. The first time the pipe is made wide; where it cannot be, nobody waits.
    pub(super) fn pause(
        &mut self,
        bytes: usize,
        emptied: bool,
        now: Instant,
        widen: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        let soon = self.read_at.replace(now).is_some_and(|before| now - before < SOON);
        let fast = bytes >= LARGE_BYTES && soon && emptied;
        (fast && *self.wide.get_or_insert_with(widen)).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of ten reads of so many bytes are waited after, when so many microseconds are between them.
    fn check(bytes: usize, emptied: bool, apart_us: u64, can_widen: bool, expect: usize) {
        let (mut pace, mut now, mut tried) = (Pace::default(), Instant::now(), 0);
        let waits = (0..10).filter(|_| {
            now += Duration::from_micros(apart_us);
            let pause = pace.pause(bytes, emptied, now, || {
                tried += 1;
                can_widen
            });
            pause.is_some()
        });
        assert_eq!(waits.count(), expect, "{bytes} bytes, {apart_us} us apart");
        assert!(tried <= 1, "tried {tried} times");
    }

    #[test]
    fn only_a_step_that_prints_fast_is_left_alone() {
        // The first read may be all that comes.
        check(8192, true, 600, true, 9);
        check(80, true, 10, true, 0);
        check(100_000, true, 50_000, true, 0);
        check(1 << 18, false, 100, true, 0);
    }

    #[test]
    fn a_pipe_that_is_not_wide_is_never_left_alone() {
        check(8192, true, 10, false, 0);
    }
}
