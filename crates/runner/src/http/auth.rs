//! Who may call.
//!
//! With a token, every call but the plain `/healthz` must show it. Without one the API stands on loopback alone, and then
//! whoever can make this machine's own programs call it must be kept out: a page in a browser (CSRF, DNS rebinding), or a step
//! in a VM whose network reaches the host's loopback under another name. Both show in the names that they call us by.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kiln_wire::runner;

use super::reply::Refusal;
use super::{Api, Settings};

/// A secret that callers show.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Shorter ones can be guessed.
    pub const MIN_BYTES: usize = 16;

    /// Takes the secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(super) fn is_short(&self) -> bool {
        self.0.len() < Self::MIN_BYTES
    }

    /// Whether it is the one that was shown. How long that takes tells only how long what was shown is.
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

/// Lets a request through, or answers it.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let open = request.uri().path() == runner::HEALTHZ && request.uri().query().is_none();
    match check(&api.settings, request.headers(), request.uri()) {
        Err(refusal) if !open => refusal.into_response(),
        _ => next.run(request).await,
    }
}

fn check(settings: &Settings, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    if let Some(token) = &settings.token {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown =
            shown.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        return match shown {
            Some((_, shown)) if token.is(shown.trim()) => Ok(()),
            Some(_) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "the token is not the one of this runner")),
            None => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "this runner wants a token; send it as `Authorization: Bearer TOKEN`",
            )),
        };
    }
    if settings.wants_certificates() {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("?"));
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text(header::HOST));
    if let Some(host) = host.filter(|host| !is_ours(settings, host)) {
        let message = format!(
            "this runner has no token, so it answers only to names of this machine, not to `{host}`; \
             call it as localhost, name that host in its settings, or give it a token"
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    let origin = text(header::ORIGIN);
    let from = origin.map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    if let Some(from) = from.filter(|from| !is_ours(settings, from)) {
        let message = format!("this runner has no token, so it does not answer to pages of other sites (`{from}`)");
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    Ok(())
}

/// Whether a host, with or without a port, is this machine by a name that nobody else can give.
fn is_ours(settings: &Settings, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let local = name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    local || settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        let settings = Settings { allowed_hosts: vec!["Runner.Internal".into()], ..Settings::default() };
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "a.localhost:1",
            "127.0.0.1:3000",
            "127.8.8.8",
            "[::1]:3000",
            "runner.internal:3000",
            "localhost.",
        ] {
            assert!(is_ours(&settings, host), "{host}");
        }
        for host in [
            "",
            "null",
            "10.0.2.2:3000",
            "evil.example",
            "localhost.evil.example",
            "[2001:db8::1]",
            "0.0.0.0:3000",
            "127.0.0.1.evil.example",
            "xlocalhost",
        ] {
            assert!(!is_ours(&settings, host), "{host}");
        }
    }

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
