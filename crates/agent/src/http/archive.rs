//! The routes with which caches are saved and restored.

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use kiln_wire::Unreadable;
use kiln_wire::agent::archive::{LookRequest, LookResponse, PackRequest, UnpackRequest};
use kiln_wire::agent::kiln::UnpackedResponse;

use super::Api;
use super::kiln::parameter;
use super::reply::{Refusal, Reply, read};
use crate::archive::{self, Work};
use crate::bulk::{Slot, Stall};

pub(super) async fn look(State(api): State<Api>, body: Body) -> Reply<LookResponse> {
    let request: LookRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let work = work(&api, api.bulk.packed.slot().await)?;
    api.answer(archive::look(request, work).await?)
}

pub(super) async fn save(
    State(api): State<Api>,
    Extension(stall): Extension<Stall>,
    body: Body,
) -> Result<Response, Refusal> {
    let request: PackRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let work = work(&api, api.bulk.packed.slot().await)?;
    let body = archive::save(request, work, api.agent.secrets().clone(), stall)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))], body).into_response())
}

pub(super) async fn restore(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    Extension(stall): Extension<Stall>,
    body: Body,
) -> Reply<UnpackedResponse> {
    let request: UnpackRequest = serde_json::from_str(&parameter(query.as_deref(), "request="))
        .map_err(|error| Refusal::bad(format!("`request` in the query is not valid: {}", Unreadable::from(error))))?;
    let work = work(&api, api.bulk.unpacked.slot().await)?;
    api.answer(archive::restore(body, request, work, stall).await?)
}

fn work(api: &Api, slot: Slot) -> Result<Work, Refusal> {
    let account = api.agent.step_account().map_err(Refusal::internal)?;
    let home = api.agent.home(account.as_ref());
    Ok(Work { account, home, _held: (api.agent.contact.open(), slot) })
}
