//! Authentication of callers.
//!
//! With a token, every call but the plain `/healthz` must present it. Without one the API listens on loopback alone,
//! and a request must come from a program of this machine: see [`origin`](super::origin).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kiln_wire::runner;

use super::reply::Refusal;
use super::{Api, Settings, origin};

/// A secret that callers present.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The least length of a token in bytes. Shorter ones can be guessed.
    pub const MIN_BYTES: usize = 16;

    /// Creates a token of this secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(super) fn is_short(&self) -> bool {
        self.0.len() < Self::MIN_BYTES
    }

    /// Returns whether the presented token is this one. The time that this takes depends on the length of the presented
    /// one alone.
    fn is(&self, shown: &str) -> bool {
        let (ours, shown) = (self.0.as_bytes(), shown.as_bytes());
        let mut difference = usize::from(ours.len() != shown.len());
        for (at, byte) in shown.iter().enumerate() {
            difference |= usize::from(byte ^ ours.get(at % ours.len().max(1)).copied().unwrap_or(0));
        }
        std::hint::black_box(difference) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The guard's data for judging a request.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) api: Arc<Api>,
    /// The port that the API listens on.
    pub(super) port: u16,
}

/// Marks the requests of authenticated callers. Only `/healthz` is served without it.
#[derive(Clone, Copy)]
pub(super) struct Welcome;

/// Lets a request through, or answers it with 401 or 403.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let open = request.uri().path() == runner::HEALTHZ && request.uri().query().is_none();
    match check(&guard.api.settings, guard.port, request.headers(), request.uri()) {
        Err(refusal) if !open => return refusal.into_response(),
        Err(_) => {}
        Ok(()) => drop(request.extensions_mut().insert(Welcome)),
    }
    next.run(request).await
}

fn check(settings: &Settings, port: u16, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    if let Some(token) = &settings.token {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown =
            shown.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        return match shown {
            Some((_, shown)) if token.is(shown.trim()) => Ok(()),
            Some(_) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "the token is not this runner's")),
            None => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "this runner requires a token; send it as `Authorization: Bearer TOKEN`",
            )),
        };
    }
    if settings.wants_certificates() {
        return Ok(());
    }
    origin::check(settings, port, headers, uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_it() {
        let token = Token::new("0123456789abcdef");
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0", "0123456789abcdeF", "0123456789abcdef0123456789abcdef", "0123456789abcde"] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
