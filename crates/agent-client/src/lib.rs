//! Client of the agent's API over mTLS.
//!
//! An [`Agent`] has an address, the name that the agent's certificate must carry, and the client's own certificate. It keeps a
//! connection for control and pings it, so that a call to a VM that has gone silent fails within [`PING_EVERY`] + [`PING_ANSWER`].
//! Long polls have no other limit, because a step may run for hours. Bulk transfers have connections of their own, see
//! [`BULK_MOST`], so that a slow reader holds up nothing else. One to a VM that has gone silent fails within [`PING_EVERY`] +
//! [`HEALTH_WITHIN`].

mod archive;
mod bulk;
mod connection;
mod error;
mod output;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_tls::Identity;
use kiln_wire::agent::{self as wire, archive as archives, kiln};
use kiln_wire::reach::Reach;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use connection::Bulk;

pub use archive::Packing;
pub use connection::BULK_MOST;
pub use error::AgentError;
pub use output::OutputChunk;

/// How often an idle or waiting connection is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(15);
/// How long the answer to a ping may take. Without one the connection is dead.
pub const PING_ANSWER: Duration = Duration::from_secs(5);
/// How long the answer to a call may take that waits for nothing in the VM.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two tries of a health check.
const HEALTH_PAUSE: Duration = Duration::from_millis(20);
/// How long one try of a health check may take.
pub const HEALTH_WITHIN: Duration = Duration::from_secs(10);
/// Pause before a poll or a stream that broke is made anew.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// Greatest length of an answer. The longest one holds the exported variables and outputs of a step.
pub const ANSWER_MAX_BYTES: usize = 64 << 20;
/// How much of a refusal is read.
const REFUSAL_MAX_BYTES: usize = 64 << 10;

/// Status of a route that the agent does not have.
const NO_SUCH_ROUTE: u16 = 404;

/// The outcome of a self-test that did not fail.
#[derive(Clone, Debug, PartialEq)]
pub enum SelfTest {
    /// The VM carried out a step.
    Passed(kiln::SelfTestResponse),
    /// The agent has no such route, because it is an older one or not Kiln's.
    Unknown,
}

/// What a client of agents needs: the CA that signed their certificates, and a certificate of its own.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// PEM of the CA.
    pub ca_pem: String,
    /// The client's certificate and key.
    pub client: Identity,
}

/// Tells that an agent is out of reach, from when a call first finds it so until that call ends.
struct OutOfReach<'a>(&'a watch::Sender<bool>);

impl OutOfReach<'_> {
    fn set(&self, is_so: bool) {
        self.0.send_if_modified(|before| std::mem::replace(before, is_so) != is_so);
    }
}

impl Drop for OutOfReach<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A client of one agent.
#[derive(Clone, Debug)]
pub struct Agent {
    control: reqwest::Client,
    bulk: Bulk,
    base: String,
    passed_on: bool,
    /// Names the stage in each request.
    epoch: Option<HeaderValue>,
    /// Whether a wait for a step's end has lost its connection and made no other one.
    is_out_of_reach: Arc<watch::Sender<bool>>,
    /// That of a socket whose path is too long for an address.
    _folder: connection::Folder,
}

impl Agent {
    /// Makes a client of the agent at `reach`, whose certificate must carry `server_name`. It connects at the first call.
    pub fn new(reach: &Reach, server_name: &str, credentials: &Credentials) -> Result<Self, AgentError> {
        let (reach, folder) = connection::shortened(reach);
        let (control, bulk, base) = connection::connect(&reach, server_name, credentials)?;
        let is_out_of_reach = Arc::default();
        Ok(Self { control, bulk, base, passed_on: false, epoch: None, is_out_of_reach, _folder: folder })
    }

    /// Makes a client that speaks to a stage's agent through the runner. `base` is the runner's URL of the stage. The runner passes on
    /// what a stage needs, and no claims, identities and terminals.
    #[must_use]
    pub fn through_runner(http: reqwest::Client, base: &str) -> Self {
        // A runner speaks HTTP/1.1, in which each request has a connection of its own.
        let bulk = Bulk::new(http.clone());
        let base = base.trim_end_matches('/').to_owned();
        let is_out_of_reach = Arc::default();
        Self { control: http, bulk, base, passed_on: true, epoch: None, is_out_of_reach, _folder: None }
    }

