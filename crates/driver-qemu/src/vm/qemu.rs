//! One QEMU: its process, and the end of what it wrote.
//!
//! ```text
//! tied to its owner:   monitor on a socket pair, console and errors through pipes; the kernel kills it when the owner dies
//! outlives its owner:  monitor on a socket in its directory, console and errors in files there; a session of its own
//! ```

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use kiln_pool::EndKind;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::error::QemuError;
use crate::host::cgroup::{Base, Bounds, Group};
use crate::host::proc::ProcessName;
use crate::host::program::INSTALL_QEMU;
use crate::host::unix;
use crate::vm::console::Tail;
use crate::vm::log::Log;
use crate::vm::machine::{Assembled, Life};
use crate::vm::monitor;
use crate::vm::process::Process;
use crate::vm::qmp::Qmp;
use crate::vm::started::{Started, TheWarden};
use crate::warden::{self, Trouble};

/// How many lines of console or errors are told as evidence.
const EVIDENCE_LINES: usize = 25;
const CONSOLE_FILE: &str = "console.log";
const ERRORS_FILE: &str = "errors.log";

/// A running QEMU. Dropping it kills it, unless it was told to outlive its owner.
#[derive(Debug)]
pub(crate) struct Vm {
    what: String,
    process: Process,
    /// Goes after the process.
    group: Option<Group>,
    console: Output,
    errors: Output,
}

/// What QEMU wrote.
#[derive(Debug)]
enum Output {
    Pipe(Tail),
    File(Arc<Log>),
}

impl Output {
    fn last_lines(&self) -> String {
        match self {
            Self::Pipe(tail) => tail.last_lines(EVIDENCE_LINES),
            Self::File(log) => log.last_lines(EVIDENCE_LINES),
        }
    }
}

/// A QEMU that has been started and has not spoken yet.
#[derive(Debug)]
pub(crate) struct Silent {
    vm: Vm,
    monitor: std::os::unix::net::UnixStream,
    /// Where its warden tells what went wrong.
    warden: Option<std::os::unix::net::UnixStream>,
}

impl Silent {
    pub(crate) fn name(&self) -> &ProcessName {
        self.vm.name()
    }

    /// Waits for the greeting of its monitor. A QEMU that gives none is ended.
    pub(crate) async fn speak(self) -> Result<(Vm, Qmp), QemuError> {
        let Self { vm, monitor, warden } = self;
        let stream = monitor.set_nonblocking(true).and_then(|()| UnixStream::from_std(monitor));
        let stream = stream.map_err(QemuError::io("open the monitor of", &vm.what))?;
        match Qmp::open(stream).await {
            Ok(qmp) => Ok((vm, qmp)),
            Err(error) => {
                vm.end().await;
                if let Some(Trouble { text, lacking: true }) = warden.as_ref().and_then(Trouble::heard) {
                    return Err(QemuError::NotIsolated(text));
                }
                let evidence = format!("{error}; {}", vm.evidence());
                Err(QemuError::VmEnded { what: vm.what.clone(), evidence })
            }
        }
    }
}

impl Vm {
    /// Starts a QEMU that ends with this process. Its command line must have the monitor on standard input and the console on
    /// standard output. Blocks while the kernel loads the program.
    pub(crate) fn spawn(what: &str, assembled: Assembled) -> Result<Silent, QemuError> {
        let program = assembled.command.get_program().to_string_lossy().into_owned();
        let plumbing = |source| QemuError::Io { action: "make pipes for", path: program.clone().into(), source };
        let Started { mut command, inherit, confinement, bounds, orders } =
            Started::of(assembled, Life::Tied).map_err(plumbing)?;
        let (monitor, monitor_end) = std::os::unix::net::UnixStream::pair().map_err(plumbing)?;
        let (console, console_end) = std::io::pipe().map_err(plumbing)?;
        confinement.give(&console_end).map_err(plumbing)?;
        command.stdin(Stdio::from(OwnedFd::from(monitor_end))).stdout(console_end).stderr(Stdio::piped());
        let mut child =
            unix::spawn_tied(command, inherit, unix::Death::Kill).map_err(|source| missing(&program, source))?;
        let (console, errors) = (Some(OwnedFd::from(console)), child.stderr.take().map(OwnedFd::from));
        let process = Process::of_child(child, Vec::new()).map_err(plumbing)?;
        let group = bound(what, bounds, process.name().pid);
        let warden = orders.map(TheWarden::tell).transpose().map_err(plumbing)?;
        let console = Output::Pipe(follow(console).map_err(plumbing)?);
        let errors = Output::Pipe(follow_errors(what, errors).map_err(plumbing)?);
        Ok(Silent { vm: Self { what: what.to_owned(), process, group, console, errors }, monitor, warden })
    }

    /// Starts a QEMU, made to outlive its owner, with its files in `dir`. It does so after [`Vm::outlive`]; until then it is killed
    /// when this value is dropped. Blocks while the kernel loads the program.
    pub(crate) fn spawn_lasting(what: &str, assembled: Assembled, dir: &Path) -> Result<Silent, QemuError> {
        let program = assembled.command.get_program().to_string_lossy().into_owned();
        let plumbing = |source| QemuError::Io { action: "make files for", path: dir.to_owned(), source };
        let Started { mut command, inherit, confinement, bounds, orders } =
            Started::of(assembled, Life::Lasting).map_err(plumbing)?;
        let (listener, monitor) = monitor::listen(dir)?;
        let (console, errors) = logs(dir, Log::create)?;
        command.stdin(Stdio::from(listener));
        let console_end = console.writer().map_err(plumbing)?;
        confinement.give(&console_end).map_err(plumbing)?;
        command.stdout(Stdio::from(console_end));
        command.stderr(Stdio::from(errors.writer().map_err(plumbing)?));
        let child: Child = unix::spawn_lasting(command, inherit).map_err(|source| missing(&program, source))?;
        let process = Process::of_child(child, vec![Arc::clone(&console), Arc::clone(&errors)]).map_err(plumbing)?;
        let group = bound(what, bounds, process.name().pid);
        let warden = orders.map(TheWarden::tell).transpose().map_err(plumbing)?;
        let vm = Self {
            what: what.to_owned(),
            process,
            group,
            console: Output::File(console),
            errors: Output::File(errors),
        };
        Ok(Silent { vm, monitor, warden })
    }

