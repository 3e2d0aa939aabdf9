//! Children of the agent: its own, which their step waits for, and the orphans of steps, which it adopts.

use std::collections::HashSet;
use std::io;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::proc;
use crate::lock::lock;

/// The main processes of steps: only their step may take their exit status. One set for the process, because
/// children belong to the process.
static MAIN: LazyLock<Mutex<HashSet<i32>>> = LazyLock::new(Mutex::default);

/// Starts a main process. The set is locked meanwhile, so that one which ends at once is not taken for an orphan.
pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, i32)> {
    let mut main = lock(&MAIN);
    let child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).ok_or(io::ErrorKind::Other)?;
    main.insert(pid);
    Ok((child, pid))
}

/// The exit status of a main process was taken.
pub(super) fn forget(pid: i32) {
    lock(&MAIN).remove(&pid);
}

/// Makes the agent the parent of processes whose own parent ended, and reaps them when they end.
pub async fn adopt() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut ends = signal(SignalKind::child())?;
    while ends.recv().await.is_some() {
        // Many end at once when a tree is killed; one look serves them all.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let main = lock(&MAIN);
        let dead = proc::all().into_values().filter(|p| p.zombie && p.parent == proc::own());
        for pid in dead.map(|p| p.pid).filter(|pid| !main.contains(pid)) {
            // An error means that it was reaped already.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
    Ok(())
}
