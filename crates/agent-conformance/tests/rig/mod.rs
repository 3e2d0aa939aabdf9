//! An agent in this process, and a proxy before it that makes one mistake.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use kiln_agent::server::Server;
use kiln_agent::settings::Settings;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// An agent that serves plain HTTP on a free port, and its files.
pub struct Agent {
    pub address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Agent {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let settings = Settings {
            bind: "127.0.0.1:0".parse().expect("an address"),
            insecure: true,
            engine_dir: at("tmp/engine"),
            state_dir: at("state"),
            root_dir: at("root"),
            change_kernel: false,
            base_env: std::env::vars().filter(|(k, _)| ["PATH", "HOME"].contains(&k.as_str())).collect(),
            ..Settings::default()
        };
        let server = Server::bind(settings).await.expect("an agent");
        let address = server.address().expect("an address");
        tokio::spawn(server.serve(std::future::pending()));
        Self { address, _dir: dir }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A request on its way to the agent.
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer on its way back.
pub struct Told {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A mistake that an agent might make, and the check that must notice it.
pub struct Mistake {
    pub caught_by: &'static str,
    /// Changes the request, or answers it without the agent.
    pub ask: fn(&mut Asked) -> Option<Told>,
    /// Changes the answer. Streamed output goes by unseen.
    pub tell: fn(&Asked, &mut Told),
}

impl Mistake {
    pub fn asking(caught_by: &'static str, ask: fn(&mut Asked) -> Option<Told>) -> Self {
        Self { caught_by, ask, tell: |_, _| {} }
    }

    pub fn telling(caught_by: &'static str, tell: fn(&Asked, &mut Told)) -> Self {
        Self { caught_by, ask: |_| None, tell }
    }
}

impl Asked {
    pub fn is(&self, path: &str) -> bool {
        self.path == path
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Changes the request's JSON, where it is some.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        if let Ok(mut value) = serde_json::from_slice(&self.body) {
            change(&mut value);
            self.body = value.to_string().into();
        }
    }
}

impl Told {
    pub fn refusal(status: u16) -> Self {
        let body = json!({"error_msg": "a mistake"}).to_string().into();
        Self { status, headers: HeaderMap::new(), body }
    }

    /// Changes the answer's JSON, where it is some, and keeps its form.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        if let Ok(mut value) = serde_json::from_slice(&self.body) {
            change(&mut value);
            self.body = format!("{value:#}\n").into();
        }
    }
}

struct Proxy {
    mistake: Mistake,
    agent: SocketAddr,
    http: reqwest::Client,
}

/// Starts a proxy before the agent, and returns its URL.
pub async fn before(agent: &Agent, mistake: Mistake) -> String {
    kiln_tls::install_provider();
    let http = reqwest::Client::builder().no_proxy().http1_only().build().expect("a client");
    let proxy = Arc::new(Proxy { mistake, agent: agent.address, http });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = axum::Router::new().fallback(pass).with_state(proxy);
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn pass(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut asked = Asked { path, headers: parts.headers, body };
    if let Some(told) = (proxy.mistake.ask)(&mut asked) {
        return respond(told);
    }
    let url = format!("http://{}{}", proxy.agent, asked.path);
    let sent = proxy.http.request(parts.method, url).body(asked.body.clone()).send().await;
    let Ok(answer) = sent else { return respond(Told::refusal(502)) };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    if status == StatusCode::OK && asked.path.starts_with("/stream_output") {
        return (status, headers, Body::from_stream(answer.bytes_stream())).into_response();
    }
    let body = answer.bytes().await.unwrap_or_default();
    let mut told = Told { status: status.as_u16(), headers, body };
    (proxy.mistake.tell)(&asked, &mut told);
    respond(told)
}

fn respond(told: Told) -> Response {
    let status = StatusCode::from_u16(told.status).expect("a status");
    (status, told.headers, told.body).into_response()
}
