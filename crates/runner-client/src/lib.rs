//! Client of the runner's HTTP API.
//!
//! | calls | answered within | repeated |
//! |---|---|---|
//! | [`get`](Runner::get), [`post`](Runner::post) and the like: questions that wait for nothing | 30 s | no |
//! | [`set_up`](Runner::set_up), [`step`](Runner::step) and the like: they wait for an instance, or a step | hours | while nobody answers |
//!
//! Repeating a call does no harm: the runner joins it to the first call by the stage's or the step's id. An answer is
//! kept as the runner sent it, beside the parsed message.

mod access;
mod error;
mod events;
mod stages;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kiln_wire::runner::ErrorBody;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use access::Access;
pub use error::{BadSetting, RunnerError};
pub use events::{Events, Next};

/// Time within which a connection must be made.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Time within which an answer that waits for nothing must be complete.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Size of the longest answer that is accepted.
pub(crate) const ANSWER_MAX_BYTES: usize = 64 << 20;

/// Limits on repeating calls to a runner that cannot be reached.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Time after which an unreachable runner counts as lost. A restart takes less.
    pub unreachable_for: Duration,
    /// Pause between two attempts.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { unreachable_for: Duration::from_secs(60), pause: Duration::from_millis(500) }
    }
}

/// A runner and the way to it.
#[derive(Clone, Debug)]
pub struct Runner {
    http: reqwest::Client,
    url: String,
    patience: Patience,
    repeats: Arc<AtomicU64>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// Its text as received, without the trailing newline.
    pub text: String,
    /// Its parsed message.
    pub message: T,
}

impl Runner {
    /// Prepares calls to the runner at `url`. It connects at the first call.
    ///
    /// # Errors
    /// When the URL, the token or a certificate is not valid.
    pub fn new(url: &str, access: &Access) -> Result<Self, RunnerError> {
        let (url, http) = (access::base(url)?, access::client(access)?);
        Ok(Self { http, url, patience: Patience::default(), repeats: Arc::default() })
    }

    /// Returns this runner with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Returns how often this client and its clones repeated a call because there was no answer.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::GET, path).query(query).timeout(ANSWER_WITHIN)).await
    }

    /// Sends a GET request for something that may not exist.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<Answer<T>>, RunnerError> {
        match self.get(path, &[]).await {
            Ok(answer) => Ok(Some(answer)),
            Err(RunnerError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::POST, path).json(body).timeout(ANSWER_WITHIN)).await
    }

    /// Sends a DELETE request.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::DELETE, path).timeout(ANSWER_WITHIN)).await
    }

    /// Sends a POST request that may take hours, once.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn wait<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RunnerError> {
        Ok(self.answer(self.request(Method::POST, path).json(body)).await?.message)
    }

    /// Sends a POST request and returns the parsed message.
    async fn change<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RunnerError> {
        Ok(self.post(path, body).await?.message)
    }

    /// Tells whether the runner serves and can write to its database.
    pub async fn is_healthy(&self) -> bool {
        let request = self.request(Method::GET, kiln_wire::runner::HEALTHZ).timeout(ANSWER_WITHIN);
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Repeats a call while there is no answer, as long as the runner's patience lasts.
    async fn persist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, RunnerError>
    where
        F: Future<Output = Result<T, RunnerError>>,
    {
        let began = Instant::now();
        loop {
            match ask().await {
                Err(error) if error.is_unreachable() && began.elapsed() < self.patience.unreachable_for => {
                    tracing::debug!(%error, "the runner does not answer; it is asked again");
                    self.repeats.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(self.patience.pause).await;
                }
                done => return done,
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<Answer<T>, RunnerError> {
        let answer = self.send(request).await?;
        let bytes = self.bytes(answer).await?;
        // Some routes have empty answers.
        let json: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        let message = serde_json::from_slice(json)
            .map_err(|error| RunnerError::Malformed { url: self.url.clone(), source: error.into() })?;
        Ok(Answer { text: String::from_utf8_lossy(&bytes).trim_end().to_owned(), message })
    }

    /// Sends a request. An answer that is not a success is an error.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, RunnerError> {
        let answer = request.send().await.map_err(|error| RunnerError::of(&self.url, error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = self.bytes(answer).await?;
        let Ok(body) = serde_json::from_slice::<ErrorBody>(&text) else {
            return Err(RunnerError::Stranger { url: self.url.clone(), status: status.as_u16() });
        };
        if status == StatusCode::UNAUTHORIZED {
            return Err(RunnerError::Unauthorized { url: self.url.clone(), message: body.error_msg });
        }
        let cause = body.cause.map(Box::new);
        Err(RunnerError::Refused { status: status.as_u16(), message: body.error_msg, cause })
    }

    async fn bytes(&self, mut answer: reqwest::Response) -> Result<Bytes, RunnerError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| RunnerError::of(&self.url, error))? {
            if bytes.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(RunnerError::TooLong { url: self.url.clone() });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }
}

/// Returns a route with a value for its variable part: `route(INSTANCE, "{id}", "kiln-1")`.
#[must_use]
pub fn route(template: &str, variable: &str, value: &str) -> String {
    let escaped = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    template.replace(variable, &escaped)
}
