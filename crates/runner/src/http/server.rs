//! Listens and hands connections to the routes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Api, KeepOut, Settings, Tls, Token, router};

/// A peer must be done with its TLS handshake, and then with the header of its first request, within this time.
const HEADER_WITHIN: Duration = Duration::from_secs(10);
/// The header of each further request must be there within this; until then the connection idles.
const IDLE: Duration = Duration::from_secs(75);
/// Connections at a time.
const CONNECTIONS: usize = 8192;
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pause after a failed accept: the usual reason is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Everybody could call it.
    #[error(
        "{bind} can be reached from other machines, and whoever reaches this API can run anything on its instances; \
         give the runner a token (KILN_API_TOKEN), or an authority for callers' certificates (mTLS), or bind it to 127.0.0.1"
    )]
    Open {
        /// The address.
        bind: SocketAddr,
    },
    /// The token can be guessed.
    #[error("the token is shorter than {} bytes; make one with `openssl rand -hex 32`", Token::MIN_BYTES)]
    ShortToken,
    /// The address is not to be had.
    #[error("cannot listen on {bind}; set another address, or end what listens there")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("the API's certificates cannot be used")]
    Tls(#[from] kiln_tls::TlsError),
}

/// An API that listens. Requests are answered once [`Server::serve`] runs; until then they wait.
pub struct Server {
    listener: TcpListener,
    api: Arc<Api>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Whether this may be served at all.
    ///
    /// # Errors
    /// When everybody could call it.
    pub fn check(settings: &Settings) -> Result<(), ServerError> {
        if settings.token.as_ref().is_some_and(Token::is_short) {
            return Err(ServerError::ShortToken);
        }
        if !settings.is_open() || settings.bind.ip().is_loopback() {
            return Ok(());
        }
        Err(ServerError::Open { bind: settings.bind })
    }

    /// Checks and listens.
    ///
    /// # Errors
    /// When everybody could call it, the address is not to be had, or the certificates are not usable.
    pub async fn bind(api: Arc<Api>) -> Result<Self, ServerError> {
        let settings = &api.settings;
        Self::check(settings)?;
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        if tls.is_none() && !settings.bind.ip().is_loopback() {
            tracing::warn!(bind = %settings.bind, "the token crosses the network as plain text; give the API a certificate, or put TLS in front");
        }
        let bind = settings.bind;
        let listener = TcpListener::bind(bind).await.map_err(|source| ServerError::Bind { bind, source })?;
        Ok(Self { listener, api, tls })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the runner stops; then open requests may end for a short while. What those still wait for goes on, and a
    /// repetition joins it.
    pub async fn serve(self) {
        let (stop, drain) = (self.api.shutdown.clone(), self.api.settings.drain);
        let settings = &self.api.settings;
        // Whoever shows a token or a certificate is known by that.
        let keep_out = settings.keep_out.clone().filter(|_| settings.is_open());
        let app = TowerToHyperService::new(router(self.api));
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            // Ended connections are taken out as they end.
            while connections.try_join_next().is_some() {}
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                self.listener.accept().await.map(|(stream, peer)| (stream, peer, slot))
            };
            let (stream, peer, slot) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => match next {
                    Ok(next) => next,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (app, tls, stop, keep_out) = (app.clone(), self.tls.clone(), stop.clone(), keep_out.clone());
            connections.spawn(async move {
                if kept_out(keep_out, peer).await {
                    tracing::warn!(%peer, "not answered: a VM of this host, or a caller that hung up; give the runner a token if it should be");
                    return;
                }
                handle(stream, tls, app, stop).await;
                drop(slot);
            });
        }
        // New callers are refused at once, and go to the next runner.
        drop(self.listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::info!("cutting the requests that are still open; what they waited for goes on");
        }
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, kiln_tls::TlsError> {
    let (cert, key) = (tls.cert_pem.as_bytes(), tls.key_pem.as_bytes());
    let config = match &tls.client_ca_pem {
        Some(ca) => kiln_tls::server_config(ca.as_bytes(), cert, key)?,
        None => kiln_tls::open_server_config(cert, key)?,
    };
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn kept_out(keep_out: Option<KeepOut>, peer: SocketAddr) -> bool {
    let Some(keep_out) = keep_out else { return false };
    // In doubt, out: what cannot be asked is not trusted.
    tokio::task::spawn_blocking(move || (keep_out.0)(peer)).await.unwrap_or(true)
}

type App = TowerToHyperService<axum::Router>;

/// With or without TLS. One type for both keeps the protocols from being compiled twice.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn handle(stream: TcpStream, tls: Option<TlsAcceptor>, app: App, stop: CancellationToken) {
    // Small answers must not wait for more; where it cannot be set they are merely late.
    drop(stream.set_nodelay(true));
    let Some(tls) = tls else { return talk(Box::new(stream), app, stop).await };
    match tokio::time::timeout(HEADER_WITHIN, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(Box::new(stream), app, stop).await,
        Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
        Err(_) => tracing::info!("TLS handshake took too long"),
    }
}

async fn talk(stream: Box<dyn Stream>, app: App, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    let (asked, first) = oneshot::channel::<()>();
    let asked = Mutex::new(Some(asked));
    let app = service_fn(move |request| {
        drop(asked.lock().unwrap_or_else(PoisonError::into_inner).take());
        app.call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), app);
    let mut connection = std::pin::pin!(connection);
    let silent = async {
        // It ends when the first request is there: its sender is dropped.
        if tokio::time::timeout(HEADER_WITHIN, first).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return tracing::debug!("a peer that asked for nothing is hung up on"),
        () = stop.cancelled() => {
            // Requests that are being answered still are.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    /// What a peer is answered that says this and then nothing, and after how long it is hung up on.
    async fn answered(said: &str) -> (String, Duration) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let app = TowerToHyperService::new(axum::Router::new().route("/", axum::routing::get(|| async { "here" })));
        let talking = tokio::spawn(talk(Box::new(theirs), app, CancellationToken::new()));
        let (mut reader, mut writer) = tokio::io::split(ours);
        writer.write_all(said.as_bytes()).await.expect("said");
        let (began, mut answer) = (Instant::now(), Vec::new());
        reader.read_to_end(&mut answer).await.expect("an end");
        talking.await.expect("no panic");
        (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_hung_up_on() {
        for said in ["", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n"] {
            let (_, after) = answered(said).await;
            assert!(after <= HEADER_WITHIN + Duration::from_secs(1), "{said:?} after {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_may_idle_for_a_while() {
        let (answer, after) = answered("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        assert!(after >= IDLE, "after {after:?}");
    }
}
