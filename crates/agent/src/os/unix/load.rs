//! Processor time and memory in use, as the kernel counts them.

use std::fs;

const KIB_PER_MIB: f64 = 1024.0;

/// Processor time since the boot, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    pub(crate) busy: u64,
    pub(crate) all: u64,
}

/// Processor time so far; none where /proc is missing.
pub(crate) fn processor_time() -> Option<Ticks> {
    ticks(&fs::read_to_string("/proc/stat").ok()?)
}

/// Memory in MiB, and percent of it in use; none where /proc is missing.
pub(crate) fn memory() -> Option<(f64, f64)> {
    in_use(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn ticks(stat: &str) -> Option<Ticks> {
    let numbers: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let all = numbers.iter().take(8).sum();
    let idle: u64 = numbers.get(3..5)?.iter().sum();
    Some(Ticks { busy: all - idle, all })
}

fn in_use(meminfo: &str) -> Option<(f64, f64)> {
    let value = |key: &str| -> Option<f64> {
        meminfo.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
    };
    let (total, available) = (value("MemTotal:")?, value("MemAvailable:")?);
    Some((total / KIB_PER_MIB, 100.0 * (total - available) / total.max(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel() {
        let t = ticks("cpu  10 0 20 60 10 0 0 0 5 0\ncpu0 1\n").map(|t| (t.busy, t.all));
        assert_eq!(t, Some((30, 100)));
        assert_eq!(in_use("MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\n"), Some((2.0, 75.0)));
        assert!(ticks("").is_none());
    }
}
