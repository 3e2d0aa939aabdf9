//! Starting a process that goes on without us, and waiting for the end of one.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Starts a child in a session of its own, so that neither a terminal nor a signal to our group reaches it. The pid. It is
/// reaped when it ends while we live.
///
/// # Errors
/// When it cannot be started.
pub(super) fn spawn_lasting(mut command: Command) -> io::Result<u32> {
    // SAFETY: between fork and exec the closure only calls setsid, which is async-signal-safe, and it allocates nothing.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
    // tokio reaps children whose handle was dropped.
    let child = tokio::process::Command::from(command).spawn()?;
    child.id().ok_or_else(|| io::Error::other("the child has no pid"))
}

/// A descriptor whose being readable can be waited for.
///
/// # Errors
/// When the runtime cannot watch it.
pub(super) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open, and the same, as long as the value that watches it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}
