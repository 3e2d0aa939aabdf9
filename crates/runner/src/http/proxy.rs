//! Requests for a stage's agent, which the runner relays. So clients need no certificate for agents, and no route into
//! the network of the instances.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use kiln_pool::StageId;
use kiln_wire::agent::kiln::{
    CUT_HEADER, CancelRequest, ENDED_HEADER, FilesRequest, LENGTH_HEADER, OFFSET_HEADER, OutputRequest, StepList,
    StepState, StepSummary, UnpackedResponse,
};
use kiln_wire::agent::{DestroyResponse, Empty, PollStepRequest, PollStepResponse, StartStepRequest};

use super::Api;
use super::lookup::parameter;
use super::place::Place;
use super::reply::{Json, Refusal, Reply, read};

/// Time after which a caller that sends nothing of a workspace is given up.
const UNSENT_FOR: Duration = Duration::from_secs(60);
/// Default time that a reader of output waits for the start of its step.
const STEP_PATIENCE: Duration = Duration::from_secs(5);
/// Longest time that a reader of output may wait for the start of its step.
const STEP_PATIENCE_MAX: Duration = Duration::from_secs(600);
/// Poll interval for the start of a step.
const STEP_LOOK: Duration = Duration::from_millis(100);

pub(super) async fn workspace(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Reply<UnpackedResponse> {
    let path = parameter(query.as_deref(), "path").filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Refusal::bad("name the directory in the instance as `?path=/DIR`"))?;
    if headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) != Some(b"zstd") {
        let message = "send a tar stream compressed by zstd, with `Content-Encoding: zstd`";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let Place { stage, instance, agent } = api.place(&StageId::new(id)).await?;
    let tar = steady(body).boxed();
    let sent = async { api.heard(&instance.id, agent.put_workspace(&path, tar).await) };
    Ok(Json(api.while_served(&stage.id, &instance.id, "(workspace)", sent).await?))
}

