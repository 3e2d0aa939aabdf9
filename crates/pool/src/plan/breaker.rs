//! A circuit breaker for the launches of each flavor, computed from the results of the latest launches.
//!
//! ```text
//! closed ─(failures in a row)─► pauses that grow ─► half open: one try at a time ─(one is ready)─► closed
//! ```
//! It is computed from stored history, so a restart does not begin a new series of failures.

use crate::cause::{Cause, Code};
use crate::instance::Instance;
use crate::site::SiteId;

/// Returns the key for the failed starts of a flavor with an image. An image that one stage asks for must not stop
/// launches of the flavor's own image.
#[must_use]
pub fn streak_key(flavor: &str, image: &str) -> String {
    format!("{flavor} {image}")
}

/// Returns the key for a lack of room in a place of a site. All flavors that are launched there share it.
#[must_use]
pub fn room_key(site: &SiteId, place: &str) -> String {
    format!("room {site} {place}")
}

/// Returns the key for this failed start of an instance. A place without room has none for any flavor; a site without
/// places may have room for a smaller instance.
#[must_use]
pub fn streak_of(instance: &Instance, cause: &Cause) -> String {
    if cause.code == Code::NoRoom && !instance.place.is_empty() {
        room_key(&instance.site, &instance.place)
    } else {
        streak_key(&instance.flavor, &instance.image)
    }
}

/// The failed starts of a flavor with an image since one last became ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streak {
    /// The number of failures.
    pub failures: u32,
    /// When the last start failed, in milliseconds since 1970.
    pub at_ms: i64,
    /// The reason of the last failure, for people.
    pub evidence: String,
}

/// The state of the breaker of one flavor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breaker {
    /// Failures since the last success.
    pub failures: u32,
    /// No launch is made before this time.
    pub until_ms: i64,
    /// The last failure, for people.
    pub evidence: String,
}

/// From this many failures in a row on, only one launch at a time is tried.
const HALF_OPEN_AT: u32 = 3;
/// The pause after the first failure.
const PAUSE_MIN_MS: i64 = 5_000;
/// The longest pause.
const PAUSE_MAX_MS: i64 = 15 * 60_000;

/// A lack of room counts as at most this many failures. Room returns silently when something ends.
const NO_ROOM_COUNTS: u32 = 3;

/// Returns the greatest streak that a failed start can make.
#[must_use]
pub fn counts_up_to(cause: &Cause) -> u32 {
    if cause.code == Code::NoRoom { NO_ROOM_COUNTS } else { u32::MAX }
}

impl Breaker {
    /// Returns the breaker after `more` failures at `now_ms`.
    pub(super) fn failing(&self, more: u32, now_ms: i64) -> Self {
        if more == 0 {
            return self.clone();
        }
        let streak = Streak { failures: self.failures + more, at_ms: now_ms, evidence: self.evidence.clone() };
        breaker(Some(&streak))
    }

    /// Returns how many launches may be under way at once.
    #[must_use]
    pub fn allows(&self, now_ms: i64) -> u32 {
        match self.failures {
            // A pause longer than the longest one was counted from a clock that was ahead.
            _ if (1..=PAUSE_MAX_MS).contains(&(self.until_ms - now_ms)) => 0,
            failures if failures >= HALF_OPEN_AT => 1,
            _ => u32::MAX,
        }
    }
}

/// Returns the breaker of a flavor with this streak.
#[must_use]
pub fn breaker(streak: Option<&Streak>) -> Breaker {
    let Some(streak) = streak.filter(|streak| streak.failures > 0) else { return Breaker::default() };
    let pause = (PAUSE_MIN_MS << (streak.failures - 1).min(12)).min(PAUSE_MAX_MS);
    Breaker { failures: streak.failures, until_ms: streak.at_ms + pause, evidence: streak.evidence.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failures: u32, until_ms: i64, before: u32, after: u32) {
        let breaker = breaker(Some(&Streak { failures, at_ms: 1_000, evidence: String::new() }));
        assert_eq!(breaker.until_ms, until_ms);
        assert_eq!((breaker.allows(until_ms - 1), breaker.allows(until_ms)), (before, after));
    }

    #[test]
    fn pauses_grow_with_failures_in_a_row_and_then_one_is_tried() {
        check(1, 6_000, 0, u32::MAX);
        check(2, 11_000, 0, u32::MAX);
        check(3, 21_000, 0, 1);
        check(20, 901_000, 0, 1);
        assert_eq!(
            breaker(Some(&Streak { failures: 1, at_ms: 3_600_000, evidence: String::new() })).allows(0),
            u32::MAX
        );
        assert_eq!(breaker(None).allows(0), u32::MAX);
        assert_eq!(breaker(Some(&Streak::default())).allows(0), u32::MAX);
    }
}
