//! A way to the container engine past its client, for what a container prints.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// A connection to the engine.
pub(crate) type Connection = UnixStream;
/// The writing end of a pipe that the supervision reads.
pub(crate) type Sender = pipe::Sender;

/// Connects to the engine at this socket.
pub(crate) async fn connect(socket: &Path) -> io::Result<Connection> {
    UnixStream::connect(socket).await
}

/// Both ends of a pipe.
pub(crate) fn relay() -> io::Result<(PipeReader, Sender)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader, pipe::Sender::from_owned_fd(OwnedFd::from(writer))?))
}
