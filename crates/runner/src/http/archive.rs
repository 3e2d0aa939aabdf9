//! Archives of caches, which the runner passes on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use kiln_pool::StageId;
use kiln_wire::Unreadable;
use kiln_wire::agent::archive::{LookRequest, LookResponse, PackRequest, UnpackRequest};
use kiln_wire::agent::kiln::UnpackedResponse;

use super::Api;
use super::lookup::parameter;
use super::place::Place;
use super::proxy::steady;
use super::reply::{Json, Refusal, Reply, read};

pub(super) async fn look(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Reply<LookResponse> {
    let request: LookRequest = read(body, api.settings.body_limit_bytes).await?;
    let Place { stage, instance, agent } = api.place(&StageId::new(id)).await?;
    let looked = async { api.heard(&instance.id, agent.look(&request).await) };
    Ok(Json(api.while_served(&stage.id, &instance.id, "(look)", looked).await?))
}

pub(super) async fn pack(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Result<Response, Refusal> {
    let request: PackRequest = read(body, api.settings.body_limit_bytes).await?;
    let Place { instance, agent, .. } = api.place(&StageId::new(id)).await?;
    // Whole, with what the agent says of it.
    let bytes = api.heard(&instance.id, agent.pack(&request).await)?.into_body();
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(bytes)).into_response())
}

pub(super) async fn unpack(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Reply<UnpackedResponse> {
    let request = parameter(query.as_deref(), "request").unwrap_or_default();
    let request: UnpackRequest = serde_json::from_str(&request)
        .map_err(|error| Refusal::bad(format!("`request` in the query is not valid: {}", Unreadable::from(error))))?;
    let Place { stage, instance, agent } = api.place(&StageId::new(id)).await?;
    let archive = steady(body).boxed();
    let sent = async { api.heard(&instance.id, agent.unpack(&request, archive).await) };
    Ok(Json(api.while_served(&stage.id, &instance.id, "(archive)", sent).await?))
}
