//! One connection: its handshake, its requests, and when it is hung up on.
//!
//! | a peer that | is hung up on after |
//! |---|---|
//! | does not end its handshake | [`HANDSHAKE_WITHIN`], or when its place is needed |
//! | does not end the header of a request | [`HEADER_WITHIN`] |
//! | takes nothing of its answers | the settings' `stalled_for`; over HTTP/2 it gets no new request answered then, and is hung up on after as long again |
//! | vanished | some [`KEEP_ALIVE`] |

use std::sync::Arc;
use std::time::Duration;

use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::handshakes::Handshake;
use super::unread::Unread;
use crate::bulk::Stall;
use crate::os::net;

/// A peer proves who it is within this. One with a certificate needs some milliseconds.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// The header of each request must be there within this.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Unanswered probes after which a connection is dead.
const KEEP_ALIVE_PROBES: u32 = 3;
/// Requests of an HTTP/2 connection that are answered at a time. Polls take hours, and stock clients have one connection for all.
const STREAMS: u32 = 1024;
/// What is kept for a reader that does not read, beside the chunk that is made: each has its own.
const BUFFER_BYTES: usize = 64 << 10;

/// What answers requests.
pub(super) type App = TowerToHyperService<axum::Router>;

/// What a connection is served with.
pub(super) struct Connected {
    /// The identity that is shown; a change of it ends the connection.
    pub(super) tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    pub(super) app: App,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) stalled_for: Duration,
    /// Places of proven peers.
    pub(super) places: Arc<Semaphore>,
}

/// Serves a connection until its peer, the agent or a limit ends it.
pub(super) async fn handle(stream: TcpStream, mut connected: Connected, handshake: Handshake) {
    // Small answers must not wait for more; where it cannot be set they are merely late.
    drop(stream.set_nodelay(true));
    keep_alive(&stream);
    let stream = Unread::new(stream, connected.stalled_for);
    let config = connected.tls.borrow_and_update().clone();
    let stream: Box<dyn Stream> = match config {
        None => {
            drop(handshake);
            Box::new(stream)
        }
        Some(config) => match prove(stream, config, handshake).await {
            Some(stream) => Box::new(stream),
            None => return,
        },
    };
    let Ok(Ok(_place)) = tokio::time::timeout(HANDSHAKE_WITHIN, Arc::clone(&connected.places).acquire_owned()).await
    else {
        return tracing::warn!("a peer is hung up on: too many connections are open");
    };
    talk(stream, connected).await;
}

/// Lets the peer prove who it is.
async fn prove(stream: Unread, config: Arc<ServerConfig>, handshake: Handshake) -> Option<TlsStream<Unread>> {
    let shaken = async {
        // An error here shows in the handshake as well.
        drop(stream.peer().readable().await);
        handshake.spoke();
        TlsAcceptor::from(config).accept(stream).await
    };
    tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_WITHIN, shaken) => match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
            Err(_) => tracing::info!("TLS handshake took too long"),
        },
        () = handshake.cut_off() => tracing::debug!("an unknown peer made room for a newer one"),
    }
    None
}

/// Lets the kernel notice a peer that vanished, whatever the protocol above: an open request counts as contact, so one
/// of a dead runner would keep the machine for ever.
fn keep_alive(stream: &TcpStream) {
    if let Err(error) = net::keep_alive(stream, KEEP_ALIVE, KEEP_ALIVE_PROBES) {
        tracing::warn!(%error, "a peer that vanishes may not be noticed");
    }
}

/// With or without TLS. One type for both keeps the protocols from being compiled twice.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn talk(stream: Box<dyn Stream>, connected: Connected) {
    let Connected { mut tls, app, mut stopping, stalled_for, .. } = connected;
    let stall = Stall::new(stalled_for);
    let told = stall.clone();
    let app = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(told.clone());
        app.call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN).max_buf_size(BUFFER_BYTES);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    http2.max_concurrent_streams(STREAMS).max_send_buf_size(BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), app);
    let mut connection = std::pin::pin!(connection);
    let over = async {
        tokio::select! {
            // Both senders outlive the connections; if not, the process is at its end.
            _ = tls.changed() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over => {
            // Requests that are being answered still are.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = stall.stuck() => {
            // New requests go over another connection at once. Those that are answered over this one have a while to end, as
            // they may be kept back; whoever made them asks again.
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = tokio::time::timeout(stalled_for, connection).await else {
                return tracing::info!("a peer that does not read its answers is hung up on");
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}
