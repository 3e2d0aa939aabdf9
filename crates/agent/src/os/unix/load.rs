//! Processor time and memory in use, as the kernel counts them.

use std::fs;

const KIB_PER_MIB: f64 = 1024.0;

/// Processor time since the boot, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    pub(crate) busy: u64,
    pub(crate) all: u64,
}

impl Ticks {
    /// Percent of the processors' time since an earlier look in which they were busy.
    pub(crate) fn busy_pct_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        100.0 * self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

/// Bytes that disks have read and written since the boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Disks {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// What disks have done so far; none where /proc is missing.
pub(crate) fn disks() -> Option<Disks> {
    let whole: Vec<_> =
        fs::read_dir("/sys/block").ok()?.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    Some(moved(&fs::read_to_string("/proc/diskstats").ok()?, &whole))
}

/// Of whole disks: what goes through their parts, or through what is made of them, is theirs too.
fn moved(diskstats: &str, whole: &[String]) -> Disks {
    const SECTOR_BYTES: u64 = 512;
    const MADE_OF_OTHERS: [&str; 5] = ["loop", "ram", "dm-", "md", "zram"];
    diskstats.lines().fold(Disks::default(), |sum, line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let sectors = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let name = fields.get(2).copied().unwrap_or_default();
        if !whole.iter().any(|disk| disk == name) || MADE_OF_OTHERS.iter().any(|kind| name.starts_with(kind)) {
            return sum;
        }
        Disks { read: sum.read + sectors(5) * SECTOR_BYTES, written: sum.written + sectors(9) * SECTOR_BYTES }
    })
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
        let stats = " 8 0 sda 1 0 10 0 1 0 20 0 0 0 0\n 8 1 sda1 1 0 10 0 1 0 20 0 0 0 0\n 253 0 dm-0 1 0 5 0 1 0 5 0\n 259 0 nvme0n1 1 0 1 0 1 0 2 0\n";
        let whole = ["sda", "dm-0", "nvme0n1"].map(ToOwned::to_owned);
        assert_eq!(moved(stats, &whole), Disks { read: 11 * 512, written: 22 * 512 });
    }
}
