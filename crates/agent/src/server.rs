//! Listens, proves who it is, and hands connections to the routes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::agent::Agent;
use crate::http::router;
use crate::os::net;
use crate::settings::Settings;
use crate::tls::{CertificateError, Tls};

/// A peer must be done with its TLS handshake, and with the header of each request, within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: usize = 1024;
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Unanswered probes after which a connection is dead.
const KEEP_ALIVE_PROBES: u32 = 3;
/// How long requests may take to end when the agent is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failed accept: the usual reason is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the agent cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not to be had.
    #[error("cannot listen on {address}; set HTTPS_BIND to a free address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificates of the settings are not to be had.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// An agent that listens.
pub struct Server {
    listener: TcpListener,
    agent: Arc<Agent>,
    tls: Arc<Tls>,
}

impl Server {
    /// Reads the certificates and listens.
    pub async fn bind(settings: Settings) -> Result<Self, ServeError> {
        kiln_tls::install_provider();
        let tls = Arc::new(Tls::new(&settings)?);
        let listener = listen(settings.bind).await?;
        let agent = Agent::new(settings, tls.clone());
        agent.end_left().await;
        Ok(Self { listener, agent, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The agent behind it.
    pub fn agent(&self) -> Arc<Agent> {
        self.agent.clone()
    }

    /// Serves until `stop` is ready; then lets open requests end for a short while.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let app = TowerToHyperService::new(router(self.agent.clone()));
        tokio::spawn(Agent::keep_watch(Arc::downgrade(&self.agent)));
        let (stopping, _) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            // Ended connections are taken out as they end.
            while connections.try_join_next().is_some() {}
            let next = async {
                let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
                self.listener.accept().await.map(|(stream, _)| (stream, slot))
            };
            let (stream, slot) = tokio::select! {
                () = &mut stop => break,
                next = next => match next {
                    Ok(next) => next,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (app, tls, stopping) = (app.clone(), self.tls.watch(), stopping.subscribe());
            connections.spawn(async move {
                handle(stream, tls, app, stopping).await;
                drop(slot);
            });
        }
        // Nobody could supervise the steps any more, nor answer for them; their pollers still hear of the end.
        self.agent.end_steps().await;
        stopping.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::info!("cutting the connections that are still open");
        }
    }
}

/// Listens on both IP versions where an unspecified address is wanted, on IPv4 alone where IPv6 is switched off.
async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(source) if address.is_ipv6() && address.ip().is_unspecified() => {
            let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            TcpListener::bind(v4).await.map_err(|_| ServeError::Bind { address, source })
        }
        Err(source) => Err(ServeError::Bind { address, source }),
    }
}

type App = TowerToHyperService<axum::Router>;

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

async fn handle(
    stream: TcpStream,
    mut tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    app: App,
    stopping: watch::Receiver<bool>,
) {
    // Small answers must not wait for more; where it cannot be set they are merely late.
    drop(stream.set_nodelay(true));
    keep_alive(&stream);
    let config = tls.borrow_and_update().clone();
    let Some(config) = config else {
        return talk(Box::new(stream), tls, app, stopping).await;
    };
    match tokio::time::timeout(HEADER_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => talk(Box::new(stream), tls, app, stopping).await,
        Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
        Err(_) => tracing::info!("TLS handshake took too long"),
    }
}

async fn talk(
    stream: Box<dyn Stream>,
    mut tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    app: App,
    mut stopping: watch::Receiver<bool>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
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
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}