/// Returns the bytes of a body, and an error when none come for [`UNSENT_FOR`].
pub(super) fn steady(body: Body) -> impl futures::Stream<Item = std::io::Result<bytes::Bytes>> + Send {
    futures::stream::try_unfold(body.into_data_stream(), |mut bytes| async move {
        match tokio::time::timeout(UNSENT_FOR, bytes.try_next()).await {
            Ok(Ok(more)) => Ok(more.map(|more| (more, bytes))),
            Ok(Err(error)) => Err(std::io::Error::other(error)),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    })
}

pub(super) async fn steps(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Reply<StepList> {
    let Place { instance, agent, .. } = api.place(&StageId::new(id)).await?;
    Ok(Json(api.heard(&instance.id, agent.steps().await)?))
}

/// Starts a step. It has the caller's environment; only `/step` adds the exports of earlier steps.
pub(super) async fn start(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Reply<Empty> {
    let request: StartStepRequest = read(body, api.settings.body_limit_bytes).await?;
    let Place { instance, agent, .. } = api.place(&StageId::new(id)).await?;
    api.heard(&instance.id, agent.start_step(&request).await)?;
    Ok(Json(Empty {}))
}

pub(super) async fn poll(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Reply<PollStepResponse> {
    let request: PollStepRequest = read(body, api.settings.body_limit_bytes).await?;
    let Place { stage, instance, agent } = api.place(&StageId::new(id)).await?;
    let result =
        async { api.heard_of_step(&instance.id, agent.poll_step(&request.id, api.settings.unreachable_for).await) };
    let mut result = api.while_served(&stage.id, &instance.id, &request.id, result).await?;
    if !request.secrets {
        result.secrets.clear();
    }
    Ok(Json(result))
}

pub(super) async fn cancel(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Reply<Empty> {
    let request: CancelRequest = read(body, api.settings.body_limit_bytes).await?;
    let Place { instance, agent, .. } = api.place(&StageId::new(id)).await?;
    api.heard(&instance.id, agent.cancel(&request).await)?;
    Ok(Json(Empty {}))
}

/// Ends the steps that still run, so that the rest of their output can be read before the stage ends.
pub(super) async fn end(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Reply<DestroyResponse> {
    let Place { instance, agent, .. } = api.place(&StageId::new(id)).await?;
    Ok(Json(api.heard(&instance.id, agent.destroy().await)?))
}

pub(super) async fn output(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let request: OutputRequest = read(body, api.settings.body_limit_bytes).await?;
    let place = api.place(&StageId::new(id)).await?;
    let step = started(&api, &place, &request).await?;
    let length = step.output_bytes;
    if request.offset > length {
        let message = format!("offset {} is beyond the end of the output, which is at {length}", request.offset);
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message));
    }
    let flag = |value: bool| HeaderValue::from_static(if value { "true" } else { "false" });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (HeaderName::from_static(OFFSET_HEADER), HeaderValue::from(request.offset)),
        (HeaderName::from_static(LENGTH_HEADER), HeaderValue::from(length)),
        (HeaderName::from_static(ENDED_HEADER), flag(step.state == StepState::Ended)),
        (HeaderName::from_static(CUT_HEADER), flag(step.output_cut)),
    ];
    if !request.follow && request.offset == length {
        return Ok((headers, Body::empty()).into_response());
    }
    let chunks = place.agent.output(&request.id, request.offset, api.settings.unreachable_for);
    // Without `follow`, the present output is all.
    let until = if request.follow { u64::MAX } else { length };
    let bytes = chunks
        .map_ok(move |chunk| {
            let most = usize::try_from(until.saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
            let end = chunk.offset + chunk.bytes.len() as u64;
            (chunk.bytes.slice(..chunk.bytes.len().min(most)), end >= until)
        })
        .boxed();
    let bytes = futures::stream::try_unfold(Some(bytes), |chunks| async move {
        let Some(mut chunks) = chunks else { return Ok(None) };
        match chunks.try_next().await? {
            None => Ok(None),
            Some((bytes, true)) => Ok(Some((bytes, None))),
            Some((bytes, false)) => Ok::<_, kiln_agent_client::AgentError>(Some((bytes, Some(chunks)))),
        }
    });
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// Returns the step when it has started.
///
/// # Errors
/// 404 when it does not start while the reader waits.
async fn started(api: &Api, place: &Place, request: &OutputRequest) -> Result<StepSummary, Refusal> {
    let patience = request.wait_ms.map_or(STEP_PATIENCE, Duration::from_millis).min(STEP_PATIENCE_MAX);
    let deadline = Instant::now() + patience;
    loop {
        let steps = api.heard(&place.instance.id, place.agent.steps().await)?.steps;
        if let Some(step) = steps.into_iter().find(|step| step.id == request.id) {
            return Ok(step);
        }
        if Instant::now() >= deadline {
            return Err(Refusal::new(StatusCode::NOT_FOUND, format!("step {} has not started", request.id)));
        }
        tokio::time::sleep(STEP_LOOK).await;
    }
}

pub(super) async fn files(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let request: FilesRequest = read(body, api.settings.body_limit_bytes).await?;
    let Place { instance, agent, .. } = api.place(&StageId::new(id)).await?;
    let tar = api.heard(&instance.id, agent.files(&request).await)?;
    let headers = [(header::CONTENT_TYPE, "application/x-tar"), (header::CONTENT_ENCODING, "zstd")];
    Ok((headers, Body::from_stream(tar)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_an_error() {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"tar"))]);
        let body = Body::from_stream(first.chain(futures::stream::pending()));
        let mut bytes = std::pin::pin!(steady(body));
        assert_eq!(bytes.try_next().await.expect("bytes").as_deref(), Some(&b"tar"[..]));
        let began = tokio::time::Instant::now();
        assert_eq!(bytes.try_next().await.expect_err("an error").kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), UNSENT_FOR);
    }
}
