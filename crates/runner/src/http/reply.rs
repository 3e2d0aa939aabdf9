//! Answers and bodies in the two forms of the incumbent: one line for successes and for unreadable requests, indented
//! and uncacheable JSON for failures of the service.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use kiln_agent_client::AgentError;
use kiln_engine::{OperatorError, SetupError, StoreError};
use kiln_pool::Cause;
use kiln_wire::Unreadable;
use kiln_wire::runner::ErrorBody;
use kiln_wire::runner::kiln::EndCause;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agents::chain;

/// Time within which a JSON body must arrive.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// A JSON answer in one line.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) cause: Option<Cause>,
    /// Whether the request could not be read, which has a form of its own.
    unread: bool,
}

pub(super) type Reply<T> = Result<Json<T>, Refusal>;

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        line(StatusCode::OK, &self.0)
    }
}

/// Returns JSON in one line, with a trailing newline.
fn line(status: StatusCode, body: &impl Serialize) -> Response {
    respond(status, &[(header::CONTENT_TYPE, "application/json; charset=utf-8")], serde_json::to_vec(body))
}

/// Returns indented JSON that must not be cached.
fn page(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::EXPIRES, "Thu, 01 Jan 1970 00:00:00 UTC"),
        (header::CACHE_CONTROL, "no-cache, private, max-age=0"),
        (header::PRAGMA, "no-cache"),
        (HeaderName::from_static("x-accel-expires"), "0"),
    ];
    respond(status, &headers, serde_json::to_vec_pretty(body))
}

fn respond(status: StatusCode, headers: &[(HeaderName, &'static str)], body: serde_json::Result<Vec<u8>>) -> Response {
    let mut answer = match body {
        Ok(mut text) => {
            text.push(b'\n');
            (status, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), cause: None, unread: false }
    }

    /// Returns 400, for a request that cannot be carried out.
    pub(super) fn bad(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Returns the refusal of a request or a parameter that cannot be read. The answer has one line and no code.
    pub(super) fn unread(status: StatusCode, message: impl ToString) -> Self {
        Self { unread: true, ..Self::new(status, message) }
    }

    pub(super) fn internal(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(super) fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Changes the status to the incumbent's: 500 for everything that is not the request's own fault.
    pub(super) fn like_incumbent(mut self) -> Self {
        if !self.status.is_client_error() || !(self.unread || self.status == StatusCode::BAD_REQUEST) {
            self.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // The reason why a body cannot be read quotes a piece of it, which may be a secret.
        let why = if self.unread { "the request cannot be read" } else { self.message.as_str() };
        tracing::info!(status = self.status.as_u16(), why, "refused");
        let cause = self.cause.map(|cause| EndCause { code: cause.code.to_string(), evidence: cause.evidence });
        let code = i64::from(self.status.as_u16());
        if self.unread {
            return line(self.status, &ErrorBody { error_msg: self.message, code: 0, cause });
        }
        page(self.status, &ErrorBody { error_msg: self.message, code, cause })
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, chain(&error))
    }
}

impl From<SetupError> for Refusal {
    fn from(error: SetupError) -> Self {
        let message = chain(&error);
        match error {
            SetupError::NoMatch(_) => Self::new(StatusCode::NOT_FOUND, message),
            SetupError::Ended { cause, .. } => Self::new(StatusCode::CONFLICT, message).because(cause),
            SetupError::Store(error) => error.into(),
        }
    }
}

impl From<OperatorError> for Refusal {
    fn from(error: OperatorError) -> Self {
        let message = chain(&error);
        match error {
            OperatorError::UnknownInstance(_) | OperatorError::UnknownPool { .. } => {
                Self::new(StatusCode::NOT_FOUND, message)
            }
            OperatorError::NotHeldable { .. } => Self::new(StatusCode::CONFLICT, message),
            OperatorError::Store(error) => error.into(),
        }
    }
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        let message = chain(&error);
        match error {
            // The agent's refusals are passed on to the caller.
            AgentError::Refused { status, .. } => {
                Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), message)
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, message),
        }
    }
}

/// Reads a JSON body. Its content type and anything after the first value are ignored, because the incumbent's callers
/// rely on both.
pub(super) async fn read<T: DeserializeOwned>(body: Body, limit_bytes: usize) -> Result<T, Refusal> {
    decode(&collect(body, limit_bytes).await?)
}

/// Like [`read`], for an optional body.
pub(super) async fn read_or_default<T: DeserializeOwned + Default>(
    body: Body,
    limit_bytes: usize,
) -> Result<T, Refusal> {
    let bytes = limited(body, limit_bytes).await?;
    if bytes.is_empty() { Ok(T::default()) } else { decode(&bytes) }
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    T::deserialize(&mut reader).map_err(|error| {
        let message = format!("the request is not valid: {}", Unreadable::from(error));
        Refusal::unread(StatusCode::BAD_REQUEST, message)
    })
}

/// Reads the body into memory.
pub(super) async fn collect(body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let bytes = limited(body, limit_bytes).await?;
    if bytes.is_empty() { Err(Refusal::unread(StatusCode::BAD_REQUEST, "EOF")) } else { Ok(bytes) }
}

async fn limited(body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(BODY_WITHIN, to_bytes(body, limit_bytes)).await;
    let too_slow = |_| {
        let message = format!("the request did not arrive within {} s", BODY_WITHIN.as_secs());
        Refusal::unread(StatusCode::REQUEST_TIMEOUT, message)
    };
    read.map_err(too_slow)?.map_err(|_| {
        let message = format!("the request breaks off, or is larger than {limit_bytes} bytes");
        Refusal::unread(StatusCode::PAYLOAD_TOO_LARGE, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_cannot_be_read_is_refused_without_a_quote_of_it() {
        let body = br#"{"id": "s", "setup_request": {"secrets": ["hunter2"], "timeout": "hunter2"}}"#;
        let refused = decode::<kiln_wire::runner::SetupVmRequest>(body).expect_err("no request");
        let expect = "the request is not valid: a value has another type than its field at line 1 column ";
        assert!(refused.message.starts_with(expect), "{}", refused.message);
        assert!(!refused.message.contains("hunter2"), "{}", refused.message);
    }
}
