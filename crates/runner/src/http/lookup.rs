//! `/healthz`, `/metrics`, the description of the API, and unknown paths.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::auth::Welcome;
use super::openapi;
use super::reply::{Json, Refusal};

/// A database that takes longer to answer counts as down.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// Content type of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `OK`, or 503 while nothing can be written to the database; with `?verbose`, a report of all parts. Callers that the
/// guard does not know are not told what the database said.
pub(super) async fn healthz(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    welcome: Option<Extension<Welcome>>,
) -> Response {
    let unwritten = api.health.unwritten(api.settings.unwritten_for);
    let status = if unwritten.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if parameter(query.as_deref(), "verbose").is_some() {
        let asked = tokio::time::timeout(STORE_WITHIN, api.engine.store().drained()).await;
        if !matches!(asked, Ok(Ok(_))) {
            api.health.update(|report| report.store_ok = false);
        }
        return (status, Json(api.health.report())).into_response();
    }
    let text = match unwritten {
        None => "OK".to_owned(),
        Some(unwritten) => {
            let why = if welcome.is_some() { unwritten.error() } else { "ask again as a caller that the runner knows" };
            format!("nothing could be written down for {} s: {why}\n", unwritten.seconds())
        }
    };
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    let text = api.metrics.text(&api.engine, api.connections.now()).await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

pub(super) async fn description() -> Response {
    Json(openapi::document()).into_response()
}

/// Answers an unknown path as the incumbent's router does.
pub(super) async fn not_found() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

/// Returns the decoded value of a parameter. It is empty where the parameter has none.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // In a query a space may be a plus.
        let value = value.replace('+', " ");
        (key == name).then(|| percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned())
    })
}

/// Returns whether a parameter is there and is not `false` or `0`.
pub(super) fn flag(query: Option<&str>, name: &str) -> bool {
    parameter(query, name).is_some_and(|value| value != "false" && value != "0")
}
