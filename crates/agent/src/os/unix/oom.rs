//! Whether the kernel ended something for lack of memory.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How long a count is used for steps that start. The file has hundreds of lines, and a step that starts next after such
/// an end would be told of it only if it fails too.
const FRESH: Duration = Duration::from_millis(20);

/// The last count, and when it was read.
static LAST: Mutex<Option<(Instant, u64)>> = Mutex::new(None);

/// The kernel's count of such ends since its boot. Used where no cgroup counts per step.
pub(super) fn kills_so_far() -> u64 {
    // A kernel without the counter says 0 forever: then only a cgroup can tell.
    let kills = std::fs::read_to_string("/proc/vmstat").map_or(0, |text| count(&text, "oom_kill"));
    *lock(&LAST) = Some((Instant::now(), kills));
    kills
}

/// That count, for a step that starts now.
pub(super) fn kills_before() -> u64 {
    let last = *lock(&LAST);
    last.filter(|(at, _)| at.elapsed() < FRESH).map_or_else(kills_so_far, |(_, kills)| kills)
}

/// The number behind `key` in a file of `key number` lines.
pub(super) fn count(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
    value.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts() {
        assert_eq!(count("oom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill"), 2);
        assert_eq!(count("", "oom_kill"), 0);
    }
}
