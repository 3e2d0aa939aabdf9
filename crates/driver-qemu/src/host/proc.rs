//! What the host is and has, from /proc. Each fact is read when asked for; nothing is remembered.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The host's memory in MiB. None where the kernel does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total: Option<u64>,
    /// What can be given away without swapping.
    pub(crate) available: Option<u64>,
}

/// Reads the host's memory as it is now.
pub(crate) fn memory_mib() -> Memory {
    parse_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn parse_memory(meminfo: &str) -> Memory {
    let mib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    Memory { total: mib("MemTotal"), available: mib("MemAvailable") }
}

/// A new random id: lower-case letters, digits and hyphens.
pub(crate) fn random_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default().trim().to_owned()
}

/// Returns the name of this boot of the host; empty where the kernel gives none.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns what a guest with this host's processor sees of it: all that decides which features it has.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}kernel {release}", described(&text))
}

/// The lines about the first processor that are the same whenever they are read.
fn described(cpuinfo: &str) -> String {
    const STEADY: [&str; 7] = ["vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"];
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    let steady = |line: &&str| STEADY.contains(&line.split(':').next().unwrap_or_default().trim());
    first.lines().filter(steady).map(|line| format!("{line}\n")).collect()
}

/// Returns when a process began, in clock ticks since boot: with the pid it names a process for one boot. None when it is gone.
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

/// Lists the pids of all processes that this user may see.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns the words of a process's command line; one empty word when it is gone.
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

/// Opens for reading a file that a process has open, also one that has no name any more. None where the process has not, or this
/// one may not look.
pub(crate) fn opened(pid: u32, path: &Path) -> Option<File> {
    let removed = format!("{} (deleted)", path.display());
    let is_it = |to: PathBuf| to == path || to.as_os_str() == removed.as_str();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().map(|entry| entry.path());
    let found = descriptors.into_iter().find(|descriptor| fs::read_link(descriptor).is_ok_and(is_it))?;
    File::open(found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_described_by_what_stays() {
        let text =
            "processor\t: 0\nmodel\t\t: 6\ncpu MHz\t\t: 1200.1\nflags\t\t: fpu vmx\n\nprocessor\t: 1\nmodel\t\t: 7\n";
        assert_eq!(described(text), "model\t\t: 6\nflags\t\t: fpu vmx\n");
        assert_eq!(processor(), processor());
    }

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
    fn a_file_without_a_name_is_found_with_who_has_it_open() {
        use std::io::{Read as _, Write as _};
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().canonicalize().expect("a path").join("disk");
        let pid = std::process::id();
        assert!(opened(pid, &path).is_none());
        let mut file = File::create(&path).expect("create");
        file.write_all(b"text").expect("write");
        fs::remove_file(&path).expect("remove");
        let mut text = String::new();
        opened(pid, &path).expect("it is open").read_to_string(&mut text).expect("read");
        assert_eq!(text, "text");
    }

    #[test]
    fn our_own_start_time_is_stable() {
        let pid = std::process::id();
        assert!(start_time(pid).is_some());
        assert_eq!(start_time(pid), start_time(pid));
    }

    #[test]
    fn memory_is_told_in_mib() {
        let check =
            |text: &str, total, available| assert_eq!(parse_memory(text), Memory { total, available }, "{text}");
        check("MemTotal: 4194304 kB\nMemAvailable:    2097152 kB\n", Some(4096), Some(2048));
        check("MemTotalX: 9 kB\n", None, None);
    }
}
