//! Carries a step's output through the mask to the spool, on a thread of its own.
//!
//! The thread never waits for a reader of the spool. After the step has ended it goes on emptying it for what
//! was left in the background and still holds it, so that this is neither stopped nor ended by a closed output; what
//! comes then is dropped.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::crew;
use super::pace::Pace;
use super::secrets_file::SecretsFile;
use crate::os::output::{CommandRuns, News, Output};
use crate::spool::Writer;
use kiln_mask::Masker;

/// The running thread.
pub(super) struct Pump {
    runs: CommandRuns,
    done: oneshot::Receiver<()>,
}

struct Worker {
    from: Output,
    written_down: SecretsFile,
    masker: Masker,
    to: Writer,
    drain_grace: Duration,
}

impl Pump {
    /// Starts the thread.
    pub(super) fn start(
        (from, runs): (Output, CommandRuns),
        (masker, written_down): (Masker, SecretsFile),
        to: Writer,
        first: Vec<u8>,
        drain_grace: Duration,
    ) -> io::Result<Self> {
        let (finished, done) = oneshot::channel();
        let mut worker = Worker { from, written_down, masker, to, drain_grace };
        crew::run(Box::new(move |buffer| {
            worker.pass(&first);
            let mut from = worker.run(buffer);
            // Nobody waits any more when the agent is being shut down.
            let _ = finished.send(());
            from.discard();
        }))?;
        Ok(Self { runs, done })
    }

    /// Says that the command ended, and returns when the spool is complete.
    pub(super) async fn finish(self) {
        drop(self.runs);
        // An error means that the thread is gone; then there is no more output either.
        drop(self.done.await);
    }
}

impl Worker {
    fn pass(&mut self, bytes: &[u8]) {
        self.masker.push(bytes, |settled| self.to.write(settled));
    }

    fn run(mut self, buffer: &mut [u8]) -> Output {
        let mut deadline: Option<Instant> = None;
        let mut open = true;
        let mut pace = Pace::default();
        while open || deadline.is_none() {
            match self.from.next(buffer, deadline) {
                News::Bytes(n) => {
                    self.written_down.look();
                    self.pass(&buffer[..n]);
                    if let Some(pause) = pace.pause(n, n < buffer.len(), Instant::now(), || self.from.widen()) {
                        std::thread::sleep(pause);
                    }
                }
                News::CommandEnded => deadline = Some(Instant::now() + self.drain_grace),
                News::Closed => open = false,
                News::TimeOut => {}
            }
            if deadline.is_some_and(|at| at <= Instant::now()) {
                break;
            }
        }
        self.masker.finish(|bytes| self.to.write(bytes));
        self.to.finish();
        self.from
    }
}
