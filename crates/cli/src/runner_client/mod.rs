//! Asks a runner over its HTTP API.
//!
//! An answer is kept as the runner sent it, beside what was read from it: programs get the former, people a view of the
//! latter.

mod error;
mod events;
mod settings;

use std::time::Duration;

use kiln_wire::runner::ErrorBody;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::operator::{Access, Asking};

pub use error::RunnerError;
pub use events::{Events, Next};

/// A connection is made within this or not at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An answer is whole within this. Nothing that is asked here waits for a VM.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longer answers are refused.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// A runner and our way to it.
#[derive(Clone)]
pub struct Runner {
    http: reqwest::Client,
    url: String,
    token: Option<HeaderValue>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// As it came, without the end of its line.
    pub text: String,
    /// What it says.
    pub message: T,
}

/// A client for calls that may wait for hours, which shows our token, and the runner's URL.
pub fn patient(url: &str, access: &Access) -> Result<(reqwest::Client, String), RunnerError> {
    Ok((settings::client(access, true)?, settings::base(url)?))
}

impl Runner {
    /// Prepares to ask; connects at the first question.
    pub fn new(asking: &Asking) -> Result<Self, RunnerError> {
        let (http, url) = (settings::client(&asking.access, false)?, settings::base(&asking.url)?);
        let token = settings::token(asking.access.token_file.as_deref(), std::env::var_os(settings::TOKEN_VARIABLE))?;
        Ok(Self { http, url, token })
    }

    /// Asks for something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    /// Asks for something that may not be there.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<Answer<T>>, RunnerError> {
        match self.get(path, &[]).await {
            Ok(answer) => Ok(Some(answer)),
            Err(RunnerError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for a change.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for the end of something.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, RunnerError> {
        self.answer(self.request(Method::DELETE, path)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<Answer<T>, RunnerError> {
        let answer = self.send(request.timeout(ANSWER_WITHIN)).await?;
        let text = self.text(answer).await?;
        let message =
            serde_json::from_str(&text).map_err(|source| RunnerError::Malformed { url: self.url.clone(), source })?;
        Ok(Answer { text: text.trim_end().to_owned(), message })
    }

    /// Sends a request; an answer that is not a success is an error.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, RunnerError> {
        let answer = request.send().await.map_err(|error| RunnerError::of(&self.url, error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = self.text(answer).await?;
        let Ok(body) = serde_json::from_str::<ErrorBody>(&text) else {
            return Err(RunnerError::Stranger { url: self.url.clone(), status: status.as_u16() });
        };
        if status == StatusCode::UNAUTHORIZED {
            return Err(RunnerError::Unauthorized { url: self.url.clone(), message: body.error_msg });
        }
        Err(RunnerError::Refused { status: status.as_u16(), message: body.error_msg })
    }

    async fn text(&self, mut answer: reqwest::Response) -> Result<String, RunnerError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| RunnerError::of(&self.url, error))? {
            if bytes.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(RunnerError::TooLong { url: self.url.clone() });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A route with what stands for its variable part: `route(INSTANCE, "{id}", "kiln-1")`.
#[must_use]
pub fn route(template: &str, variable: &str, value: &str) -> String {
    let escaped = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    template.replace(variable, &escaped)
}
