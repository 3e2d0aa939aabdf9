//! The routes of lite-engine's protocol.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use kiln_wire::agent::{
    DestroyRequest, DestroyResponse, Empty, HealthResponse, PollStepRequest, PollStepResponse, SetupRequest,
    StartStepRequest, SuspendRequest,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::Api;
use super::reply::{Json, Refusal, Reply, read};

/// What the original dials to see whether the network is up.
const DIALLED: &str = "8.8.8.8:53";
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const DIAL_EVERY: Duration = Duration::from_millis(500);
const DIAL_FOR: Duration = Duration::from_secs(5);

pub(super) async fn healthz(RawQuery(query): RawQuery) -> Reply<HealthResponse> {
    let query = query.unwrap_or_default();
    let value =
        |name: &str| query.split('&').filter_map(|p| p.split_once('=')).find(|(k, _)| *k == name).map(|(_, v)| v);
    if value("perform_dns_lookup").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        let seconds = value("connectivity_check_duration_seconds").and_then(|v| v.parse().ok()).filter(|s| *s > 0);
        dial(seconds.map_or(DIAL_FOR, Duration::from_secs)).await?;
    }
    Ok(Json(HealthResponse { version: crate::VERSION.into(), ok: true }))
}

/// The network is taken to be up when it can be dialled again and again for the duration.
async fn dial(duration: Duration) -> Result<(), Refusal> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let next = Instant::now() + DIAL_EVERY;
        match timeout(DIAL_TIMEOUT, TcpStream::connect(DIALLED)).await {
            Ok(Ok(_)) => sleep_until(next.min(end)).await,
            Ok(Err(error)) => return Err(Refusal::internal(format!("cannot reach {DIALLED}: {error}"))),
            Err(_) => return Err(Refusal::internal(format!("cannot reach {DIALLED} within 2 s"))),
        }
    }
    Ok(())
}

pub(super) async fn setup(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let request: SetupRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    // A task of its own, so that a caller that hangs up does not leave half of it done.
    let agent = api.agent.clone();
    let done = tokio::spawn(async move { agent.setup(request).await });
    done.await.map_err(Refusal::internal)??;
    Ok(Json(Empty {}))
}

pub(super) async fn start_step(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let request: StartStepRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    api.agent.start_step(request)?;
    Ok(Json(Empty {}))
}

pub(super) async fn poll_step(State(api): State<Api>, body: Body) -> Reply<PollStepResponse> {
    let request: PollStepRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    Ok(Json(api.agent.poll_step(&request.id).await?))
}

pub(super) async fn destroy(State(api): State<Api>, body: Body) -> Reply<DestroyResponse> {
    let request: DestroyRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let agent = api.agent.clone();
    let done = tokio::spawn(async move { agent.destroy(&request).await });
    done.await.map_err(Refusal::internal)?;
    Ok(Json(DestroyResponse { os_stats: api.agent.load.summary() }))
}

/// There are no containers yet that could be removed, so the machine is ready to sleep.
pub(super) async fn suspend(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let _request: SuspendRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    Ok(Json(Empty {}))
}
