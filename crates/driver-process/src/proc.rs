//! Processes as the kernel shows them.

use std::fs;

/// The fields of a line of `/proc/PID/stat` that are needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// In clock ticks since the boot of the machine.
    pub(crate) start_time: u64,
}

/// Returns the id of this boot of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns a unique id.
pub(crate) fn random_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default().trim().to_owned()
}

/// Returns the pids of all processes of this machine.
pub(crate) fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Returns the kernel's line on a living process; none for one that has ended, reaped or not.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Stat> {
    // The command's name is in brackets and may itself contain brackets and spaces, so fields are counted from its last
    // bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    let pid = |n: usize| u32::try_from(number(n)?).ok();
    let ended = matches!(*fields.first()?, "Z" | "X");
    if ended { None } else { Some(Stat { parent: pid(1)?, session: pid(3)?, start_time: number(19)? }) }
}

/// Tells whether a process was started with an environment variable that begins with `mark`.
pub(crate) fn has_mark(pid: u32, mark: &str) -> bool {
    // A process that is gone has no visible mark.
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split_inclusive(|b| *b == 0).any(|entry| entry.starts_with(mark.as_bytes()))
}

/// Returns the pids of the living processes with such a variable.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    pids().into_iter().filter(|pid| has_mark(*pid, mark) && stat(*pid).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_and_the_dead() {
        let rest = "3 4 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 9 9";
        let stat = Some(Stat { parent: 3, session: 5, start_time: 4242 });
        assert_eq!(parse(&format!("7 (a) R 1 (b) S {rest}")), stat);
        assert_eq!(parse(&format!("7 (sh) Z {rest}")), None);
        assert_eq!(parse("7 (sh"), None);
    }
}
