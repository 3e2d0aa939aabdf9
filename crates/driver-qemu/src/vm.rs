//! One running QEMU: its process, its monitor, and the end of what it wrote.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::console::Tail;
use crate::error::QemuError;
use crate::qmp::Qmp;
use crate::{host, unix};

/// How many lines of console or errors are told as evidence.
const EVIDENCE_LINES: usize = 25;

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Vm {
    what: String,
    child: Arc<Mutex<Child>>,
    pid: u32,
    start_time: Option<u64>,
    exit: watch::Receiver<Option<String>>,
    console: Tail,
    errors: Tail,
    /// The monitor, one user at a time.
    pub(crate) qmp: tokio::sync::Mutex<Qmp>,
}

impl Vm {
    /// Starts `command`, which must have its monitor on standard input and its console on standard output. The
    /// descriptors of `inherit` keep their numbers in the child.
    pub(crate) async fn start(what: &str, mut command: Command, inherit: Vec<OwnedFd>) -> Result<Self, QemuError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let plumbing = |source| QemuError::Io { action: "make pipes for", path: program.clone().into(), source };
        let (monitor, monitor_end) = std::os::unix::net::UnixStream::pair().map_err(plumbing)?;
        monitor.set_nonblocking(true).map_err(plumbing)?;
        command.stdin(Stdio::from(OwnedFd::from(monitor_end))).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = unix::spawn_tied(command, inherit, unix::Death::Kill).map_err(|source| {
            QemuError::ProgramMissing { program: program.clone(), remedy: crate::doctor::INSTALL_QEMU, source }
        })?;
        let console = follow(child.stdout.take().map(OwnedFd::from)).map_err(plumbing)?;
        let errors = follow(child.stderr.take().map(OwnedFd::from)).map_err(plumbing)?;
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        let mut process = Process { child: Arc::clone(&child), armed: true };
        let exit = watch_exit(pid, Arc::clone(&child)).map_err(plumbing)?;
        let stream = UnixStream::from_std(monitor).map_err(plumbing)?;
        let qmp = match Qmp::open(stream).await {
            Ok(qmp) => qmp,
            Err(error) => {
                let mut exit = exit;
                kill(&child);
                let status = exited(&mut exit).await;
                let evidence = format!("{error}; {}", evidence_of(&status, &errors, &console));
                return Err(QemuError::VmEnded { what: what.to_owned(), evidence });
            }
        };
        process.armed = false;
        let start_time = host::start_time(pid);
        Ok(Self { what: what.to_owned(), child, pid, start_time, exit, console, errors, qmp: qmp.into() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn start_time(&self) -> Option<u64> {
        self.start_time
    }

    pub(crate) fn console(&self) -> &Tail {
        &self.console
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for the end of the process; its exit status for people.
    pub(crate) async fn exited(&self) -> String {
        exited(&mut self.exit.clone()).await
    }

    /// What is known about its end, or its state so far.
    pub(crate) fn evidence(&self) -> String {
        let status = self.exit.borrow().clone().unwrap_or_else(|| "still running".to_owned());
        evidence_of(&status, &self.errors, &self.console)
    }

    pub(crate) fn console_tail(&self) -> String {
        self.console.last_lines(EVIDENCE_LINES)
    }

    /// The error of a VM that ended when it should have run.
    pub(crate) fn ended_early(&self) -> QemuError {
        QemuError::VmEnded { what: self.what.clone(), evidence: self.evidence() }
    }

    /// Kills it and waits for its end. SIGKILL also ends a stopped process. Safe to repeat.
    pub(crate) async fn end(&self) {
        kill(&self.child);
        self.exited().await;
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        kill(&self.child);
    }
}

/// Kills a child whose start was given up half-way.
struct Process {
    child: Arc<Mutex<Child>>,
    armed: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.armed {
            kill(&self.child);
        }
    }
}

fn kill(child: &Mutex<Child>) {
    // The only error is that it ended already. The pid cannot be another's: only the watcher reaps, under this lock.
    let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
}

async fn exited(exit: &mut watch::Receiver<Option<String>>) -> String {
    match exit.wait_for(Option::is_some).await {
        Ok(status) => status.clone().unwrap_or_default(),
        Err(_) => "its exit status is unknown".to_owned(),
    }
}

fn evidence_of(status: &str, errors: &Tail, console: &Tail) -> String {
    let mut text = status.to_owned();
    for (title, tail) in [("QEMU's errors", errors), ("console", console)] {
        let lines = tail.last_lines(EVIDENCE_LINES);
        if !lines.is_empty() {
            text.push_str(&format!("; {title}:\n{lines}"));
        }
    }
    text
}

fn follow(stream: Option<OwnedFd>) -> std::io::Result<Tail> {
    let tail = Tail::new();
    if let Some(fd) = stream {
        tokio::spawn(tail.clone().follow(pipe::Receiver::from_owned_fd(fd)?));
    }
    Ok(tail)
}

/// Waits on a thread of its own, so that the end is seen whatever the runtime does.
fn watch_exit(pid: u32, child: Arc<Mutex<Child>>) -> std::io::Result<watch::Receiver<Option<String>>> {
    let (ended, exit) = watch::channel(None);
    let body = move || {
        unix::wait_without_reaping(pid);
        let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let text = status.map_or_else(|error| format!("its exit status is unknown ({error})"), |s| s.to_string());
        // Nobody may be listening any more.
        let _ = ended.send(Some(text));
    };
    std::thread::Builder::new().name(format!("kiln-vm-{pid}")).spawn(body)?;
    Ok(exit)
}
