//! Carries a step's output from its pipe through the mask to the spool, on a thread of its own.
//!
//! The thread never waits for a reader of the spool. After the step has ended it goes on emptying the pipe for a
//! background process that still holds it, so that the process is neither stopped nor killed by a closed pipe; what
//! comes then is dropped.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

use crate::mask::Masker;
use crate::spool::Writer;

const CHUNK_BYTES: usize = 64 * 1024;
const STACK_BYTES: usize = 128 * 1024;

/// The running thread.
pub(super) struct Pump {
    main_ended: PipeWriter,
    done: oneshot::Receiver<()>,
}

struct Worker {
    from: PipeReader,
    main_ended: PipeReader,
    masker: Masker,
    to: Writer,
    drain_grace: Duration,
}

impl Pump {
    /// Starts the thread.
    pub(super) fn start(
        from: PipeReader,
        masker: Masker,
        to: Writer,
        first: Vec<u8>,
        drain_grace: Duration,
    ) -> io::Result<Self> {
        let (main_ended_reader, main_ended) = io::pipe()?;
        let (finished, done) = oneshot::channel();
        let mut worker = Worker { from, main_ended: main_ended_reader, masker, to, drain_grace };
        std::thread::Builder::new().name("pump".into()).stack_size(STACK_BYTES).spawn(move || {
            worker.pass(&first);
            let mut from = worker.run();
            // Nobody waits any more when the agent is being shut down.
            let _ = finished.send(());
            discard(&mut from);
        })?;
        Ok(Self { main_ended, done })
    }

    /// Says that the main process ended, and returns when the spool is complete.
    pub(super) async fn finish(self) {
        drop(self.main_ended);
        // An error means that the thread is gone; then there is no more output either.
        drop(self.done.await);
    }
}

impl Worker {
    fn pass(&mut self, bytes: &[u8]) {
        self.masker.push(bytes, |settled| self.to.write(settled));
    }

    fn run(mut self) -> PipeReader {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut deadline: Option<Instant> = None;
        let mut open = true;
        while open || deadline.is_none() {
            let (readable, ended) = self.ready(open, deadline);
            if ended && deadline.is_none() {
                deadline = Some(Instant::now() + self.drain_grace);
            }
            if readable {
                match self.from.read(&mut buffer) {
                    Ok(0) => open = false,
                    Ok(n) => self.pass(&buffer[..n]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The end of a terminal that nobody holds any more.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => open = false,
                    Err(error) => {
                        tracing::warn!(%error, "cannot read a step's output any more");
                        open = false;
                    }
                }
            }
            if deadline.is_some_and(|at| at <= Instant::now()) {
                break;
            }
        }
        self.masker.finish(|bytes| self.to.write(bytes));
        self.to.finish();
        self.from
    }

    /// Waits until there is output, or the main process ended, or the deadline came.
    fn ready(&self, open: bool, deadline: Option<Instant>) -> (bool, bool) {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::from(u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX))
        });
        let output = PollFd::new(self.from.as_fd(), PollFlags::POLLIN);
        let end = PollFd::new(self.main_ended.as_fd(), PollFlags::POLLIN);
        let mut fds = match (open, deadline) {
            (true, None) => vec![output, end],
            (true, Some(_)) => vec![output],
            (false, _) => vec![end],
        };
        if let Err(error) = poll(&mut fds, timeout) {
            tracing::debug!(%error, "poll was interrupted");
            return (false, false);
        }
        let happened = |fd: Option<&PollFd<'_>>| fd.and_then(|fd| fd.any()).unwrap_or(false);
        match (open, deadline) {
            (true, None) => (happened(fds.first()), happened(fds.get(1))),
            (true, Some(_)) => (happened(fds.first()), false),
            (false, _) => (false, happened(fds.first())),
        }
    }
}

fn discard(from: &mut PipeReader) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
