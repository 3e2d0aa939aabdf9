//! Which agent is held to the protocol, and how it is reached.

use std::net::SocketAddr;

use reqwest::{Certificate, Url};

use crate::expect::Finding;

/// An agent, and what is needed to speak to it.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    /// The name in its certificate, where that is not the URL's host.
    pub server_name: Option<String>,
    /// PEM of the authority of its certificate.
    pub ca_pem: String,
    /// PEM of the caller's certificate.
    pub cert_pem: String,
    /// PEM of the caller's key.
    pub key_pem: String,
}

/// Why the checks cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL names no agent.
    #[error("{url:?} is no agent's URL; write it like https://10.0.0.7:9079")]
    Url {
        /// As given.
        url: String,
    },
    /// The host has no address.
    #[error("the host of {url} has no address")]
    Address {
        /// The agent's URL.
        url: Url,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error("the caller's certificates cannot be used")]
    Tls(#[from] kiln_tls::TlsError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
    /// It does not answer, or runs no steps.
    #[error("the agent at {url} cannot be held to anything: {what}")]
    Agent {
        /// The agent's URL.
        url: Url,
        /// What went wrong.
        what: Finding,
    },
}

/// The ways to call an agent.
pub(crate) struct Clients {
    /// HTTP/2 where the agent offers it.
    pub(crate) newest: reqwest::Client,
    /// HTTP/1.1.
    pub(crate) oldest: reqwest::Client,
    /// What both put before a path.
    pub(crate) base: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Target {
    /// The agent at `url`. One at an `http` URL needs no certificates.
    ///
    /// # Errors
    /// When the text is no URL of an agent.
    pub fn new(url: &str) -> Result<Self, StartError> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = parsed.ok_or_else(|| StartError::Url { url: url.to_owned() })?;
        let empty = String::new;
        Ok(Self { url, server_name: None, ca_pem: empty(), cert_pem: empty(), key_pem: empty() })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it proves who it is.
    pub(crate) fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(crate) async fn clients(&self) -> Result<Clients, StartError> {
        kiln_tls::install_provider();
        let address = self.address().await?;
        let (newest, oldest) = if self.is_secure() {
            (
                self.secure(address, &self.cert_pem, &self.key_pem, &["h2", "http/1.1"])?,
                self.secure(address, &self.cert_pem, &self.key_pem, &["http/1.1"])?,
            )
        } else {
            let plain = |builder: reqwest::ClientBuilder| builder.build().map_err(StartError::Client);
            (plain(self.builder(address).http2_prior_knowledge())?, plain(self.builder(address).http1_only())?)
        };
        let base = format!("{}://{}:{}", self.url.scheme(), self.name(), address.port());
        Ok(Clients { newest, oldest, base, address })
    }

    /// A caller with another certificate than ours, which may be one of another authority.
    pub(crate) fn secure(
        &self,
        address: SocketAddr,
        cert_pem: &str,
        key_pem: &str,
        protocols: &[&str],
    ) -> Result<reqwest::Client, StartError> {
        let mut tls = kiln_tls::client_config(self.ca_pem.as_bytes(), cert_pem.as_bytes(), key_pem.as_bytes())?;
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self.builder(address).tls_backend_preconfigured(tls).build().map_err(StartError::Client)
    }

    /// A caller without a certificate.
    pub(crate) fn nameless(&self, address: SocketAddr) -> Result<reqwest::Client, StartError> {
        let authorities = Certificate::from_pem_bundle(self.ca_pem.as_bytes()).map_err(StartError::Client)?;
        self.builder(address).tls_certs_only(authorities).build().map_err(StartError::Client)
    }

    fn builder(&self, address: SocketAddr) -> reqwest::ClientBuilder {
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).resolve(&self.name(), address)
    }

    /// The name that its certificate must carry.
    fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        // A client resolves names, not addresses, so an address stands for itself.
        self.server_name.clone().unwrap_or_else(|| host.to_owned())
    }

    async fn address(&self) -> Result<SocketAddr, StartError> {
        let fail = |source| StartError::Address { url: self.url.clone(), source };
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(9079);
        let mut found = tokio::net::lookup_host((host, port)).await.map_err(fail)?;
        found.next().ok_or_else(|| fail(std::io::ErrorKind::NotFound.into()))
    }
}
