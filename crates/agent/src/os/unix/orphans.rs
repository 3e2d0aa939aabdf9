//! Children of the agent: its own, which their step waits for, and the orphans of steps, which it adopts.

use std::collections::HashSet;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use super::proc;
use super::spawn::Spawned;
use crate::lock::lock;

/// The main processes of steps, and tools: only who started one may take its exit status. One set for the process,
/// because children belong to the process.
static MAIN: LazyLock<Mutex<HashSet<i32>>> = LazyLock::new(Mutex::default);
/// Shared by those who start a process, so that none which ends at once is taken for an orphan.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a main process.
pub(super) fn spawn(start: impl FnOnce() -> io::Result<Spawned>) -> io::Result<Spawned> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let spawned = start()?;
    lock(&MAIN).insert(spawned.pid);
    Ok(spawned)
}

/// A tool, whose status is its starter's to take as long as this lives.
#[derive(Debug)]
pub(super) struct Tool<T> {
    pub(super) value: T,
    pid: i32,
}

/// Starts a tool of the agent's own. `start` gives it with its number.
pub(super) fn start_tool<T>(start: impl FnOnce() -> io::Result<(T, i32)>) -> io::Result<Tool<T>> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let (value, pid) = start()?;
    lock(&MAIN).insert(pid);
    Ok(Tool { value, pid })
}

impl<T> Drop for Tool<T> {
    fn drop(&mut self) {
        forget(self.pid);
    }
}

/// The exit status of a main process was taken.
pub(super) fn forget(pid: i32) {
    lock(&MAIN).remove(&pid);
}

/// Makes the agent the parent of processes whose own parent ended, and reaps them when they end.
///
/// # Errors
/// When the system does not allow it.
pub async fn adopt() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut ends = signal(SignalKind::child())?;
    while ends.recv().await.is_some() {
        // Many end at once when a tree is killed; one look serves them all.
        tokio::time::sleep(Duration::from_millis(100)).await;
        reap();
    }
    Ok(())
}

fn reap() {
    let _nobody_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let main = lock(&MAIN).clone();
    for pid in proc::children(proc::own()).into_iter().filter(|pid| !main.contains(pid)) {
        // An error means that it was reaped already; without an end nothing happens.
        let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    }
}