    /// Takes over a VM that an earlier owner has started. None when it is gone.
    pub(crate) fn adopt(what: &str, name: &ProcessName, dir: &Path) -> Result<Option<Self>, QemuError> {
        let (console, errors) = logs(dir, Log::existing)?;
        let process = Process::adopt(name, vec![Arc::clone(&console), Arc::clone(&errors)]);
        let process = process.map_err(QemuError::io("watch the VM of", dir))?;
        let (console, errors) = (Output::File(console), Output::File(errors));
        let group = Group::of_process(name.pid);
        Ok(process.map(|process| Self { what: what.to_owned(), process, group, console, errors }))
    }

    /// From now on it goes on when this value is dropped.
    pub(crate) fn outlive(&mut self) {
        self.process.outlive();
    }

    pub(crate) fn name(&self) -> &ProcessName {
        self.process.name()
    }

    /// Tells whether nothing came on the console so far.
    pub(crate) fn console_is_silent(&self) -> bool {
        match &self.console {
            Output::Pipe(tail) => tail.is_empty(),
            Output::File(log) => log.last_lines(1).is_empty(),
        }
    }

    /// Returns when the kept end of the console holds `needle`. Never, if it does not come or nobody listens.
    pub(crate) async fn console_holds(&self, needle: &str) {
        match &self.console {
            Output::Pipe(tail) => tail.holds(needle).await,
            Output::File(_) => std::future::pending().await,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Waits for the end of the process, and returns its exit status, for people.
    pub(crate) async fn exited(&self) -> String {
        self.process.exited().await
    }

    pub(crate) fn end_kind(&self) -> EndKind {
        self.process.end_kind()
    }

    /// Returns what is known about its end, or its state so far, for people.
    pub(crate) fn evidence(&self) -> String {
        let mut text = self.process.status();
        if self.group.as_ref().is_some_and(|group| group.memory_kills() > 0) {
            text.push_str("; it took more memory than its guest and QEMU itself may have, and the kernel ended it");
        }
        for (title, output) in [("QEMU's errors", &self.errors), ("console", &self.console)] {
            let lines = output.last_lines();
            if !lines.is_empty() {
                text.push_str(&format!("; {title}:\n{lines}"));
            }
        }
        text
    }

    pub(crate) fn console_tail(&self) -> String {
        self.console.last_lines()
    }

    /// Makes the error of a VM that ended when it should have run.
    pub(crate) fn ended_early(&self) -> QemuError {
        QemuError::VmEnded { what: self.what.clone(), evidence: self.evidence() }
    }

    /// Kills it and waits a short while for its end, for a caller that is a thread.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Kills it and waits for its end. SIGKILL also ends a stopped process. Safe to repeat.
    pub(crate) async fn end(&self) {
        self.process.end().await;
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let (true, Some(group)) = (self.process.let_go(), &self.group) {
            group.remove_soon();
        }
    }
}

/// Puts a VM that has just been started into a group of its own, where this host has such.
fn bound(what: &str, bounds: Option<Bounds>, pid: u32) -> Option<Group> {
    let (base, bounds) = (Base::of_host().ok()?, bounds?);
    let made = base.make(what, &bounds).and_then(|group| {
        group.take(pid)?;
        Ok(group)
    });
    made.inspect_err(|error| tracing::warn!(%error, what, "what the VM takes of the host is not bounded")).ok()
}

fn missing(program: &str, source: std::io::Error) -> QemuError {
    QemuError::ProgramMissing { program: program.to_owned(), remedy: INSTALL_QEMU, source }
}

type OpenLog = fn(&Path) -> Result<Log, QemuError>;

fn logs(dir: &Path, open: OpenLog) -> Result<(Arc<Log>, Arc<Log>), QemuError> {
    Ok((Arc::new(open(&dir.join(CONSOLE_FILE))?), Arc::new(open(&dir.join(ERRORS_FILE))?)))
}

/// Reads the last words of a VM that is gone, from its directory.
pub(crate) fn last_words(dir: &Path) -> String {
    let lines = |name| Log::existing(&dir.join(name)).map(|log| log.last_lines(EVIDENCE_LINES)).unwrap_or_default();
    format!("{}\n{}", lines(ERRORS_FILE), lines(CONSOLE_FILE)).trim().to_owned()
}

/// What the VM's warden has to tell is for whoever wonders why a step does not get through.
fn follow_errors(vm: &str, stream: Option<OwnedFd>) -> std::io::Result<Tail> {
    let (tail, vm) = (Tail::new(), vm.to_owned());
    if let Some(fd) = stream {
        let tell = move |line: &str| {
            if let Some(told) = line.strip_prefix(warden::TOLD) {
                tracing::warn!(vm, "{told}");
            }
        };
        tokio::spawn(tail.clone().follow_lines(pipe::Receiver::from_owned_fd(fd)?, tell));
    }
    Ok(tail)
}

fn follow(stream: Option<OwnedFd>) -> std::io::Result<Tail> {
    let tail = Tail::new();
    if let Some(fd) = stream {
        tokio::spawn(tail.clone().follow(pipe::Receiver::from_owned_fd(fd)?));
    }
    Ok(tail)
}