    /// Returns a client over the same connections that names the stage in each call. An agent that was set up for another stage, or has
    /// forgotten its stage, refuses such calls. An agent that is not Kiln's does not look at the name.
    #[must_use]
    pub fn for_stage(&self, stage: &str) -> Self {
        Self { epoch: Some(epoch_of(stage)), ..self.clone() }
    }

    /// Tells whether the agent is out of reach of those who wait for the end of a step.
    #[must_use]
    pub fn out_of_reach(&self) -> watch::Receiver<bool> {
        self.is_out_of_reach.subscribe()
    }

    /// Asks once whether the agent serves.
    pub async fn health(&self) -> Result<wire::HealthResponse, AgentError> {
        if self.passed_on {
            // The runner gets the list from the agent, so that an answer means that the agent serves.
            let request = self.request(&self.control, Method::GET, kiln::STEPS).timeout(HEALTH_WITHIN);
            let _: kiln::StepList = decode(kiln::STEPS, send(kiln::STEPS, request).await?).await?;
            return Ok(wire::HealthResponse { ok: true, ..wire::HealthResponse::default() });
        }
        let request = self.request(&self.control, Method::GET, wire::HEALTHZ).timeout(HEALTH_WITHIN);
        decode(wire::HEALTHZ, send(wire::HEALTHZ, request).await?).await
    }

