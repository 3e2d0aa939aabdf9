//! Joins blocking readers and writers to bodies.

use std::io::{self, Read, Write};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

/// Chunks that may wait between the two sides.
const QUEUE: usize = 4;
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a body from a blocking thread.
pub(super) struct BodyReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

/// Starts to carry a body.
pub(super) fn reader(body: Body) -> BodyReader {
    let (sender, chunks) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut stream = body.into_data_stream();
        while let Some(chunk) = stream.next().await {
            // Nobody reads any more when the archive was refused.
            if sender.send(chunk.map_err(io::Error::other)).await.is_err() {
                return;
            }
        }
    });
    BodyReader { chunks, rest: Bytes::new() }
}

impl Read for BodyReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let n = to.len().min(self.rest.len());
        to[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

/// Writes a body from a blocking thread.
pub(super) struct BodyWriter {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

/// A writer, and the chunks it makes. A body that ends without [`BodyWriter::done`] ends with an error.
pub(super) fn writer() -> (BodyWriter, mpsc::Receiver<io::Result<Bytes>>) {
    let (chunks, receiver) = mpsc::channel(QUEUE);
    (BodyWriter { chunks, buffer: Vec::with_capacity(CHUNK_BYTES) }, receiver)
}

impl BodyWriter {
    fn send(&mut self, chunk: io::Result<Bytes>) -> io::Result<()> {
        self.chunks.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Tells the peer that the rest is missing.
    pub(super) fn fail(&mut self, error: io::Error) {
        // A peer that is gone needs not be told.
        drop(self.send(Err(error)));
    }
}

impl Write for BodyWriter {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(from);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.send(Ok(chunk.into()))
    }
}
