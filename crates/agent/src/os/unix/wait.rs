//! Waiting for the end of a child.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::kill;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ending::Exit;

/// A child that nobody else waits for.
#[derive(Debug)]
pub(super) struct Ending {
    pid: i32,
    news: News,
    exit: Option<Exit>,
}

/// What tells that it is time to look.
#[derive(Debug)]
enum News {
    /// The descriptor of the process can be read.
    Process(AsyncFd<OwnedFd>),
    /// Some child has ended. For kernels without such descriptors.
    Any(Signal),
}

impl Ending {
    /// The end of the child of this number, with its descriptor if there is one.
    pub(super) fn of(pid: i32, pidfd: Option<OwnedFd>) -> io::Result<Self> {
        // SAFETY: the descriptor is owned and open, and stays so as long as the value lives.
        let process = pidfd.map(|fd| unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) });
        let news = match process {
            Some(Ok(fd)) => Ok(News::Process(fd)),
            Some(Err(_)) | None => signal(SignalKind::child()).map(News::Any),
        };
        match news {
            Ok(news) => Ok(Self { pid, news, exit: None }),
            Err(error) => {
                // Nobody could wait for it, so it must not run.
                let _ = kill(Pid::from_raw(pid), nix::sys::signal::SIGKILL);
                let _ = waitpid(Pid::from_raw(pid), None);
                Err(error)
            }
        }
    }

    /// Waits for it. May be dropped and asked for again.
    pub(super) async fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            self.exit = reap(self.pid)?;
            if self.exit.is_some() {
                continue;
            }
            match &mut self.news {
                News::Process(fd) => fd.readable().await?.clear_ready(),
                // It ends with the runtime only.
                News::Any(signal) => drop(signal.recv().await),
            }
        }
    }
}

/// Takes the exit status of a child that has ended.
fn reap(pid: i32) -> io::Result<Option<Exit>> {
    let mut status = 0;
    // SAFETY: the pointer is to a live number. The library's own function refuses signals that it does not know.
    match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 if Errno::last() == Errno::EINTR => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some(exit(ExitStatus::from_raw(status)))),
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}