    /// Asks until the agent serves. After `within` it returns the last error.
    pub async fn wait_healthy(&self, within: Duration) -> Result<wire::HealthResponse, AgentError> {
        let deadline = Instant::now() + within;
        loop {
            match self.health().await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(HEALTH_PAUSE).await,
            }
        }
    }

    /// Gives a clone its identity. Calls after that need a new [`Agent`] with the new name.
    pub async fn claim(&self, request: &kiln::ClaimRequest) -> Result<kiln::Identity, AgentError> {
        self.post(kiln::CLAIM, request).await
    }

    /// Returns who the VM is.
    pub async fn identity(&self) -> Result<kiln::Identity, AgentError> {
        let request = self.request(&self.control, Method::GET, kiln::IDENTITY).timeout(ANSWER_WITHIN);
        decode(kiln::IDENTITY, send(kiln::IDENTITY, request).await?).await
    }

    /// Lets the VM prove that it can carry out a step, before a stage is set up there.
    ///
    /// # Errors
    /// When the VM cannot, when a stage is set up there, or when no answer came.
    pub async fn self_test(&self) -> Result<SelfTest, AgentError> {
        match self.post(kiln::SELF_TEST, &wire::Empty {}).await {
            Ok(passed) => Ok(SelfTest::Passed(passed)),
            Err(AgentError::Refused { status: NO_SUCH_ROUTE, .. }) => Ok(SelfTest::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Prepares the VM for one stage.
    pub async fn setup(&self, request: &wire::SetupRequest) -> Result<(), AgentError> {
        self.post::<_, wire::Empty>(wire::SETUP, request).await.map(drop)
    }

    /// Starts a step. A second start with the same id changes nothing.
    pub async fn start_step(&self, request: &wire::StartStepRequest) -> Result<(), AgentError> {
        self.post::<_, wire::Empty>(wire::START_STEP, request).await.map(drop)
    }

    /// Waits for a step's end. A connection that breaks is made anew, until the agent was out of reach for `unreachable_for`.
    pub async fn poll_step(&self, id: &str, unreachable_for: Duration) -> Result<wire::PollStepResponse, AgentError> {
        let body = wire::PollStepRequest { id: id.to_owned(), secrets: true };
        // The agent answers a poll when the step ends, so patience is counted from the first poll that fails.
        let mut silent_since = None;
        let out_of_reach = OutOfReach(&self.is_out_of_reach);
        loop {
            let error = match self.post_unbounded(wire::POLL_STEP, &body).await {
                Ok(answer) => return decode(wire::POLL_STEP, answer).await,
                Err(error) => error,
            };
            if !error.is_connection() {
                return Err(error);
            }
            let since = *silent_since.get_or_insert_with(Instant::now);
            out_of_reach.set(true);
            if self.health().await.is_ok() {
                silent_since = None;
                out_of_reach.set(false);
            } else if since.elapsed() >= unreachable_for {
                return Err(error);
            }
            tokio::time::sleep(RESUME_PAUSE).await;
        }
    }

    /// Ends a step and all processes that it started.
    pub async fn cancel(&self, request: &kiln::CancelRequest) -> Result<(), AgentError> {
        self.post::<_, wire::Empty>(kiln::CANCEL, request).await.map(drop)
    }

    /// Returns the steps that the agent knows.
    pub async fn steps(&self) -> Result<kiln::StepList, AgentError> {
        let request = self.request(&self.control, Method::GET, kiln::STEPS).timeout(ANSWER_WITHIN);
        decode(kiln::STEPS, send(kiln::STEPS, request).await?).await
    }

    /// Tells a step's terminal its new size.
    pub async fn resize(&self, request: &kiln::ResizeRequest) -> Result<(), AgentError> {
        self.post::<_, wire::Empty>(kiln::RESIZE, request).await.map(drop)
    }

    /// Ends the stage and all its processes.
    pub async fn destroy(&self) -> Result<wire::DestroyResponse, AgentError> {
        self.post(wire::DESTROY, &wire::DestroyRequest::default()).await
    }

    fn request(&self, http: &reqwest::Client, method: Method, path: &str) -> reqwest::RequestBuilder {
        let path = if self.passed_on { at_runner(path) } else { path };
        let request = http.request(method, format!("{}{path}", self.base));
        match &self.epoch {
            Some(epoch) => request.header(kiln::EPOCH_HEADER, epoch.clone()),
            None => request,
        }
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(&self, path: &'static str, body: &Q) -> Result<A, AgentError> {
        let request = self.request(&self.control, Method::POST, path).timeout(ANSWER_WITHIN).json(body);
        decode(path, send(path, request).await?).await
    }

    async fn post_unbounded<Q: Serialize>(
        &self,
        path: &'static str,
        body: &Q,
    ) -> Result<reqwest::Response, AgentError> {
        send(path, self.request(&self.control, Method::POST, path).json(body)).await
    }
}

/// Returns a stage's id as the value of a header. `%` and bytes that are not visible ASCII are written as `%` and two hexadecimal
/// digits.
fn epoch_of(stage: &str) -> HeaderValue {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    let text: String = stage
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    // Any visible ASCII text can be the value of a header.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Returns the runner's path, below that of the stage, for a route of the agent.
fn at_runner(path: &str) -> &str {
    match path {
        wire::START_STEP | kiln::STEPS => "/steps",
        wire::POLL_STEP => "/steps/poll",
        wire::DESTROY => "/steps/end",
        kiln::CANCEL => "/steps/cancel",
        kiln::OUTPUT => "/output",
        kiln::WORKSPACE => "/workspace",
        kiln::FILES => "/files",
        archives::LOOK => "/look",
        archives::ARCHIVE => "/archive",
        other => other,
    }
}

async fn send(path: &'static str, request: reqwest::RequestBuilder) -> Result<reqwest::Response, AgentError> {
    let answer = request.send().await.map_err(|e| AgentError::of(path, e))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let (mut bytes, cut) = read(path, answer, REFUSAL_MAX_BYTES).await?;
    bytes.truncate(REFUSAL_MAX_BYTES);
    let text = String::from_utf8_lossy(&bytes).into_owned() + if cut { "…" } else { "" };
    let body = serde_json::from_str::<wire::ErrorBody>(&text);
    let (message, reason) = body.map_or((text, wire::Cause::Unknown), |body| (body.error_msg, body.reason));
    Err(AgentError::Refused { path, status: status.as_u16(), message, reason })
}

/// Returns the first `most` bytes of the body or a few more, and whether the body is longer than `most`.
async fn read(path: &'static str, mut answer: reqwest::Response, most: usize) -> Result<(Vec<u8>, bool), AgentError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| AgentError::of(path, e))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > most {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

async fn decode<A: DeserializeOwned>(path: &'static str, answer: reqwest::Response) -> Result<A, AgentError> {
    let (bytes, cut) = read(path, answer, ANSWER_MAX_BYTES).await?;
    if cut {
        return Err(AgentError::TooLong { path, limit_bytes: ANSWER_MAX_BYTES });
    }
    serde_json::from_slice(&bytes).map_err(|error| AgentError::Malformed { path, source: error.into() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Returns a client of an agent that answers every request with this head and then spaces without end.
    async fn rogue(head: &'static str) -> Agent {
        kiln_tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _asked = stream.read(&mut request).await;
                let _told = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await;
                while stream.write_all(&[b' '; 1 << 16]).await.is_ok() {}
            }
        });
        Agent::through_runner(reqwest::Client::builder().no_proxy().build().expect("a client"), &base)
    }

    /// Counted from the beginning of the poll, patience was over at once for a step that had run for longer.
    #[tokio::test]
    async fn patience_begins_when_a_poll_breaks_off_and_not_when_it_began() {
        const PATIENCE: Duration = Duration::from_secs(1);
        kiln_tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let agent = Agent::through_runner(reqwest::Client::builder().no_proxy().build().expect("a client"), &base);
        tokio::spawn(async move {
            let (long, _) = listener.accept().await.expect("a poll");
            tokio::time::sleep(PATIENCE).await;
            drop(long);
            let (health, _) = listener.accept().await.expect("the question whether it serves");
            drop(health);
            let (mut stream, _) = listener.accept().await.expect("another poll");
            let mut request = [0; 4096];
            let _asked = stream.read(&mut request).await;
            let body = r#"{"exited":true,"exit_code":7}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.expect("it reads");
        });
        let ended = agent.poll_step("s", PATIENCE).await;
        assert_eq!(ended.expect("the second poll is answered").exit_code, 7);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_given_up() {
        let error = rogue("200 OK").await.poll_step("s", Duration::ZERO).await.expect_err("no end");
        assert!(matches!(error, AgentError::TooLong { .. }), "{error:?}");
        let error = rogue("500 No").await.steps().await.expect_err("no end");
        let AgentError::Refused { status: 500, message, .. } = error else { panic!("{error:?}") };
        assert_eq!(message.len(), REFUSAL_MAX_BYTES + "…".len());
    }

    /// The header that names the stage in the next request that an agent gets.
    async fn named_by(stage: Option<&str>) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let agent = Agent::through_runner(reqwest::Client::builder().no_proxy().build().expect("a client"), &base);
        let agent = stage.map_or_else(|| agent.clone(), |stage| agent.for_stage(stage));
        let asked = tokio::spawn(async move { agent.steps().await });
        let (mut stream, _) = listener.accept().await.expect("a request");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a header"));
        }
        drop(stream);
        asked.await.expect("no panic").expect_err("no answer");
        let text = String::from_utf8(request).expect("text");
        text.lines().find_map(|line| line.strip_prefix("x-kiln-epoch: ")).map(ToOwned::to_owned)
    }

    #[tokio::test]
    async fn a_stage_of_any_id_is_named_in_visible_characters() {
        kiln_tls::install_provider();
        assert_eq!(named_by(None).await, None);
        for (stage, named) in [("run-1-build", "run-1-build"), ("a b%ü\n", "a%20b%25%C3%BC%0A")] {
            assert_eq!(named_by(Some(stage)).await.as_deref(), Some(named));
        }
    }

    #[tokio::test]
    async fn why_a_stage_is_over_is_told_by_status_and_word() {
        kiln_tls::install_provider();
        for (head, reason) in [
            ("410 Gone", Some(wire::Cause::AgentRestarted)),
            // Somebody else's word, or none.
            ("409 Conflict", None),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            let base = format!("http://{}", listener.local_addr().expect("an address"));
            let agent = Agent::through_runner(reqwest::Client::builder().no_proxy().build().expect("a client"), &base);
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a request");
                let mut request = [0; 4096];
                let _asked = stream.read(&mut request).await;
                let body = r#"{"error_msg":"it is over","reason":"agent_restarted"}"#;
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _told = stream.write_all(answer.as_bytes()).await;
                let mut rest = Vec::new();
                let _read = stream.read_to_end(&mut rest).await;
            });
            let error = agent.start_step(&wire::StartStepRequest::default()).await.expect_err("a refusal");
            assert_eq!(error.over(), reason, "{error}");
            assert!(error.to_string().contains("it is over"), "{error}");
        }
    }
}
