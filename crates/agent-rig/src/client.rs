//! A client that sends what a test wants, right or wrong.

use std::net::SocketAddr;

use kiln_wire::agent::{PollStepResponse, RunConfig, StartStepRequest};
use serde::Serialize;
use serde_json::Value;

use crate::{PATIENCE, Pem};

/// A client of one agent.
#[derive(Clone)]
pub struct Client {
    /// The connections.
    pub http: reqwest::Client,
    /// The agent's URL, without a path.
    pub base: String,
}

impl Client {
    /// Makes a client with a certificate of its own.
    #[must_use]
    pub fn new(address: SocketAddr, name: &str, pem: &Pem) -> Self {
        Self::with_protocols(address, name, pem, &["h2", "http/1.1"])
    }

    /// Makes a client that offers these protocols.
    #[must_use]
    pub fn with_protocols(address: SocketAddr, name: &str, pem: &Pem, protocols: &[&str]) -> Self {
        kiln_tls::install_provider();
        let tls = kiln_tls::client_config(pem.ca.as_bytes(), pem.cert.as_bytes(), pem.key.as_bytes());
        let mut tls = tls.expect("a TLS configuration");
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let builder = reqwest::Client::builder().use_preconfigured_tls(tls);
        let http = builder.resolve(name, address).build().expect("a client");
        Self { http, base: format!("https://{name}:{}", address.port()) }
    }

    /// Posts a message, and returns the answer.
    pub async fn send(&self, path: &str, body: &impl Serialize) -> reqwest::Response {
        self.try_send(path, body).await.expect("an answer")
    }

    /// Posts a message.
    pub async fn try_send(&self, path: &str, body: &impl Serialize) -> reqwest::Result<reqwest::Response> {
        self.post(path, serde_json::to_string(body).expect("JSON")).await
    }

    /// Posts a text, and returns the answer.
    pub async fn text(&self, path: &str, body: &str) -> reqwest::Response {
        self.post(path, body.to_owned()).await.expect("an answer")
    }

    async fn post(&self, path: &str, body: String) -> reqwest::Result<reqwest::Response> {
        self.http.post(format!("{}{path}", self.base)).body(body).send().await
    }

    /// Returns the answer to a GET.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).send().await.expect("an answer")
    }

    /// Posts a message, and returns the JSON of its success.
    pub async fn ok(&self, path: &str, body: &impl Serialize) -> Value {
        let answer = self.send(path, body).await;
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e} in {text:?}"))
    }

    /// Posts a message, and returns the status and message of its failure.
    pub async fn refused(&self, path: &str, body: &impl Serialize) -> (u16, String) {
        let answer = self.send(path, body).await;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.expect("JSON");
        (status, body["error_msg"].as_str().unwrap_or_default().to_owned())
    }

    /// Starts a step, and waits for its result.
    pub async fn run(&self, step: &StartStepRequest) -> PollStepResponse {
        self.ok("/start_step", step).await;
        self.poll(&step.id).await
    }

    /// Waits for a step's result.
    pub async fn poll(&self, id: &str) -> PollStepResponse {
        let request = serde_json::json!({ "id": id });
        let polled = self.ok("/poll_step", &request);
        let value = tokio::time::timeout(PATIENCE, polled).await.expect("the step to end");
        serde_json::from_value(value).expect("a result")
    }

    /// Returns all output of a step from an offset.
    pub async fn output(&self, id: &str, offset: u64) -> String {
        let request = serde_json::json!({"id": id, "offset": offset, "follow": true});
        let answer = self.send("/kiln/v1/output", &request).await;
        assert!(answer.status().is_success(), "{}", answer.status());
        String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned()
    }
}

/// Returns a step that runs a script, without the banner of the original.
#[must_use]
pub fn step(id: &str, script: &str) -> StartStepRequest {
    StartStepRequest {
        id: id.into(),
        log_drone: true,
        run: RunConfig { entrypoint: vec!["sh".into(), "-c".into()], commands: vec![script.into()] },
        ..Default::default()
    }
}
