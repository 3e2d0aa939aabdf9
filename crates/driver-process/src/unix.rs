//! Starts processes that outlive this one, and waits for the end of processes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{nice, setsid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Starts a child in a session of its own, so that neither a terminal nor a signal to our group reaches it, with
/// `nicer` added to the nice value. Returns its pid. It is reaped if it ends during the life of this process.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn spawn_lasting(mut command: Command, nicer: u8) -> io::Result<u32> {
    let ready = move || {
        setsid()?;
        Ok(nice(nicer.into()).map(drop)?)
    };
    // SAFETY: between fork and exec the closure only makes system calls, which is async-signal-safe, and allocates
    // nothing.
    unsafe { command.pre_exec(ready) };
    // tokio reaps children whose handle was dropped.
    let child = tokio::process::Command::from(command).spawn()?;
    child.id().ok_or_else(|| io::Error::other("the child has no pid"))
}

/// Returns a descriptor that can be awaited until it is readable.
///
/// # Errors
/// When the runtime cannot watch it.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and unchanged for as long as the value that watches it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}
