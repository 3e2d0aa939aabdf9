//! The process of one VM: a child of this process, or one that an earlier owner has started.

use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use kiln_pool::EndKind;
use tokio::sync::watch;

use crate::host::proc::ProcessName;
use crate::host::unix::PidFd;
use crate::vm::log::Log;

/// How often what a VM writes is looked at for its size.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// A killed process is gone within milliseconds; a thread is not held up longer than this for one that hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// The end of a process that is not a child of this one has no status here.
const UNSEEN: &str = "it ended; its exit status is unknown, because the process that started it is gone";

/// How a process ended.
#[derive(Debug, Clone)]
struct Exit {
    kind: EndKind,
    text: String,
}

impl Exit {
    fn of(waited: Option<std::io::Result<ExitStatus>>) -> Self {
        match waited {
            // QEMU exits in order when its guest powers itself off.
            Some(Ok(status)) if status.success() => Self { kind: EndKind::PoweredOff, text: status.to_string() },
            Some(Ok(status)) => Self { kind: EndKind::Crashed, text: status.to_string() },
            Some(Err(error)) => Self { kind: EndKind::Unknown, text: format!("its exit status is unknown ({error})") },
            None => Self { kind: EndKind::Unknown, text: UNSEEN.to_owned() },
        }
    }
}

/// A process. Dropping it kills it, unless it was told to outlive its owner.
#[derive(Debug)]
pub(crate) struct Process {
    name: ProcessName,
    handle: Arc<PidFd>,
    exit: watch::Receiver<Option<Exit>>,
    outlives_us: bool,
}

impl Process {
    /// Takes over a child, which ends with this value unless [`Process::outlive`] is called. `logs` are kept short.
    pub(crate) fn of_child(mut child: Child, logs: Vec<Arc<Log>>) -> std::io::Result<Self> {
        let name = ProcessName::of(child.id());
        let handle = match PidFd::open(child.id()) {
            Ok(handle) => Arc::new(handle),
            Err(error) => {
                // It is a child that is not reaped, so its pid is its own; the first error is the one to tell.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        let exit = watch_exit(Arc::clone(&handle), Some(child), logs).inspect_err(|_| end(&handle))?;
        Ok(Self { name, handle, exit, outlives_us: false })
    }

    /// Takes over a process that is no child of this one and goes on without it. None when it is gone.
    pub(crate) fn adopt(name: &ProcessName, logs: Vec<Arc<Log>>) -> std::io::Result<Option<Self>> {
        let Ok(handle) = PidFd::open(name.pid) else { return Ok(None) };
        // Asked after the opening: what the descriptor means now, it means for ever.
        if !name.lives() {
            return Ok(None);
        }
        let handle = Arc::new(handle);
        let exit = watch_exit(Arc::clone(&handle), None, logs)?;
        Ok(Some(Self { name: name.clone(), handle, exit, outlives_us: true }))
    }

    pub(crate) fn name(&self) -> &ProcessName {
        &self.name
    }

    /// Kills it, unless it was told to outlive its owner. Tells whether it has ended.
    pub(crate) fn let_go(&self) -> bool {
        if !self.outlives_us {
            self.kill();
        }
        self.handle.ended_within(Some(Duration::ZERO)).unwrap_or(true)
    }

    /// From now on it goes on when this value is dropped.
    pub(crate) fn outlive(&mut self) {
        self.outlives_us = true;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Returns how it ended, for people, or that it runs.
    pub(crate) fn status(&self) -> String {
        self.exit.borrow().as_ref().map_or_else(|| "still running".to_owned(), |exit| exit.text.clone())
    }

    /// How it ended; unknown while it runs.
    pub(crate) fn end_kind(&self) -> EndKind {
        self.exit.borrow().as_ref().map_or(EndKind::Unknown, |exit| exit.kind)
    }

    /// Waits for its end, and returns its exit status, for people.
    pub(crate) async fn exited(&self) -> String {
        match self.exit.clone().wait_for(Option::is_some).await {
            Ok(exit) => exit.as_ref().map(|exit| exit.text.clone()).unwrap_or_default(),
            Err(_) => "its exit status is unknown".to_owned(),
        }
    }

    /// Kills it and waits for its end, a short while at most, on this thread.
    pub(crate) fn kill(&self) {
        end(&self.handle);
        // One that hangs in the kernel shows as a leftover.
        let _ = self.handle.ended_within(Some(KILL_LIMIT));
    }

    /// Kills it and waits for its end. SIGKILL also ends a stopped process. Safe to repeat.
    pub(crate) async fn end(&self) {
        end(&self.handle);
        self.exited().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its files are removed next, and whoever gave it up is told that it is gone.
        self.let_go();
    }
}

fn end(handle: &PidFd) {
    if let Err(error) = handle.kill() {
        tracing::warn!(%error, "a VM cannot be ended");
    }
}

/// Waits on a thread of its own, so that the end is seen, and a child reaped, whatever the runtime does.
fn watch_exit(
    handle: Arc<PidFd>,
    child: Option<Child>,
    logs: Vec<Arc<Log>>,
) -> std::io::Result<watch::Receiver<Option<Exit>>> {
    let (ended, exit) = watch::channel(None);
    let pause = (!logs.is_empty()).then_some(TRIM_EVERY);
    let body = move || {
        while let Ok(false) = handle.ended_within(pause) {
            for log in &logs {
                log.trim();
            }
        }
        let exit = Exit::of(child.map(|mut child| child.wait()));
        // Nobody may be listening any more.
        let _ = ended.send(Some(exit));
    };
    std::thread::Builder::new().name("kiln-vm".to_owned()).spawn(body)?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::host::proc;

    fn child() -> Child {
        Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep")
    }

    #[tokio::test]
    async fn the_end_of_a_child_and_of_an_adopted_process_is_seen() {
        let process = Process::of_child(child(), Vec::new()).expect("a process");
        let adopted = Process::adopt(process.name(), Vec::new()).expect("a watcher").expect("it lives");
        assert!(process.is_running() && adopted.is_running());
        adopted.end().await;
        assert_eq!(process.exited().await, "signal: 9 (SIGKILL)");
        assert_eq!(adopted.status(), UNSEEN);
        assert!(Process::adopt(process.name(), Vec::new()).expect("no watcher").is_none(), "it is gone");
    }

    #[tokio::test]
    async fn dropping_ends_what_was_not_told_to_outlive_us() {
        for outlives in [false, true] {
            let mut process = Process::of_child(child(), Vec::new()).expect("a process");
            let name = process.name().clone();
            let seen = Process::adopt(&name, Vec::new()).expect("a watcher").expect("it lives");
            if outlives {
                process.outlive();
                drop(process);
                assert_eq!(proc::start_time(name.pid), name.start_time, "it was ended");
                seen.end().await;
            } else {
                drop(process);
            }
            assert!(!name.lives());
            seen.exited().await;
        }
    }

    #[tokio::test]
    async fn another_process_with_the_same_pid_is_not_taken_for_it() {
        let process = Process::of_child(child(), Vec::new()).expect("a process");
        let other = ProcessName { start_time: process.name().start_time.map(|t| t + 1), ..process.name().clone() };
        assert!(Process::adopt(&other, Vec::new()).expect("no watcher").is_none());
    }
}
