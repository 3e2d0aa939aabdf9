//! Client of the runner's HTTP API.
//!
//! | calls | answered within | repeated |
//! |---|---|---|
//! | [`get`](Runner::get), [`post`](Runner::post) and the like: questions that wait for nothing | 30 s | no |
//! | [`set_up`](Runner::set_up), [`step`](Runner::step) and the like: they wait for an instance, or a step | hours | while nobody answers |
//!
//! A repetition does no harm: the runner joins it to what the first call began, by the stage's or the step's id. An answer
//! is kept as the runner sent it, beside what was read from it.

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

/// A connection is made within this or not at all.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An answer that waits for nothing is whole within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longer answers are refused.
pub(crate) const ANSWER_MAX_BYTES: usize = 64 << 20;

/// How long a runner that nobody can reach is asked again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A runner that could not be reached for this long is lost; one that is restarted is back before.
    pub unreachable_for: Duration,
    /// The pause between two tries.
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
    /// As it came, without the end of its line.
    pub text: String,
    /// What it says.
    pub message: T,
}

impl Runner {
    /// Prepares to ask the runner at `url`; connects at the first question.
    ///
    /// # Errors
    /// When the URL, the token or a certificate is not one.
    pub fn new(url: &str, access: &Access) -> Result<Self, RunnerError> {
        let (url, http) = (access::base(url)?, access::client(access)?);
        Ok(Self { http, url, patience: Patience::default(), repeats: Arc::default() })
    }

    /// The same, with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// How often this client and its copies asked again because nobody answered.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::GET, path).query(query).timeout(ANSWER_WITHIN)).await
    }

    /// Asks for something that may not be there.
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

    /// Asks for a change.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::POST, path).json(body).timeout(ANSWER_WITHIN)).await
    }

    /// Asks for the end of something.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::DELETE, path).timeout(ANSWER_WITHIN)).await
    }

    /// Asks for a change that may take hours, once.
    ///
    /// # Errors
    /// When the runner does not answer, or refuses.
    pub async fn wait<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RunnerError> {
        Ok(self.answer(self.request(Method::POST, path).json(body)).await?.message)
    }

    /// Asks for a change, for what the answer says.
    async fn change<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, RunnerError> {
        Ok(self.post(path, body).await?.message)
    }

    /// Whether the runner serves and can write down what it does.
    pub async fn is_healthy(&self) -> bool {
        let request = self.request(Method::GET, kiln_wire::runner::HEALTHZ).timeout(ANSWER_WITHIN);
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks again and again while nobody answers, as long as the runner's patience lasts.
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
        // Some routes answer with nothing.
        let json: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        let message = serde_json::from_slice(json)
            .map_err(|error| RunnerError::Malformed { url: self.url.clone(), source: error.into() })?;
        Ok(Answer { text: String::from_utf8_lossy(&bytes).trim_end().to_owned(), message })
    }

    /// Sends a request; an answer that is not a success is an error.
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

/// A route with what stands for its variable part: `route(INSTANCE, "{id}", "kiln-1")`.
#[must_use]
pub fn route(template: &str, variable: &str, value: &str) -> String {
    let escaped = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    template.replace(variable, &escaped)
}
