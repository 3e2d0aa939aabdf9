//! The reading end of a step's output.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The output of a step, and the signal that its command has ended.
#[derive(Debug)]
pub(crate) struct Output {
    from: PipeReader,
    open: bool,
    /// Its other end is closed when the command has ended; `None` once that was reported.
    command: Option<PipeReader>,
}

/// Capacity of the pipe of a step that prints much, in bytes. It is the limit for an unprivileged process.
const WIDE_BYTES: i32 = 1 << 20;

/// Dropping it tells the reader that the command has ended.
#[derive(Debug)]
pub(crate) struct CommandRuns {
    _open: PipeWriter,
}

/// Events of an output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// This number of bytes was read.
    Bytes(usize),
    /// The command has ended; reported once.
    CommandEnded,
    /// Nobody holds the other end any more; reported once.
    Closed,
    /// Nothing.
    TimeOut,
}

impl Output {
    /// Reads from the end of a pipe or terminal.
    pub(crate) fn new(from: PipeReader) -> io::Result<(Self, CommandRuns)> {
        let (command, writer) = io::pipe()?;
        Ok((Self { from, open: true, command: Some(command) }, CommandRuns { _open: writer }))
    }

    /// Waits for the next news, no longer than `until`. When all was told, that is what it waits for.
    pub(crate) fn next(&mut self, buffer: &mut [u8], until: Option<Instant>) -> News {
        loop {
            let (readable, ended) = self.ready(until);
            if ended {
                self.command = None;
                return News::CommandEnded;
            }
            if readable {
                match self.from.read(buffer) {
                    Ok(n) if n > 0 => return News::Bytes(n),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // A terminal reports with EIO that nobody holds its other end any more.
                    Err(error) if error.raw_os_error() != Some(nix::libc::EIO) => {
                        tracing::warn!(%error, "cannot read a step's output any more");
                    }
                    Ok(_) | Err(_) => {}
                }
                self.open = false;
                return News::Closed;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return News::TimeOut;
            }
        }
    }

    /// Enlarges the pipe, so that the step can go on printing meanwhile. Returns false if that is not possible, as for
    /// a terminal.
    pub(crate) fn widen(&self) -> bool {
        fcntl(&self.from, FcntlArg::F_SETPIPE_SZ(WIDE_BYTES)).is_ok()
    }

    /// Empties the pipe until nobody holds its other end.
    pub(crate) fn discard(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.from.read(&mut buffer) {
                Ok(n) if n > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Returns whether there is output, or its end, and whether the command has ended.
    fn ready(&self, until: Option<Instant>) -> (bool, bool) {
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::from(u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX))
        });
        let output = self.open.then(|| PollFd::new(self.from.as_fd(), PollFlags::POLLIN));
        let command = self.command.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = output.into_iter().chain(command).collect();
        if let Err(error) = poll(&mut fds, timeout) {
            tracing::debug!(%error, "poll was interrupted");
            return (false, false);
        }
        let mut happened = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let readable = self.open && happened.next().unwrap_or(false);
        (readable, self.command.is_some() && happened.next().unwrap_or(false))
    }
}
