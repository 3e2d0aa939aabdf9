//! Joins blocking readers and writers to bodies. Both are used on threads that are no runtime's.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::bulk::Stall;
use crate::outgoing::{self, Outgoing};

/// Chunks of a body that came and were not read yet.
const QUEUE: usize = 4;
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a body.
pub(super) struct BodyReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

/// Starts to carry a body. One of which nothing comes for `unsent_for` ends with an error.
pub(super) fn reader(body: Body, unsent_for: Duration) -> BodyReader {
    let (sender, chunks) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut stream = body.into_data_stream();
        loop {
            let chunk = match tokio::time::timeout(unsent_for, stream.next()).await {
                Ok(Some(chunk)) => chunk.map_err(io::Error::other),
                Ok(None) => return,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing more of it came")),
            };
            let broken = chunk.is_err();
            // Nobody reads any more when the archive was refused.
            if sender.send(chunk).await.is_err() || broken {
                return;
            }
        }
    });
    BodyReader { chunks, rest: Bytes::new() }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => break,
            }
        }
        Ok(&self.rest)
    }

    fn consume(&mut self, bytes: usize) {
        self.rest.advance(bytes);
    }
}

impl Read for BodyReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

/// Writes a body.
pub(super) struct BodyWriter {
    to: Outgoing,
    buffer: Vec<u8>,
    runtime: Handle,
}

/// A writer, and the body that it makes. The body ends with an error unless [`BodyWriter::end`] says otherwise.
pub(super) fn writer(stall: Stall) -> (BodyWriter, Body) {
    let (to, body) = outgoing::body(stall);
    (BodyWriter { to, buffer: Vec::with_capacity(CHUNK_BYTES), runtime: Handle::current() }, body)
}

impl BodyWriter {
    /// Ends the body: whole, or broken off with an error.
    pub(super) fn end(self, outcome: io::Result<()>) {
        self.to.end(outcome);
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
        let room = self.runtime.block_on(self.to.room())?;
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        room.send(chunk.into());
        Ok(())
    }
}
