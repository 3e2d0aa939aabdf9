//! Places for bulk transfers, whose other end may be slow: output, files, the workspace, what is typed.
//!
//! Control never waits for them. They use no thread that supervision uses, each kind has a number of places, and a
//! transfer that stands still because of its peer loses its own after a [`Stall`]. What finds no place waits for one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// Readers of output at a time.
const READERS: usize = 128;
/// What readers share for the chunks that are made for them, in bytes. Each that stands still holds about three, as large as they
/// were when it stopped, and what is encrypted.
const CHUNKS_BYTES: usize = 2 << 20;
/// One is at least and at most so large. The larger one is, the less often somebody is woken up for the same output.
const CHUNK_LEAST_BYTES: usize = 16 << 10;
const CHUNK_MOST_BYTES: usize = 128 << 10;
/// So much less, because TLS sends 64 KiB at a time, and what HTTP puts around a chunk would go out by itself.
const FRAME_BYTES: usize = 32;
/// Archives that are packed, and unpacked, at a time. Each costs a thread and some MiB.
const PACKED: usize = 4;
const UNPACKED: usize = 4;
/// Terminals that are typed into at a time. Each costs a thread.
const TYPED: usize = 16;

/// How long a bulk transfer may stand still because of its peer, and what is said of that to the connection.
#[derive(Debug, Clone)]
pub(crate) struct Stall {
    pub(crate) within: Duration,
    stuck: CancellationToken,
}

impl Stall {
    /// Of one connection.
    pub(crate) fn new(within: Duration) -> Self {
        Self { within, stuck: CancellationToken::new() }
    }

    /// A reader of this connection does not read. Over HTTP/2 what lies there for it may keep all other answers back.
    pub(crate) fn reader_is_stuck(&self) {
        self.stuck.cancel();
    }

    /// Returns when a reader of this connection does not read.
    pub(crate) async fn stuck(&self) {
        self.stuck.cancelled().await;
    }
}

/// A place for a transfer, taken as long as this lives.
#[derive(Debug)]
pub(crate) struct Slot {
    _taken: Option<OwnedSemaphorePermit>,
}

/// The places of each kind.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    pub(crate) readers: Places,
    pub(crate) packed: Places,
    pub(crate) unpacked: Places,
    pub(crate) typed: Places,
}

impl Bulk {
    /// How large a chunk of output is, with as many readers as there are now.
    pub(crate) fn chunk_bytes(&self) -> usize {
        chunk_bytes(READERS - self.readers.0.available_permits())
    }
}

fn chunk_bytes(readers: usize) -> usize {
    (CHUNKS_BYTES / readers.max(1)).clamp(CHUNK_LEAST_BYTES, CHUNK_MOST_BYTES) - FRAME_BYTES
}

/// The places of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place.
    pub(crate) async fn slot(&self) -> Slot {
        // Nobody closes the semaphore.
        Slot { _taken: Arc::clone(&self.0).acquire_owned().await.ok() }
    }
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            readers: Places::new(READERS),
            packed: Places::new(PACKED),
            unpacked: Places::new(UNPACKED),
            typed: Places::new(TYPED),
        }
    }
}

/// Does blocking work on a thread of its own, and returns where its result comes. The runtime's threads for such work are
/// those that supervision needs, and this may block for as long as a peer likes.
///
/// # Errors
/// When the system has no thread left.
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody may wait for it any more.
        drop(done.send(work()));
    })?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_more_read_the_smaller_are_their_chunks() {
        let bulk = Bulk::default();
        let mut slots = Vec::new();
        let mut before = bulk.chunk_bytes();
        assert_eq!(before, CHUNK_MOST_BYTES - FRAME_BYTES);
        for readers in 1..=READERS {
            slots.push(bulk.readers.slot().await);
            let chunk = bulk.chunk_bytes();
            assert!(chunk <= before && chunk * readers <= CHUNKS_BYTES);
            before = chunk;
        }
        assert_eq!(before, CHUNK_LEAST_BYTES - FRAME_BYTES);
        slots.clear();
        assert_eq!(bulk.chunk_bytes(), CHUNK_MOST_BYTES - FRAME_BYTES);
    }
}
