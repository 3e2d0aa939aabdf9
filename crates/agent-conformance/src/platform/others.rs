//! The services for annotations and for tokens.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Services, Shared, body};

/// A request for annotations.
#[derive(Debug, Clone)]
pub struct Annotated {
    /// Its query.
    pub query: String,
    /// How it proves who it is.
    pub authorization: String,
    /// Its body.
    pub body: Value,
}

/// A request for a token.
#[derive(Debug, Clone)]
pub struct Minted {
    /// What it shows.
    pub workload_token: String,
    /// Its body.
    pub body: Value,
}

pub(super) fn routes(app: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    app.route("/api/pipelines/annotations", post(annotate)).route("/generate", post(generate))
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

async fn json_of(shared: &Shared, request: Request) -> Result<Value, StatusCode> {
    let body = body(shared, request).await?;
    serde_json::from_slice(&body).map_err(|error| {
        shared.record().fault(format!("a body is no JSON: {error}"));
        StatusCode::BAD_REQUEST
    })
}

async fn annotate(State(shared): Services, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let authorization = header(request.headers(), "authorization");
    match json_of(&shared, request).await {
        Ok(body) => {
            shared.record().annotated.push(Annotated { query, authorization, body });
            Json(json!({})).into_response()
        }
        Err(refused) => refused.into_response(),
    }
}

/// Mints a token, which tells for whom it is.
async fn generate(State(shared): Services, request: Request) -> Response {
    let workload_token = header(request.headers(), "workload-token");
    match json_of(&shared, request).await {
        Ok(body) => {
            let token = format!("minted-for-{}", body["audience"].as_str().unwrap_or_default());
            shared.record().minted.push(Minted { workload_token, body });
            Json(json!({"token": token, "expires_in": 600})).into_response()
        }
        Err(refused) => refused.into_response(),
    }
}
