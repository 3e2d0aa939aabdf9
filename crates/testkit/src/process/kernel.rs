//! Processes as the kernel shows them, and their end.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::error::ProcessError;
use super::record::ProcessName;
use super::unix;

/// How often the end of processes is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// A process in an uninterruptible wait outlives SIGKILL; it is given this long.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A name of this boot of the machine.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process began, in clock ticks since boot. None when it has ended.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_time)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    session: u32,
    start_time: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// None for one that has ended and was not reaped.
fn parse(stat: &str) -> Option<Stat> {
    // The command's name is in brackets and may hold anything, brackets and spaces too: count from its last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    let pid = |n: usize| u32::try_from(number(n)?).ok();
    let ended = matches!(*fields.first()?, "Z" | "X");
    if ended { None } else { Some(Stat { parent: pid(1)?, session: pid(3)?, start_time: number(19)? }) }
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The processes that have a variable in their environment that begins so.
pub(super) fn marked(mark: &str) -> Vec<u32> {
    let marked = |pid: &u32| has(*pid, mark.as_bytes()) && start_time(*pid).is_some();
    pids().into_iter().filter(marked).collect()
}

/// The processes with this text in their command line.
pub(super) fn with_arguments(text: &str) -> Vec<u32> {
    let own = std::process::id();
    let named = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != own && String::from_utf8_lossy(&line).contains(text)
    };
    pids().into_iter().filter(|pid| named(pid) && start_time(*pid).is_some()).collect()
}

fn has(pid: u32, mark: &[u8]) -> bool {
    // A process that is gone has no mark that we could see.
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split_inclusive(|b| *b == 0).any(|entry| entry.starts_with(mark))
}

/// The living processes of an instance: those with its mark, those of its agent's session, and all that descend of them.
fn members(agent: Option<u32>, mark: &str) -> HashSet<u32> {
    let all: HashMap<u32, Stat> = pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let own = |pid: u32, stat: &Stat| Some(pid) == agent || Some(stat.session) == agent || has(pid, mark.as_bytes());
    let mut found: HashSet<u32> = all.iter().filter(|(pid, stat)| own(**pid, stat)).map(|(pid, _)| *pid).collect();
    loop {
        let children = all.iter().filter(|(_, stat)| found.contains(&stat.parent)).map(|(pid, _)| *pid);
        let more: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Ends every process of an instance, its agent last: orphans of steps stay the agent's children as long as it lives, so
/// none of them gets away.
pub(super) fn end(agent: Option<&ProcessName>, mark: &str) -> Result<(), ProcessError> {
    let agent = agent.filter(|agent| agent.lives());
    let pid = agent.map(|agent| agent.pid);
    if let Some(agent) = agent {
        signal(agent, Signal::STOP);
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        let mut left: Vec<u32> = members(pid, mark).into_iter().filter(|member| Some(*member) != pid).collect();
        for member in &left {
            // It is a member by what it is now, not by a pid that was remembered.
            if let Some(member) = i32::try_from(*member).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile; whether it has is looked at.
                let _ = kill_process(member, Signal::KILL);
            }
        }
        if left.is_empty() {
            match agent.filter(|agent| agent.lives()) {
                Some(agent) => {
                    signal(agent, Signal::KILL);
                    left.push(agent.pid);
                }
                None => return Ok(()),
            }
        }
        if Instant::now() > deadline {
            return Err(ProcessError::Immortal(left));
        }
        std::thread::sleep(LOOK);
    }
}

/// Through a descriptor, which never comes to mean another process.
fn signal(process: &ProcessName, signal: Signal) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
        && process.lives()
    {
        // It may have ended meanwhile; whether it has is looked at.
        let _ = pidfd_send_signal(fd, signal);
    }
}

/// Waits for the end of a process, which need not be our child.
pub(super) async fn ended(process: &ProcessName) -> io::Result<()> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let fd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(fd) => unix::readable(fd)?,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if process.lives() {
        fd.readable().await?.retain_ready();
    }
    Ok(())
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
