//! The settings of the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Peers, Token};
use crate::stages::PREPARED_WITHIN;

const MIB: usize = 1 << 20;
/// How long the database may take no writes before that is told, if nothing else is set. A database that is restarted is back
/// before.
const UNWRITTEN_FOR: Duration = Duration::from_secs(30);
/// How long a reader may take nothing of its answer, if nothing else is set. Readers over slow networks take some each second.
const UNREAD_FOR: Duration = Duration::from_secs(60);

/// The settings of the API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Callers must show this token.
    pub token: Option<Token>,
    /// The connection is TLS.
    pub tls: Option<Tls>,
    /// On loopback without a token: hosts under which callers may reach the runner, besides those of this machine, as `NAME`
    /// for any port or `NAME:PORT`.
    pub allowed_hosts: Vec<String>,
    /// On loopback without a token: tells callers that have no business here, steps in VMs whose network reaches the host's
    /// loopback, from programs of this machine. Without it all are taken for programs.
    pub peers: Option<Peers>,
    /// Size of the largest JSON body.
    pub body_limit_bytes: usize,
    /// How long a stage waits for an instance when its request does not say.
    pub wait: Duration,
    /// Pools to turn to when a request names none.
    pub fallback_pools: Vec<String>,
    /// An agent that is prepared for a stage answers within this, over all tries.
    pub setup_within: Duration,
    /// A step whose agent cannot be reached for this long has failed.
    pub unreachable_for: Duration,
    /// When nothing could be written to the database for this long, `/healthz` says so.
    pub unwritten_for: Duration,
    /// A reader that takes nothing of its answer for this long is hung up on.
    pub unread_for: Duration,
    /// How long requests may take to end when the runner stops; what they waited for goes on.
    pub drain: Duration,
}

impl Settings {
    /// Returns whether callers must show a certificate.
    pub(super) fn wants_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca_pem.is_some())
    }

    /// Returns whether everybody may call who reaches the address.
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none() && !self.wants_certificates()
    }
}

/// Certificates of the API, PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authority that callers' certificates must come from. Without it they need none.
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
