//! An agent in the test's own process, over real mTLS on a free port, with a client of it and a [`Link`] to it that can be cut.
//!
//! The tests of the agent and of those who speak to it share it. Nothing is shipped from it.

pub mod certificates;
mod client;
mod link;
mod wait;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kiln_agent::agent::Agent;
use kiln_agent::server::Server;
use kiln_agent::settings::Settings;
use kiln_tls::{Authority, Identity};
use tokio::task::JoinHandle;

pub use client::{Client, step};
pub use link::Link;
pub use wait::{PATIENCE, alive, content, until, until_dead};

/// The name in the agent's certificate.
pub const NAME: &str = "agent-under-test";

/// An agent that serves, and what speaks to it.
pub struct Rig {
    /// Everything that the agent writes.
    pub dir: tempfile::TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    /// The agent itself.
    pub agent: Arc<Agent>,
    /// Who signed the certificates.
    pub authority: Authority,
    /// A client with a certificate that the agent trusts.
    pub client: Client,
    serving: JoinHandle<()>,
}

/// Certificates as PEM.
pub struct Pem {
    /// The authority's certificate.
    pub ca: String,
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

/// Returns an identity of an authority as PEM.
#[must_use]
pub fn pem(authority: &Authority, identity: &Identity) -> Pem {
    Pem { ca: authority.ca_pem().to_owned(), cert: identity.cert_pem.clone(), key: identity.key_pem.to_string() }
}

impl Rig {
    /// Starts an agent.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts an agent whose settings are changed first.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let authority = Authority::create().expect("a CA");
        let server = authority.issue_server(NAME).expect("a server certificate");
        let client = authority.issue_client("runner").expect("a client certificate");
        let (server, client) = (pem(&authority, &server), pem(&authority, &client));
        let (dir, server) = bind(&server, change).await;
        let (address, agent) = (server.address().expect("an address"), server.agent());
        let serving = tokio::spawn(server.serve(std::future::pending()));
        let client = Client::new(address, NAME, &client);
        Self { dir, address, agent, authority, client, serving }
    }

    /// Returns the path of a file in the rig's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// Ends the agent as a crash does: it stops listening and answering, within a call too, and says nothing. What it ran is ended
    /// as well, because it would outlive the test.
    pub fn kill(&self) {
        self.serving.abort();
        let agent = self.agent.clone();
        tokio::spawn(async move { agent.end_steps().await });
    }

    /// Ends the agent as a crash does, with what it ran left behind, and starts another one on the same files. The link leads there
    /// as soon as it serves.
    pub fn restart(&self, link: &Link) {
        self.serving.abort();
        link.close();
        let (settings, link) = (self.agent.settings.clone(), link.clone());
        tokio::spawn(async move {
            let server = Server::bind(settings).await.expect("an agent");
            link.lead_to(server.address().expect("an address"));
            server.serve(std::future::pending()).await;
        });
    }
}

/// Starts an agent with these certificates.
pub async fn serve(server: &Pem, change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, SocketAddr, Arc<Agent>) {
    let (dir, server) = bind(server, change).await;
    let (address, agent) = (server.address().expect("an address"), server.agent());
    tokio::spawn(server.serve(std::future::pending()));
    (dir, address, agent)
}

async fn bind(server: &Pem, change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    for (name, text) in [("ca.pem", &server.ca), ("cert.pem", &server.cert), ("key.pem", &server.key)] {
        std::fs::write(at(name), text).expect("a file");
    }
    let mut settings = Settings {
        bind: "127.0.0.1:0".parse().expect("an address"),
        ca_file: at("ca.pem"),
        cert_file: at("cert.pem"),
        key_file: at("key.pem"),
        engine_dir: at("engine"),
        state_dir: at("state"),
        root_dir: at("root"),
        change_kernel: false,
        kill_grace: Duration::from_secs(2),
        base_env: std::env::vars().filter(|(k, _)| ["PATH", "HOME"].contains(&k.as_str())).collect(),
        ..Settings::default()
    };
    std::fs::create_dir_all(&settings.engine_dir).expect("a directory");
    change(&mut settings);
    (dir, Server::bind(settings).await.expect("an agent"))
}
