//! Threads for output. One that is done waits a little for the next step: to start a thread costs more than to carry what
//! a short step prints.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::lock::lock;

/// What a thread does, with its buffer.
pub(super) type Work = Box<dyn FnOnce(&mut [u8]) + Send>;

/// Bytes of a thread's buffer. Of one so large, memory is taken only as far as it was ever filled, and given back with it.
const BUFFER_BYTES: usize = 256 * 1024;
const STACK_BYTES: usize = 128 * 1024;
/// How long a thread waits for the next step.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most threads that wait. One costs some 12 KiB, and what its buffer was filled with.
const MOST_IDLE: usize = 64;

/// Those that wait; the one that waits since last goes first.
static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());
static THREADS: AtomicU64 = AtomicU64::new(0);

struct Idle {
    thread: u64,
    next: Sender<Work>,
}

/// Does it on a thread of its own.
///
/// # Errors
/// When none can be started.
pub(super) fn run(mut work: Work) -> io::Result<()> {
    // In a statement of its own, so that nobody waits for the lock while a thread is started.
    while let Some(idle) = { lock(&IDLE).pop() } {
        match idle.next.send(work) {
            Ok(()) => return Ok(()),
            Err(refused) => work = refused.0,
        }
    }
    let thread = THREADS.fetch_add(1, Ordering::Relaxed);
    std::thread::Builder::new().name("pump".into()).stack_size(STACK_BYTES).spawn(move || {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut next = Some(work);
        while let Some(work) = next {
            work(&mut buffer);
            next = wait(thread);
        }
    })?;
    Ok(())
}

/// The next work of a thread; none when it has waited long enough.
fn wait(thread: u64) -> Option<Work> {
    let (next, work): (Sender<Work>, Receiver<Work>) = channel();
    {
        let mut idle = lock(&IDLE);
        if idle.len() >= MOST_IDLE {
            return None;
        }
        idle.push(Idle { thread, next });
    }
    match work.recv_timeout(PATIENCE) {
        Ok(work) => Some(work),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            let mut idle = lock(&IDLE);
            let waits = idle.iter().position(|idle| idle.thread == thread);
            if let Some(at) = waits {
                idle.remove(at);
                return None;
            }
            drop(idle);
            // Somebody has taken it from the list just now, and brings work.
            work.recv().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_at_once_are_done_side_by_side_and_later_ones_by_the_same_threads() {
        let (done, ends) = channel();
        let before = THREADS.load(Ordering::Relaxed);
        let round = |of: usize| {
            let gates: Vec<Sender<()>> = (0..of)
                .map(|_| {
                    let (gate, opened) = channel::<()>();
                    let done = done.clone();
                    run(Box::new(move |buffer| {
                        let _ = opened.recv();
                        done.send((std::thread::current().id(), buffer.len())).expect("somebody who waits");
                    }))
                    .expect("a thread");
                    gate
                })
                .collect();
            // All run by now, or wait for a thread, and none ends before its gate is opened.
            assert!(ends.try_recv().is_err());
            drop(gates);
            (0..of).map(|_| ends.recv().expect("an end")).collect::<Vec<_>>()
        };
        let first = round(8);
        assert!(first.iter().all(|(_, len)| *len == BUFFER_BYTES));
        let threads: std::collections::HashSet<_> = first.iter().map(|(thread, _)| thread).collect();
        assert_eq!(threads.len(), 8);
        for _ in 0..50 {
            round(4);
        }
        // Other tests of this process start some too.
        let started = THREADS.load(Ordering::Relaxed) - before;
        assert!(started < 100, "{started} threads for 208 works");
    }
}
