//! What the host is and has, from /proc. Each fact is read when asked for; nothing is remembered.

use std::fs;

use serde::{Deserialize, Serialize};

/// Memory that can be given away without swapping, in MiB. None where the kernel does not say.
pub(crate) fn available_memory_mib() -> Option<u64> {
    parse_available(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}

/// A name of this boot of the host; empty where the kernel gives none.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process began, in clock ticks since boot: with the pid it names a process for one boot. None when it is gone.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_start_time(stat: &str) -> Option<u64> {
    // The command's name is in brackets and may hold anything, brackets and spaces too: count from its last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The pids of all processes that this user may see.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The words of a process's command line.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// A process, named so that another one with the same pid is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pub(crate) pid: u32,
    pub(crate) start_time: Option<u64>,
    pub(crate) boot_id: String,
}

impl ProcessName {
    /// The process that has this pid now.
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid, start_time: start_time(pid), boot_id: boot_id() }
    }

    /// Whether this very process lives. In doubt, no: then it is not killed either.
    pub(crate) fn lives(&self) -> bool {
        self.start_time.is_some() && start_time(self.pid) == self.start_time && boot_id() == self.boot_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_odd_command_names() {
        let check = |stat: &str, expect| assert_eq!(parse_start_time(stat), expect, "{stat}");
        let rest = "1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 9 9";
        check(&format!("7 (sh) S {rest}"), Some(4242));
        check(&format!("7 (a) R 1 (b) S {rest}"), Some(4242));
        check(&format!("7 (sh) Z {rest}"), None);
        check("7 (sh", None);
        check("", None);
    }

    #[test]
    fn our_own_start_time_is_stable() {
        let pid = std::process::id();
        assert!(start_time(pid).is_some());
        assert_eq!(start_time(pid), start_time(pid));
    }

    #[test]
    fn memory_is_told_in_mib() {
        assert_eq!(parse_available("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n"), Some(2048));
        assert_eq!(parse_available("MemTotal: 9 kB\n"), None);
    }
}
