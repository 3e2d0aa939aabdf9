//! What the host is and has, from /proc. Each fact is read when asked for; nothing is remembered.

use std::fs;
use std::path::Path;

use crate::error::QemuError;
use crate::unix;

/// Memory that can be given away without swapping, in MiB. None where the kernel does not say.
pub(crate) fn available_memory_mib() -> Option<u64> {
    parse_available(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Memory that the host itself needs to stay usable.
const RESERVE_MIB: u64 = 256;

/// Checks that a VM of this size fits. `promised_mib` is what VMs that are just starting will take.
pub(crate) fn require_memory(memory_mib: u32, promised_mib: u64) -> Result<(), QemuError> {
    let Some(available) = available_memory_mib() else { return Ok(()) };
    let need = u64::from(memory_mib) + promised_mib + RESERVE_MIB;
    if available >= need {
        return Ok(());
    }
    Err(QemuError::NoRoom(format!(
        "a VM of {memory_mib} MiB does not fit: {available} MiB of memory are available, {promised_mib} MiB are promised to \
         VMs that are starting, and {RESERVE_MIB} MiB are kept for the host; end other programs or VMs, or ask for less memory"
    )))
}

/// A clone's disk begins empty; with less than this a step could not write anything of size.
const LEAST_DISK_MIB: u64 = 512;

/// Checks that there is some disk for what a VM writes.
pub(crate) fn require_disk(dir: &Path) -> Result<(), QemuError> {
    let free_mib = unix::free_bytes(dir).map_err(QemuError::io("ask for free space of", dir))? >> 20;
    if free_mib >= LEAST_DISK_MIB {
        return Ok(());
    }
    Err(QemuError::NoRoom(format!(
        "{free_mib} MiB of disk are free below {}, and a VM needs at least {LEAST_DISK_MIB} MiB: make room there",
        dir.display()
    )))
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
