//! The reading end of a step's output.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a step prints, and the news that its command ended.
#[derive(Debug)]
pub(crate) struct Output {
    from: PipeReader,
    open: bool,
    /// Its other end is closed when the command has ended; none once that was told.
    command: Option<PipeReader>,
}

/// What the pipe of a step holds that prints much, in bytes. It is what an unprivileged process may have.
const WIDE_BYTES: i32 = 1 << 20;

/// Dropping it tells the reader that the command has ended.
#[derive(Debug)]
pub(crate) struct CommandRuns {
    _open: PipeWriter,
}

/// What happened to an output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// So many bytes were read.
    Bytes(usize),
    /// The command has ended; told once.
    CommandEnded,
    /// Nobody holds the other end any more; told once.
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
                    // The end of a terminal that nobody holds any more is told by EIO.
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

    /// Lets the pipe hold more, so that the step goes on printing meanwhile. False where it cannot, as a terminal.
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

    /// Whether there is output, or its end, and whether the command ended.
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
