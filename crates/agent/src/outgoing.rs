//! Bodies of answers that are made while their reader takes them.
//!
//! A reader that takes nothing for a while costs its place: what makes the body ends with an error, and what it held is
//! free. So a reader that stands still holds up nobody for long, and can ask again from where it was.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::unfold;
use tokio::sync::{mpsc, oneshot};

use crate::bulk::Stall;

/// The end of a body at which it is made.
pub(crate) struct Outgoing {
    chunks: mpsc::Sender<Bytes>,
    outcome: oneshot::Sender<io::Result<()>>,
    stall: Stall,
}

/// Room for one chunk.
pub(crate) type Room<'a> = mpsc::Permit<'a, Bytes>;

/// A body of at most one chunk that is made and not taken yet. A reader that takes none for too long is given up.
pub(crate) fn body(stall: Stall) -> (Outgoing, Body) {
    let (chunks, made) = mpsc::channel(1);
    let (outcome, told) = oneshot::channel();
    let stream = unfold((made, Some(told)), |(mut made, told)| async move {
        if let Some(chunk) = made.recv().await {
            return Some((Ok(chunk), (made, told)));
        }
        let cut = || io::Error::other("the body was not made to its end");
        match told?.await.unwrap_or_else(|_| Err(cut())) {
            Ok(()) => None,
            Err(error) => Some((Err(error), (made, None))),
        }
    });
    (Outgoing { chunks, outcome, stall }, Body::from_stream(stream))
}

impl Outgoing {
    /// Waits until the chunk before was taken, so that no other is made while the reader stands still.
    ///
    /// # Errors
    /// When the reader is gone, or has taken nothing for too long.
    pub(crate) async fn room(&self) -> io::Result<Room<'_>> {
        match tokio::time::timeout(self.stall.within, self.chunks.reserve()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => {
                tracing::info!("a reader that does not read is given up");
                self.stall.reader_is_stuck();
                Err(io::Error::new(io::ErrorKind::TimedOut, "the reader does not read"))
            }
        }
    }

    /// Returns when the reader is gone.
    pub(crate) async fn gone(&self) {
        self.chunks.closed().await;
    }

    /// Ends the body: whole, or broken off with an error.
    pub(crate) fn end(self, outcome: io::Result<()>) {
        // A reader that is gone needs not be told.
        drop(self.outcome.send(outcome));
    }
}
