//! The settings of the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kiln_pool::Config;

use super::Token;
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
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.token.is_none() && !self.wants_certificates()
    }

    /// Checks that no step can call the API like a program of this machine, when the API has this configuration's pools.
    ///
    /// # Errors
    /// When everybody who reaches the address may call, and instances of a pool reach it.
    pub fn check_pools(&self, config: &Config) -> Result<(), Exposed> {
        if !self.is_open() {
            return Ok(());
        }
        let reaching = config.pools.values().find_map(|pool| {
            let flavor = pool.flavors.iter().find(|flavor| flavor.launch.network.reaches(self.bind))?;
            Some((pool, flavor.launch.network.isolated))
        });
        let Some((pool, isolated)) = reaching else { return Ok(()) };
        Err(Exposed { pool: pool.name.clone(), bind: self.bind, isolated })
    }
}

/// Steps of a pool could call an API that asks nobody who they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the instances of pool `{pool}` reach {bind}, where this runner answers without a token, so every step could run anything on \
     every instance: {}; or give the runner a token (KILN_API_TOKEN), or an authority for callers' certificates (mTLS)",
    self.mend()
)]
pub struct Exposed {
    /// The pool.
    pub pool: String,
    /// The address of the API.
    pub bind: SocketAddr,
    /// Whether the pool's instances are isolated, and reach the address by an opening.
    pub isolated: bool,
}

impl Exposed {
    fn mend(&self) -> &'static str {
        if self.isolated {
            "remove what opens this address from `network` of the pool's `kiln`"
        } else {
            "remove `isolation: off` from `network` of the pool's `kiln`"
        }
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
