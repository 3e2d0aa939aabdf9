//! The routes that are ours.

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use kiln_wire::agent::Empty;
use kiln_wire::agent::kiln::{
    CancelRequest, ClaimRequest, FilesRequest, Identity, ResizeRequest, SelfTestResponse, StepList, UnpackedResponse,
};
use tokio::sync::mpsc;

use super::Api;
use super::reply::{Refusal, Reply, read};
use crate::archive;
use crate::bulk::{Stall, on_thread};

pub(super) async fn identity(State(api): State<Api>) -> Reply<Identity> {
    api.answer(api.agent.machine.identity())
}

pub(super) async fn claim(State(api): State<Api>, body: Body) -> Reply<Identity> {
    let request: ClaimRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let agent = api.agent.clone();
    let claimed = tokio::task::spawn_blocking(move || agent.claim(&request));
    api.answer(claimed.await.map_err(Refusal::internal)??)
}

pub(super) async fn self_test(State(api): State<Api>) -> Reply<SelfTestResponse> {
    // A task of its own, so that a caller that hangs up leaves nothing behind either.
    let agent = api.agent.clone();
    let done = tokio::spawn(async move { agent.self_test().await });
    api.answer(done.await.map_err(Refusal::internal)??)
}

pub(super) async fn steps(State(api): State<Api>) -> Reply<StepList> {
    api.answer(api.agent.list())
}

pub(super) async fn cancel(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let request: CancelRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    api.agent.cancel(&request).map_err(|error| Refusal::new(StatusCode::NOT_FOUND, error))?;
    api.answer(Empty {})
}

pub(super) async fn input(State(api): State<Api>, RawQuery(query): RawQuery, body: Body) -> Reply<Empty> {
    let _open = api.agent.contact.open();
    let mut keyboard = api.agent.keyboard(&parameter(query.as_deref(), "id=")).await?;
    let slot = api.bulk.typed.slot().await;
    let (keys, mut pressed) = mpsc::channel::<Bytes>(1);
    // The terminal takes no more while the step does not read; that must hold up this request alone.
    let typed = on_thread("keyboard", move || {
        while let Some(bytes) = pressed.blocking_recv() {
            if keyboard.type_in(&bytes).is_err() {
                // The step has ended; what is typed now is for nobody.
                break;
            }
        }
        drop(slot);
    });
    let typed = typed.map_err(Refusal::internal)?;
    let mut body = body.into_data_stream();
    while let Some(bytes) = body.next().await {
        if keys.send(bytes.map_err(Refusal::bad)?).await.is_err() {
            break;
        }
    }
    drop(keys);
    typed.await.map_err(Refusal::internal)?;
    api.answer(Empty {})
}

pub(super) async fn resize(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let request: ResizeRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    api.agent.keyboard(&request.id).await?.resize(&request.terminal).map_err(Refusal::internal)?;
    api.answer(Empty {})
}

/// The value of a query's parameter; `name` ends with its `=`.
pub(super) fn parameter(query: Option<&str>, name: &str) -> String {
    let value = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default();
    // In a query a space may be a plus.
    percent_encoding::percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned()
}

pub(super) async fn workspace(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    Extension(stall): Extension<Stall>,
    headers: HeaderMap,
    body: Body,
) -> Reply<UnpackedResponse> {
    let _open = api.agent.contact.open();
    let path = parameter(query.as_deref(), "path=");
    let account = api.agent.step_account().map_err(Refusal::internal)?;
    let packed = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"zstd") => true,
        Some(_) => {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the tar stream plain or as zstd"));
        }
    };
    let slot = api.bulk.unpacked.slot().await;
    api.answer(archive::unpack(body, path.into(), packed, account, slot, stall).await?)
}

pub(super) async fn files(
    State(api): State<Api>,
    Extension(stall): Extension<Stall>,
    body: Body,
) -> Result<Response, Refusal> {
    let request: FilesRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let account = api.agent.step_account().map_err(Refusal::internal)?;
    let home = api.agent.home(account.as_ref());
    let slot = api.bulk.packed.slot().await;
    let body = archive::pack(request, home, api.agent.contact.open(), slot, stall)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
        (header::CONTENT_ENCODING, HeaderValue::from_static("zstd")),
    ];
    Ok((headers, body).into_response())
}
