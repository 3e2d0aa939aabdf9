//! An agent in this process, over real mTLS on a free port, and a client of it.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_agent::agent::Agent;
use kiln_agent::server::Server;
use kiln_agent::settings::Settings;
use kiln_tls::{Authority, Identity};
use kiln_wire::agent::{PollStepResponse, RunConfig, StartStepRequest};
use serde::Serialize;
use serde_json::Value;

pub const NAME: &str = "agent-under-test";

/// Nothing in these tests takes longer on a working agent.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Rig {
    pub dir: tempfile::TempDir,
    pub address: SocketAddr,
    pub agent: Arc<Agent>,
    pub authority: Authority,
    pub client: Client,
}

#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub base: String,
}

/// Certificates as PEM: authority, certificate, key.
pub struct Pem {
    pub ca: String,
    pub cert: String,
    pub key: String,
}

pub fn pem(authority: &Authority, identity: &Identity) -> Pem {
    Pem { ca: authority.ca_pem().to_owned(), cert: identity.cert_pem.clone(), key: identity.key_pem.to_string() }
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let authority = Authority::create().expect("a CA");
        let server = authority.issue_server(NAME).expect("a server certificate");
        let client = authority.issue_client("runner").expect("a client certificate");
        let (server, client) = (pem(&authority, &server), pem(&authority, &client));
        let (dir, address, agent) = serve(&server, change).await;
        let client = Client::new(address, NAME, &client);
        Self { dir, address, agent, authority, client }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }
}

/// Starts an agent with these certificates.
pub async fn serve(server: &Pem, change: impl FnOnce(&mut Settings)) -> (tempfile::TempDir, SocketAddr, Arc<Agent>) {
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
    let server = Server::bind(settings).await.expect("an agent");
    let (address, agent) = (server.address().expect("an address"), server.agent());
    tokio::spawn(server.serve(std::future::pending()));
    (dir, address, agent)
}

impl Client {
    pub fn new(address: SocketAddr, name: &str, pem: &Pem) -> Self {
        Self::with_protocols(address, name, pem, &["h2", "http/1.1"])
    }

    pub fn with_protocols(address: SocketAddr, name: &str, pem: &Pem, protocols: &[&str]) -> Self {
        kiln_tls::install_provider();
        let tls = kiln_tls::client_config(pem.ca.as_bytes(), pem.cert.as_bytes(), pem.key.as_bytes());
        let mut tls = tls.expect("a TLS configuration");
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let builder = reqwest::Client::builder().use_preconfigured_tls(tls);
        let http = builder.resolve(name, address).build().expect("a client");
        Self { http, base: format!("https://{name}:{}", address.port()) }
    }

    pub async fn send(&self, path: &str, body: &impl Serialize) -> reqwest::Response {
        self.try_send(path, body).await.expect("an answer")
    }

    pub async fn try_send(&self, path: &str, body: &impl Serialize) -> reqwest::Result<reqwest::Response> {
        self.post(path, serde_json::to_string(body).expect("JSON")).await
    }

    pub async fn text(&self, path: &str, body: &str) -> reqwest::Response {
        self.post(path, body.to_owned()).await.expect("an answer")
    }

    async fn post(&self, path: &str, body: String) -> reqwest::Result<reqwest::Response> {
        self.http.post(format!("{}{path}", self.base)).body(body).send().await
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).send().await.expect("an answer")
    }

    /// The JSON of a success.
    pub async fn ok(&self, path: &str, body: &impl Serialize) -> Value {
        let answer = self.send(path, body).await;
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e} in {text:?}"))
    }

    /// The status and message of a failure.
    pub async fn refused(&self, path: &str, body: &impl Serialize) -> (u16, String) {
        let answer = self.send(path, body).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.expect("JSON");
        (status, body["error_msg"].as_str().unwrap_or_default().to_owned())
    }

    /// Starts a step and waits for its result.
    pub async fn run(&self, step: &StartStepRequest) -> PollStepResponse {
        self.ok("/start_step", step).await;
        self.poll(&step.id).await
    }

    pub async fn poll(&self, id: &str) -> PollStepResponse {
        let request = serde_json::json!({ "id": id });
        let polled = self.ok("/poll_step", &request);
        let value = tokio::time::timeout(PATIENCE, polled).await.expect("the step to end");
        serde_json::from_value(value).expect("a result")
    }

    /// All output of a step from an offset.
    pub async fn output(&self, id: &str, offset: u64) -> String {
        let request = serde_json::json!({"id": id, "offset": offset, "follow": true});
        let answer = self.send("/kiln/v1/output", &request).await;
        assert!(answer.status().is_success(), "{}", answer.status());
        String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned()
    }
}

/// A step that runs a script, without the banner of the original.
pub fn step(id: &str, script: &str) -> StartStepRequest {
    StartStepRequest {
        id: id.into(),
        log_drone: true,
        run: RunConfig { entrypoint: vec!["sh".into(), "-c".into()], commands: vec![script.into()] },
        ..Default::default()
    }
}

/// Waits until something is there.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads a file once it has content.
pub async fn content(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    until(&format!("{}", path.display()), async || {
        std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
    .await
    .trim()
    .to_owned()
}

/// Whether a process lives; a zombie does not.
pub fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub async fn until_dead(pid: &str) {
    until(&format!("the end of process {pid}"), async || (!alive(pid)).then_some(())).await;
}
