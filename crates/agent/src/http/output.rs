//! Output of steps, as it comes and from any offset.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kiln_wire::agent::StreamOutputRequest;
use kiln_wire::agent::kiln::{CUT_HEADER, ENDED_HEADER, LENGTH_HEADER, OFFSET_HEADER, OutputRequest};

use super::Api;
use super::reply::{Refusal, read};
use crate::agent::AgentError;
use crate::bulk::{Bulk, Stall};
use crate::durations::millis;
use crate::outgoing::{self, Outgoing};
use crate::spool::Reader;
use crate::step::Step;

/// How long a reader may come before its step.
const STEP_PATIENCE: Duration = Duration::from_secs(5);

/// The original's route. It serves any step, not only those with `log_drone`.
pub(super) async fn stream_output(
    State(api): State<Api>,
    Extension(stall): Extension<Stall>,
    body: Body,
) -> Result<Response, Refusal> {
    let request: StreamOutputRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let step = step(&api, &request.id, STEP_PATIENCE).await?;
    let offset = u64::try_from(request.offset).map_err(|_| Refusal::bad("offset must not be negative"))?;
    let len = step.spool.progress().len;
    if offset > len {
        return Err(Refusal::internal(format!("offset {offset} is beyond the end of the output, which is at {len}")));
    }
    respond(&api, &step, offset, true, stall).await
}

/// Our route.
pub(super) async fn output(
    State(api): State<Api>,
    Extension(stall): Extension<Stall>,
    body: Body,
) -> Result<Response, Refusal> {
    let request: OutputRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let patience = request.wait_ms.map_or(STEP_PATIENCE, millis);
    let step = step(&api, &request.id, patience).await.map_err(|error| match error {
        AgentError::UnknownStep => Refusal::new(StatusCode::NOT_FOUND, error),
        error => error.into(),
    })?;
    let len = step.spool.progress().len;
    if request.offset > len {
        let message = format!("offset {} is beyond the end of the output, which is at {len}", request.offset);
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message));
    }
    respond(&api, &step, request.offset, request.follow, stall).await
}

/// The step, if it is known within that time. Once the stage is over, no other ones will be.
async fn step(api: &Api, id: &str, patience: Duration) -> Result<Arc<Step>, AgentError> {
    let patience = if api.agent.is_over().is_some() { Duration::ZERO } else { patience };
    api.agent.steps.wait_for(id, patience).await.ok_or_else(|| api.agent.unknown_step())
}

/// Without `follow`, what is there now is all.
async fn respond(api: &Api, step: &Arc<Step>, offset: u64, follow: bool, stall: Stall) -> Result<Response, Refusal> {
    let slot = api.bulk.readers.slot().await;
    let reader = step.spool.reader().map_err(|e| Refusal::internal(format!("cannot read the output: {e}")))?;
    let progress = step.spool.progress();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (HeaderName::from_static(OFFSET_HEADER), HeaderValue::from(offset)),
        (HeaderName::from_static(LENGTH_HEADER), HeaderValue::from(progress.len)),
        (HeaderName::from_static(ENDED_HEADER), flag(progress.ended)),
        (HeaderName::from_static(CUT_HEADER), flag(progress.cut)),
    ];
    let until = if follow { u64::MAX } else { progress.len };
    let (to, body) = outgoing::body(stall);
    let (open, bulk) = (api.agent.contact.open(), api.bulk.clone());
    tokio::spawn(async move {
        let carried = carry(reader, offset, until, &bulk, &to).await;
        to.end(carried);
        drop((open, slot));
    });
    Ok((headers, body).into_response())
}

fn flag(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}

/// Reads the next chunk only when the last one was taken, so a slow reader costs one chunk of memory.
async fn carry(mut reader: Reader, mut offset: u64, until: u64, bulk: &Bulk, to: &Outgoing) -> io::Result<()> {
    while offset < until {
        let room = to.room().await?;
        let most = usize::try_from(until - offset).unwrap_or(usize::MAX).min(bulk.chunk_bytes());
        let bytes = tokio::select! {
            bytes = reader.read(offset, most) => bytes?,
            // A step may be silent for hours.
            () = to.gone() => return Ok(()),
        };
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        room.send(bytes.into());
    }
    Ok(())
}
