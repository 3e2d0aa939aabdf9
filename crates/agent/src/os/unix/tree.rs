//! The processes of a step, and their end.
//!
//! They are found by cgroup, by ancestry, by process group and session, and by a mark in their environment, so that
//! `setsid`, a double fork or a cleaned environment alone do not hide one.

use std::collections::HashSet;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::cgroup::{Cgroup, Parent};
use crate::ending::Wish;

/// The variable that every process of a step has in its environment.
pub(super) const MARK: &str = "KILN_STEP_MARK";
/// How often the end of the processes is looked for.
const LOOK: Duration = Duration::from_millis(15);
/// How long killing goes on before it is given up: a process in an uninterruptible wait outlives SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The processes of one step, or of all.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    main: Option<i32>,
    /// What to look for in `/proc/PID/environ`.
    needle: Vec<u8>,
    cgroup: Option<Cgroup>,
}

#[derive(Debug)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    zombie: bool,
}

impl Tree {
    /// The tree below `main`.
    pub(super) fn of_step(main: i32, mark: &str, cgroup: Option<Cgroup>) -> Self {
        Self { main: Some(main), needle: format!("{MARK}={mark}\0").into_bytes(), cgroup }
    }

    /// All steps whose marks begin with `mark`.
    pub(super) fn of_all(mark: &str, cgroups: Option<&Parent>) -> Self {
        Self { main: None, needle: format!("{MARK}={mark}-").into_bytes(), cgroup: cgroups.map(Parent::whole) }
    }

    /// The living processes.
    fn members(&self) -> Vec<i32> {
        let all = processes();
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut found: HashSet<i32> =
            self.cgroup.as_ref().map(Cgroup::members).unwrap_or_default().into_iter().collect();
        for p in &all {
            let related = self.main.is_some_and(|main| p.pid == main || p.group == main || p.session == main);
            if related || has(p.pid, &self.needle) {
                found.insert(p.pid);
            }
        }
        // Children of a member are members. A parent may be listed behind its child, hence the loop.
        loop {
            let before = found.len();
            found.extend(all.iter().filter(|p| found.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
            if found.len() == before {
                break;
            }
        }
        let living = all.iter().filter(|p| !p.zombie && p.pid != own && found.contains(&p.pid));
        living.map(|p| p.pid).collect()
    }

    /// Ends everything: SIGTERM, the grace of the wish, SIGKILL. The wish may be hastened meanwhile.
    pub(super) async fn end(&self, mut wish: Wish) {
        let start = Instant::now();
        let mut asked = false;
        loop {
            let grace = wish.borrow_and_update().as_ref().map_or(Duration::ZERO, |stop| stop.grace);
            if !asked && !grace.is_zero() {
                self.signal(Signal::SIGTERM).await;
                asked = true;
            }
            if self.living().await.is_empty() {
                return self.forget();
            }
            if start.elapsed() >= grace {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill().await;
        self.forget();
    }

    async fn kill(&self) {
        let start = Instant::now();
        loop {
            if let Some(cgroup) = &self.cgroup {
                cgroup.kill();
            }
            if self.signal(Signal::SIGKILL).await.is_empty() {
                return;
            }
            if start.elapsed() > KILL_PATIENCE {
                let pids = self.living().await;
                tracing::warn!(?pids, "processes outlive SIGKILL");
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Removes what is left of the cgroup.
    pub(super) fn forget(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }

    async fn living(&self) -> Vec<i32> {
        let tree = self.clone();
        tokio::task::spawn_blocking(move || tree.members()).await.unwrap_or_default()
    }

    async fn signal(&self, signal: Signal) -> Vec<i32> {
        let living = self.living().await;
        for pid in &living {
            match kill(Pid::from_raw(*pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::warn!(pid, %signal, %error, "cannot signal a process"),
            }
        }
        living
    }
}

fn has(pid: i32, needle: &[u8]) -> bool {
    // A process that is gone or not ours to read has no mark that we could see.
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut starts = environ.split_inclusive(|b| *b == 0);
    starts.any(|entry| entry.starts_with(needle))
}

/// The pids of all processes.
fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn processes() -> Vec<Process> {
    pids().into_iter().filter_map(|pid| parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// The zombies whose parent is this process.
pub(super) fn dead_children() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    processes().into_iter().filter(|p| p.zombie && p.parent == own).map(|p| p.pid).collect()
}

/// Reads `/proc/PID/stat`. The name may hold anything, so fields are counted from its last parenthesis.
fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    let zombie = matches!(rest.next()?, "Z" | "X");
    let mut number = || rest.next()?.parse().ok();
    Some(Process { pid, parent: number()?, group: number()?, session: number()?, zombie })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let Some(p) = parse("77 (a) R 1 (b) S 5 6 7 0 -1") else { panic!("not read") };
        assert_eq!((p.pid, p.parent, p.group, p.session, p.zombie), (77, 5, 6, 7, false));
        assert!(parse("").is_none());
    }
}
