//! The log service, and the store of objects that its signed links lead to.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{ACCOUNT, BLOB_BYTES, Services, Shared, TOKEN, body};

pub(super) fn routes(app: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    app.route("/log-service/stream", any(stream))
        .route("/log-service/blob", post(blob))
        .route("/log-service/blob/link/upload", post(link))
        .route("/store/{*key}", put(store))
}

/// The key of a request, which must have the token and the account.
fn key(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<String, StatusCode> {
    let token = headers.get("x-harness-token").map(|value| value.as_bytes());
    if token != Some(TOKEN.as_bytes()) {
        shared.record().fault(format!("{uri} has the token {token:?}"));
        return Err(StatusCode::UNAUTHORIZED);
    }
    let pairs: Vec<(&str, &str)> =
        uri.query().unwrap_or_default().split('&').filter_map(|p| p.split_once('=')).collect();
    let get = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| decoded(value));
    match (get("accountID"), get("key")) {
        (Some(account), Some(key)) if account == ACCOUNT && !key.is_empty() => Ok(key),
        other => {
            shared.record().fault(format!("{uri} is for {other:?}"));
            Err(StatusCode::BAD_REQUEST)
        }
    }
}

/// What stands behind `%` in hexadecimal.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let byte = more.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &more[2..];
            }
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn stream(State(shared): Services, request: Request) -> Response {
    let key = match key(&shared, request.uri(), request.headers()) {
        Ok(key) => key,
        Err(refused) => return refused.into_response(),
    };
    let method = request.method().clone();
    let snapshot = request.uri().query().is_some_and(|query| query.ends_with("&snapshot=true"));
    let body = match body(&shared, request).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let mut record = shared.record();
    match method {
        Method::POST => {
            let log = record.logs.entry(key).or_default();
            (log.opened, log.is_open) = (log.opened + 1, true);
            StatusCode::NO_CONTENT.into_response()
        }
        Method::PUT => {
            if !record.logs.get(&key).is_some_and(|log| log.is_open) {
                return StatusCode::NOT_FOUND.into_response();
            }
            let Ok(Value::Array(values)) = serde_json::from_slice(&body) else {
                record.fault(format!("{} bytes are no list of lines", body.len()));
                return StatusCode::BAD_REQUEST.into_response();
            };
            if values.is_empty() {
                record.fault("an empty list of lines");
            }
            let lines = record.lines(values.iter());
            let log = record.logs.entry(key).or_default();
            log.batches += 1;
            for line in lines {
                log.again += u64::from(log.lines.insert(line.pos, line).is_some());
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Method::DELETE => {
            let log = record.logs.entry(key).or_default();
            log.closed.push(snapshot);
            log.is_open = false;
            StatusCode::NO_CONTENT.into_response()
        }
        other => {
            record.fault(format!("{other} of a stream"));
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        }
    }
}

async fn blob(State(shared): Services, request: Request) -> Response {
    match key(&shared, request.uri(), request.headers()) {
        Ok(key) => keep(&shared, key, request).await,
        Err(refused) => refused.into_response(),
    }
}

async fn link(State(shared): Services, request: Request) -> Response {
    let key = match key(&shared, request.uri(), request.headers()) {
        Ok(key) => key,
        Err(refused) => return refused.into_response(),
    };
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let here = format!("http://{host}");
    let origin = shared.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone().unwrap_or(here);
    let link = format!("{origin}/store/{key}?signature=sealed&expires=soon");
    Json(json!({"link": link, "expires": "2030-01-01T00:00:00Z"})).into_response()
}

async fn store(State(shared): Services, request: Request) -> Response {
    if request.uri().query() != Some("signature=sealed&expires=soon") {
        shared.record().fault(format!("{} has another signature", request.uri()));
        return StatusCode::FORBIDDEN.into_response();
    }
    let key = request.uri().path().trim_start_matches("/store/").to_owned();
    let headers = request.headers().keys().map(ToString::to_string).collect();
    shared.record().logs.entry(key.clone()).or_default().link_headers = headers;
    keep(&shared, key, request).await
}

/// Keeps an upload, which must be as long as it says and have a line of JSON for each line.
async fn keep(shared: &Shared, key: String, request: Request) -> Response {
    let says = request.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let body = match body(shared, request).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let mut record = shared.record();
    if says != Some(body.len()) {
        record.fault(format!("an upload of {} bytes says that it has {says:?}", body.len()));
    }
    if body.len() > BLOB_BYTES {
        record.fault(format!("an upload has {} bytes", body.len()));
    }
    if !body.is_empty() && !body.ends_with(b"\n") {
        record.fault("an upload ends within a line");
    }
    let texts = body.split(|byte| *byte == b'\n').filter(|text| !text.is_empty());
    let values: Vec<Value> = texts.map(|text| serde_json::from_slice(text).unwrap_or_default()).collect();
    let lines = record.lines(values.iter());
    let log = record.logs.entry(key).or_default();
    (log.blob, log.blob_bytes, log.uploads) = (Some(lines), body.len(), log.uploads + 1);
    StatusCode::OK.into_response()
}
