//! Listens, and hands connections to the routes.

mod connection;
mod handshakes;
mod unread;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::agent::Agent;
use crate::http::router;
use crate::settings::Settings;
use crate::tls::{CertificateError, Tls};
use connection::Connected;
use handshakes::Handshakes;

/// Connections of proven peers at a time. With those of unknown ones ([`handshakes::MOST`]) they fit into the 1024 descriptors that
/// a service has without further settings, and leave room for the steps.
const CONNECTIONS: usize = 384;
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
        tokio::spawn(Agent::keep_lean(Arc::downgrade(&self.agent)));
        let (stopping, _) = watch::channel(false);
        let (places, handshakes) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Handshakes::default()));
        let stalled_for = self.agent.settings.stalled_for;
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let stream = tokio::select! {
                () = &mut stop => break,
                // What one took of memory is given back as it ends, not when the next one begins.
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (app, tls, stopping) = (app.clone(), self.tls.watch(), stopping.subscribe());
            let connected = Connected { tls, app, stopping, stalled_for, places: places.clone() };
            connections.spawn(connection::handle(stream, connected, handshakes.begin()));
        }
        self.agent.is_to_stop();
        // Nobody could supervise the steps any more, nor answer for them; their pollers still hear of the end.
        self.agent.end_steps().await;
        self.agent.deliver_logs(STOP_PATIENCE).await;
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
