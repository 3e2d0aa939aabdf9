//! The settings of the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Peers, Token};
use crate::stages::PREPARED_WITHIN;

const MIB: usize = 1 << 20;
/// Default time without a successful write to the database after which `/healthz` reports it. A restart of the database
/// takes less.
const UNWRITTEN_FOR: Duration = Duration::from_secs(30);
/// Default time for which a reader may read nothing of its answer. Readers over slow networks read something each
/// second.
const UNREAD_FOR: Duration = Duration::from_secs(60);

/// The settings of the API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The token that callers must present.
    pub token: Option<Token>,
    /// Certificates for TLS; none for plain HTTP.
    pub tls: Option<Tls>,
    /// On loopback without a token: hosts under which callers may reach the runner, besides the names of this machine,
    /// as `NAME` for any port or `NAME:PORT`.
    pub allowed_hosts: Vec<String>,
    /// On loopback without a token: distinguishes programs of this machine from steps in VMs whose network reaches the
    /// host's loopback, and which must not call. Without it all callers count as programs.
    pub peers: Option<Peers>,
    /// Size of the largest JSON body.
    pub body_limit_bytes: usize,
    /// Default time for which a stage waits for an instance.
    pub wait: Duration,
    /// Fallback pools for requests that name none.
    pub fallback_pools: Vec<String>,
    /// Time within which an agent must be prepared for a stage, over all attempts.
    pub setup_within: Duration,
    /// Time after which a step whose agent cannot be reached has failed.
    pub unreachable_for: Duration,
    /// Time without a successful write to the database after which `/healthz` reports it.
    pub unwritten_for: Duration,
    /// Time after which a reader that reads nothing of its answer is disconnected.
    pub unread_for: Duration,
    /// Time for open requests to end when the runner stops. Their work continues.
    pub drain: Duration,
}

impl Settings {
    /// Returns whether callers must present a certificate.
    pub(super) fn wants_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca_pem.is_some())
    }

    /// Returns whether everybody who reaches the address may call.
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none() && !self.wants_certificates()
    }
}

/// Certificates of the API, PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authority of callers' certificates. Without it they need none.
    pub client_ca_pem: Option<String>,
    /// The runner's own certificate.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: String,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), kiln_wire::runner::PORT),
            token: None,
            tls: None,
            allowed_hosts: Vec::new(),
            peers: None,
            body_limit_bytes: 16 * MIB,
            wait: Duration::from_secs(30 * 60),
            fallback_pools: Vec::new(),
            setup_within: PREPARED_WITHIN,
            unreachable_for: Duration::from_secs(60),
            unwritten_for: UNWRITTEN_FOR,
            unread_for: UNREAD_FOR,
            drain: Duration::from_secs(5),
        }
    }
}
