//! The broker that mints tokens for workload tokens.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request};
use kiln_wire::agent::{MintWorkloadTokenResponse, WorkloadIdentity};
use serde::{Deserialize, Serialize};

use crate::web::{self, CallError, Caller, Web};

const WORKLOAD_TOKEN: HeaderName = HeaderName::from_static("workload-token");
const WITHIN: Duration = Duration::from_secs(15);

/// Why the broker gives no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokerError {
    #[error("wi_token_generate_url is no http or https address")]
    Address,
    #[error("the workload token has characters that no HTTP header can have")]
    Token,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// It is not shown: it may have a token.
    #[error("the broker's answer has no token")]
    Answer,
}

#[derive(Serialize)]
struct Wanted<'a> {
    audience: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    token_mode: &'a str,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Given {
    token: String,
    expires_in: i64,
}

/// Asks for a token.
pub(super) async fn ask(
    web: Arc<Web>,
    url: &str,
    identity: &WorkloadIdentity,
    audience: &str,
) -> Result<MintWorkloadTokenResponse, BrokerError> {
    let address = web::address(url).ok_or(BrokerError::Address)?;
    let mut token = HeaderValue::from_str(&identity.workload_token).map_err(|_| BrokerError::Token)?;
    token.set_sensitive(true);
    // Two texts always have a JSON form.
    let wanted = serde_json::to_vec(&Wanted { audience, token_mode: &identity.token_mode }).unwrap_or_default();
    let request = Request::builder().method(Method::POST).uri(address);
    let request =
        request.header(WORKLOAD_TOKEN, token).header(CONTENT_TYPE, "application/json").body(Body::from(wanted))?;
    let answer = Caller::new(web).call(request, false, WITHIN).await?;
    let given: Given = serde_json::from_slice(&answer.body).map_err(|_| BrokerError::Answer)?;
    if given.token.is_empty() {
        return Err(BrokerError::Answer);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let expires_at_unix = if given.expires_in > 0 { now.saturating_add(given.expires_in) } else { 0 };
    Ok(MintWorkloadTokenResponse { oidc_token: given.token, expires_at_unix, error: String::new() })
}
