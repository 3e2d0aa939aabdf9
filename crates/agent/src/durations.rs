//! Durations that callers and settings give as numbers.
//!
//! Any number is taken: one that no clock could count is a mistake or means "for ever", and must neither end the agent (a sum of
//! a moment and a duration panics when it overflows) nor be refused.

use std::time::Duration;

/// Longest duration: ten years. A longer one is taken for it.
pub const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Returns the duration of so many seconds.
pub fn seconds(number: u64) -> Duration {
    Duration::from_secs(number).min(LONGEST)
}

/// Returns the duration of so many seconds; none for 0 and less, with which the protocol says that there is no limit.
pub fn positive_seconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|number| *number > 0).map(seconds)
}

/// Returns the duration of so many milliseconds.
pub fn millis(number: u64) -> Duration {
    Duration::from_millis(number).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn any_number_is_a_duration_that_clocks_can_count() {
        for number in [0, 1, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            assert!(Instant::now().checked_add(seconds(number)).is_some());
            assert!(Instant::now().checked_add(millis(number)).is_some());
        }
        assert_eq!((seconds(7), millis(7)), (Duration::from_secs(7), Duration::from_millis(7)));
        let positive = [i64::MIN, -1, 0, 7, i64::MAX].map(positive_seconds);
        assert_eq!(positive, [None, None, None, Some(Duration::from_secs(7)), Some(LONGEST)]);
    }
}
