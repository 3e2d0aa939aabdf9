//! The clock by which rows are dated: the clock of the host's boot, which nobody can set.
//!
//! ```text
//! now = epoch + time since boot (suspended time included)
//!         └── wall clock minus time since boot, as the database's first process of this boot saw it
//! ```
//! So setting the wall clock while stages run ends none of them early and lets none run longer. The next epoch is taken
//! when a process starts and nothing is open, or at the next boot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Change of the wall clock against the boot's clock between two looks that counts as a jump.
const JUMP_MS: i64 = 5_000;
/// Pause between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Returns the milliseconds since the host booted.
#[must_use]
pub fn boot_ms() -> i64 {
    #[cfg(target_os = "linux")]
    const CLOCK: nix::time::ClockId = nix::time::ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: nix::time::ClockId = nix::time::ClockId::CLOCK_MONOTONIC;
    // It fails only for clocks that the system does not have.
    nix::time::clock_gettime(CLOCK).map_or(0, |time| millis(time.into()))
}

/// Returns the milliseconds since 1970 by the wall clock.
#[must_use]
pub fn wall_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns an id of this boot of the host, or of this process where the system has none.
#[must_use]
pub fn boot_id() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let told = told.trim();
    if told.is_empty() { uuid::Uuid::new_v4().to_string() } else { told.to_owned() }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Detects when the wall clock is set.
#[derive(Debug)]
pub struct Jumps {
    ahead_ms: i64,
}

impl Jumps {
    /// Starts from these readings of the wall clock and the rows' clock.
    #[must_use]
    pub fn since(wall_ms: i64, now_ms: i64) -> Self {
        Self { ahead_ms: wall_ms - now_ms }
    }

    /// Returns by how many milliseconds the wall clock jumped since the last look, if it did. A slow correction is no
    /// jump.
    pub fn look(&mut self, wall_ms: i64, now_ms: i64) -> Option<i64> {
        let moved_ms = wall_ms - now_ms - self.ahead_ms;
        self.ahead_ms += moved_ms;
        (moved_ms.abs() > JUMP_MS).then_some(moved_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_jump_is_told_once() {
        let mut jumps = Jumps::since(1_000_000, 1_000_000);
        let mut check = |wall_ms: i64, now_ms: i64, expected: Option<i64>| {
            assert_eq!(jumps.look(wall_ms, now_ms), expected, "{wall_ms} {now_ms}");
        };
        check(1_002_000, 1_002_000, None);
        check(1_004_000 + 86_400_000, 1_004_000, Some(86_400_000));
        check(1_006_000 + 86_400_000, 1_006_000, None);
        check(1_008_000 - 7_200_000, 1_008_000, Some(-86_400_000 - 7_200_000));
        // The host was suspended, and both clocks continued.
        check(9_008_000 - 7_200_000, 9_008_000, None);
        // The clock is corrected by half a second at each look.
        for n in 1..50 {
            check(9_008_000 - 7_200_000 + 2_500 * n, 9_008_000 + 2_000 * n, None);
        }
    }

    #[test]
    fn the_boot_has_an_id_and_a_clock() {
        assert_eq!(boot_id(), boot_id());
        let before = boot_ms();
        assert!(before > 0 && boot_ms() >= before);
    }
}
