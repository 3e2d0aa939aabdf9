//! What a container prints, from the engine into the pipe that the supervision reads.
//!
//! The engine turns the connection of an attach request into a plain stream, which is read here as it is: its client would hold
//! a line of a terminal in memory until the line ends. Whoever is slow to read the pipe slows the container down, and fills no memory.

use std::io::{self, PipeReader};
use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::demux::Demux;
use crate::os::engine::{self, Connection, Sender};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 32 * 1024;

/// An attached container.
#[derive(Debug)]
pub(super) struct Attached {
    /// Where its output can be read.
    pub(super) output: PipeReader,
    /// Ends when all of it is in the pipe.
    pub(super) relay: JoinHandle<()>,
}

/// Attaches to a container, which has not started yet.
pub(super) async fn attach(socket: &Path, id: &str, tty: bool) -> io::Result<Attached> {
    let (output, to) = engine::relay()?;
    let from = upgraded(socket, id).await?;
    let mut demux = (!tty).then(Demux::default);
    let relay = tokio::spawn(async move {
        if let Err(error) = carry(from, to, demux.as_mut()).await {
            tracing::debug!(%error, "what a container prints is not carried any more");
        }
    });
    Ok(Attached { output, relay })
}

async fn upgraded(socket: &Path, id: &str) -> io::Result<TokioIo<Upgraded>> {
    let stream: Connection = engine::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to the container engine broke");
        }
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1"))
        .header(header::HOST, "engine")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(io::Error::other(format!("the container engine answers {status} to a request for its output")));
    }
    hyper::upgrade::on(response).await.map(TokioIo::new).map_err(io::Error::other)
}

async fn carry(mut from: TokioIo<Upgraded>, mut to: Sender, mut demux: Option<&mut Demux>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let bytes = &mut buffer[..read];
        let len = demux.as_mut().map_or(read, |demux| demux.strip(bytes));
        to.write_all(&buffer[..len]).await?;
    }
}
