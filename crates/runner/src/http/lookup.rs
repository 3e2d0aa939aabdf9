//! `/healthz`, `/metrics`, the description of the API, and unknown paths.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kiln_engine::WriteTrouble;
use kiln_wire::runner::kiln::HealthReport;

use super::Api;
use super::auth::Welcome;
use super::openapi;
use super::reply::{Json, Refusal};

/// Time after which a database without an answer counts as down.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// Content type of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `OK`, or 503 when no write to the database has succeeded for a while; with `?verbose`, a report of all
/// parts. A full disk that still takes ends and leases counts as a failure, because no stage is stored. Unauthenticated
/// callers do not get the database's message.
pub(super) async fn healthz(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    welcome: Option<Extension<Welcome>>,
) -> Response {
    let trouble = api.engine.store().write_trouble().filter(|trouble| trouble.lasts >= api.settings.unwritten_for);
    let status = if trouble.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if parameter(query.as_deref(), "verbose").is_some() {
        return (status, Json(report(&api, trouble).await)).into_response();
    }
    let text = match trouble {
        None => "OK".to_owned(),
        Some(WriteTrouble { lasts, why }) => {
            let why = if welcome.is_some() { &why } else { "authenticate to see the reason" };
            format!("nothing could be written to the database for {} s: {why}\n", lasts.as_secs())
        }
    };
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Returns the passes' report, with the store's present state.
async fn report(api: &Api, trouble: Option<WriteTrouble>) -> HealthReport {
    let mut report = api.health.report();
    let asked = tokio::time::timeout(STORE_WITHIN, api.engine.store().drained()).await;
    if trouble.is_some() || !matches!(asked, Ok(Ok(_))) {
        (report.store_ok, report.ready) = (false, false);
    }
    report.unwritten = trouble.map_or_else(String::new, |trouble| trouble.why);
    report
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

/// Returns the decoded value of a parameter. It is empty where the parameter has no value.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // In a query, a plus may stand for a space.
        let value = value.replace('+', " ");
        (key == name).then(|| percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned())
    })
}

/// Returns whether a parameter exists and is neither `false` nor `0`.
pub(super) fn flag(query: Option<&str>, name: &str) -> bool {
    parameter(query, name).is_some_and(|value| value != "false" && value != "0")
}
