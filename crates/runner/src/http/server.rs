//! Listens and passes connections to the routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connected, handle};
use super::routes::router;
use super::{Api, Settings, Tls, Token};

/// Most open connections; further ones wait to be accepted.
const CONNECTIONS: usize = 8192;
/// The only protocol. With HTTP/2, a reader that does not read could hide behind its window.
const PROTOCOL: &[u8] = b"http/1.1";
/// Pause after a failed accept. The usual reason is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The reason why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Anybody could call it.
    #[error(
        "{bind} can be reached from other machines, and anybody who reaches it can run anything on its instances; \
         give the runner a token (KILN_API_TOKEN), or an authority for callers' certificates (mTLS), or bind it to 127.0.0.1"
    )]
    Open {
        /// The address.
        bind: SocketAddr,
    },
    /// The token can be guessed.
    #[error("the token is shorter than {} bytes; make one with `openssl rand -hex 32`", Token::MIN_BYTES)]
    ShortToken,
    /// The address is not available.
    #[error("cannot listen on {bind}; set another address, or end what listens there")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("the API's certificates cannot be used")]
    Tls(#[from] kiln_tls::TlsError),
}

/// An API that listens. Requests wait until [`Server::serve`] runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    api: Arc<Api>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Checks that not everybody who reaches the address could call the API.
    ///
    /// # Errors
    /// When everybody could, or the token is too short.
    pub fn check(settings: &Settings) -> Result<(), ServerError> {
        if settings.token.as_ref().is_some_and(Token::is_short) {
            return Err(ServerError::ShortToken);
        }
        if !settings.is_open() || settings.bind.ip().is_loopback() {
            return Ok(());
        }
        Err(ServerError::Open { bind: settings.bind })
    }

    /// Checks the settings and begins to listen.
    ///
    /// # Errors
    /// When everybody could call the API, the address is not available, or the certificates are not valid.
    pub async fn bind(api: Arc<Api>) -> Result<Self, ServerError> {
        let settings = &api.settings;
        Self::check(settings)?;
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        if tls.is_none() && !settings.bind.ip().is_loopback() {
            tracing::warn!(bind = %settings.bind, "the token crosses the network as plain text; give the API a certificate, or put TLS in front");
        }
        let bind = settings.bind;
        let listener = TcpListener::bind(bind).await.map_err(|source| ServerError::Bind { bind, source })?;
        let address = listener.local_addr().map_err(|source| ServerError::Bind { bind, source })?;
        Ok(Self { listener, address, api, tls })
    }

    /// Returns the address that it listens on. If the settings have port 0, the system chose the port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the runner stops. Open requests then have the settings' `drain` time to end. Their work continues,
    /// and a repeated request at the next runner joins it.
    pub async fn serve(self) {
        let (stop, drain) = (self.api.shutdown.clone(), self.api.settings.drain);
        let unread_for = self.api.settings.unread_for;
        let open = Arc::clone(&self.api.connections);
        let app = TowerToHyperService::new(router(self.api, self.address.port()));
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            // Ended connections are removed as they end.
            while connections.try_join_next().is_some() {}
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                self.listener.accept().await.map(|(stream, _)| (stream, slot))
            };
            let (stream, slot) = tokio::select! {
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
            let connected = Connected { tls: self.tls.clone(), stop: stop.clone(), unread_for };
            let (app, open) = (app.clone(), Arc::clone(&open));
            connections.spawn(async move {
                let _open = open.one_more();
                handle(stream, app, connected).await;
                drop(slot);
            });
        }
        // New callers are refused at once, and go to the next runner.
        drop(self.listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::info!("closing the requests that are still open; their work continues");
        }
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, kiln_tls::TlsError> {
    let (cert, key) = (tls.cert_pem.as_bytes(), tls.key_pem.as_bytes());
    let mut config = match &tls.client_ca_pem {
        Some(ca) => kiln_tls::server_config(ca.as_bytes(), cert, key)?,
        None => kiln_tls::open_server_config(cert, key)?,
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
