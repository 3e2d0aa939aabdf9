//! The processes of the machine, as `/proc` shows them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;

/// All that is looked at of `/proc/PID/stat` is within so many bytes: its first 22 fields, which one read gives.
const STAT_BYTES: usize = 512;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// It has ended and waits for its parent to take its exit status.
    pub(super) zombie: bool,
    /// When it started, in ticks since the boot. Numbers are used again; a number with its start is not.
    pub(super) start: u64,
}

impl Process {
    /// What it is found by later: its number and its start.
    pub(super) fn handle(&self) -> String {
        format!("{}/{}", self.pid, self.start)
    }

    /// Reads a handle. Whether the process lives is not known.
    pub(super) fn of_handle(text: &str) -> Option<Self> {
        let (pid, start) = text.split_once('/')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 1)?;
        Some(Self { pid, parent: 0, group: 0, session: 0, zombie: false, start: start.parse().ok()? })
    }

    /// Whether one of these is it, or of the group or session that it led.
    pub(super) fn left_something(&self, all: &HashMap<i32, Self>) -> bool {
        let reused = all.get(&self.pid).is_some_and(|now| now.start != self.start);
        !reused && all.values().any(|p| [p.pid, p.group, p.session].contains(&self.pid))
    }
}

/// All processes by their number.
pub(super) fn all() -> HashMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(find).map(|process| (process.pid, process)).collect()
}

/// The process of this number.
pub(super) fn find(pid: i32) -> Option<Process> {
    let mut stat = [0; STAT_BYTES];
    let read = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut stat).ok()?;
    parse(&stat[..read])
}

/// The children of a process, its zombies too. One quick read, but for kernels that do not list them
/// (`CONFIG_PROC_CHILDREN`).
pub(super) fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists: Vec<String> =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    if lists.is_empty() {
        return all().into_values().filter(|p| p.parent == pid).map(|p| p.pid).collect();
    }
    lists.iter().flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
}

/// Whether an entry of the process's environment begins so. That of a process which is gone, or not ours to read, is
/// empty.
pub(super) fn has_variable(pid: i32, beginning: &[u8]) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split_inclusive(|b| *b == 0).any(|entry| entry.starts_with(beginning))
}

/// The number of the agent's own process.
pub(super) fn own() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Reads `/proc/PID/stat`. The name may hold any bytes, so fields are counted from its last parenthesis.
fn parse(stat: &[u8]) -> Option<Process> {
    let stat = String::from_utf8_lossy(stat);
    let pid = stat.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse().ok();
    let zombie = matches!(*fields.first()?, "Z" | "X");
    let start = fields.get(19)?.parse().ok()?;
    Some(Process { pid, parent: number(1)?, group: number(2)?, session: number(3)?, zombie, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        for name in [&b"(a) R 1 (b"[..], b"\xff\xfe"] {
            let stat = [b"77 (", name, b") S 5 6 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 9876 0 0\n"].concat();
            let p = parse(&stat).expect("a process");
            assert_eq!((p.pid, p.parent, p.group, p.session, p.zombie, p.start), (77, 5, 6, 7, false, 9876));
        }
        assert!(parse(b"").is_none() && parse(b"77 (a) R 1 2").is_none());
    }

    #[test]
    fn handles() {
        let this = find(own()).expect("this process");
        let read = Process::of_handle(&this.handle()).expect("a handle");
        assert_eq!((read.pid, read.start), (this.pid, this.start));
        assert!(read.left_something(&all()));
        // Its number belongs to another one.
        assert!(!Process { start: this.start + 1, ..read }.left_something(&all()));
        for broken in ["", "7", "1/5", "0/5", "-4/5", "7/x", "7/5/5"] {
            assert_eq!(Process::of_handle(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_is_found_with_its_parent() {
        let all = all();
        let this = all[&own()];
        assert_eq!(Some(this), find(own()));
        assert!(all.contains_key(&this.parent) || this.parent == 0);
        assert!(has_variable(own(), b"PATH=") && !has_variable(own(), b"NO_SUCH_VARIABLE_ANYWHERE="));
    }
}
