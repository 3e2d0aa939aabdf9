//! Answers and bodies in the form of the protocol.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use kiln_mask::{Masked, Secrets, Texts};
use kiln_wire::Unreadable;
use kiln_wire::agent::{Cause, ErrorBody};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Api;
use crate::agent::AgentError;
use crate::archive::ArchiveError;
use crate::machine::ClaimError;

/// A JSON answer, indented by two and never to be cached. [`Api::answer`] makes it.
pub(super) struct Json<T>(Masked<T>);

/// An answer that is not a success. Its message is told by [`tell`] alone.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub message: String,
    /// Why the stage is over, with status 410.
    pub reason: Cause,
}

pub(super) type Reply<T> = Result<Json<T>, Refusal>;

impl Api {
    /// Answers with a message, whose texts are masked.
    pub(super) fn answer<T: Texts>(&self, message: T) -> Reply<T> {
        Ok(Json(self.agent.secrets().mask(message)))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

fn json(status: StatusCode, body: &Masked<impl Serialize>) -> Response {
    respond(status, serde_json::to_vec_pretty(body))
}

/// A message with any status, whose texts are masked.
pub(super) fn with_status<T: Texts + Serialize>(status: StatusCode, message: T, secrets: &Secrets) -> Response {
    json(status, &secrets.mask(message))
}

/// Apart from `json`, so that it is compiled once and not for every message.
fn respond(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 UTC")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private, max-age=0")),
        (header::PRAGMA, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-expires"), HeaderValue::from_static("0")),
    ];
    match body {
        Ok(mut text) => {
            text.push(b'\n');
            (status, headers, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), reason: Cause::Unknown }
    }

    pub(super) fn internal(message: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(super) fn bad(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Refusal {
    /// Says the status alone. The message goes along for [`tell`], because it may quote a secret.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Puts the message of a refusal into its answer, masked.
pub(super) fn tell(mut response: Response, secrets: &Secrets) -> Response {
    let Some(Refusal { status, message, reason }) = response.extensions_mut().remove() else { return response };
    let body = secrets.mask(ErrorBody { error_msg: message, reason });
    tracing::info!(status = status.as_u16(), error = body.error_msg, "refused");
    json(status, &body)
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        let gone = |reason| Self { reason, ..Self::new(StatusCode::GONE, &error) };
        match error {
            AgentError::Over { cause, .. } => gone(cause),
            AgentError::OtherEpoch => gone(Cause::OtherEpoch),
            AgentError::NoId | AgentError::UnknownStep | AgentError::Services(_) | AgentError::LogKey(_) => {
                Self::bad(with_causes(&error))
            }
            AgentError::NoTerminal | AgentError::InUse => Self::new(StatusCode::CONFLICT, error),
            AgentError::Spool { .. }
            | AgentError::Setup(_)
            | AgentError::Containers(_)
            | AgentError::Engine(_)
            | AgentError::Journal(_)
            | AgentError::SelfTest(_)
            | AgentError::Egress(_)
            | AgentError::Identities { .. } => Self::internal(error),
        }
    }
}

/// An error with all that led to it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl From<ArchiveError> for Refusal {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Directory { .. } | ArchiveError::Path { .. } | ArchiveError::Outside { .. } => {
                Self::bad(error)
            }
            ArchiveError::Broken(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error),
            ArchiveError::Lost(_) => Self::new(StatusCode::REQUEST_TIMEOUT, error),
            ArchiveError::Unpack { .. } | ArchiveError::Read(_) | ArchiveError::Thread(_) => Self::internal(error),
        }
    }
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Taken { .. } => Self::new(StatusCode::CONFLICT, error),
            ClaimError::Read { .. } | ClaimError::Journal(_) => Self::internal(error),
            ClaimError::NoId | ClaimError::Entropy | ClaimError::HalfTls | ClaimError::Tls(_) => Self::bad(error),
        }
    }
}

/// Reads a JSON body. Its content type is not looked at: the original's client sends none.
pub(super) async fn read<T: DeserializeOwned>(body: Body, limit_bytes: usize) -> Result<T, Refusal> {
    let bytes = collect(body, limit_bytes).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad(format!("the request is not valid: {}", Unreadable::from(error))))
}

/// Apart from `read`, so that it is compiled once and not for every message.
async fn collect(body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let bytes = to_bytes(body, limit_bytes).await.map_err(|error| {
        let message = format!("the request cannot be read, or is larger than {limit_bytes} bytes: {error}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    if bytes.is_empty() { Err(Refusal::bad("EOF")) } else { Ok(bytes) }
}
