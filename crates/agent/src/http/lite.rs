//! The routes of lite-engine's protocol.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use kiln_wire::agent::{
    DestroyRequest, DestroyResponse, Empty, HealthResponse, PollStepRequest, PollStepResponse, SetupRequest,
    StartStepRequest, SuspendRequest,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::Api;
use super::admission::epoch;
use super::reply::{Refusal, Reply, read};
use crate::durations;

/// What the original dials to see whether the network is up.
const DIALLED: &str = "8.8.8.8:53";
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const DIAL_EVERY: Duration = Duration::from_millis(500);
const DIAL_FOR: Duration = Duration::from_secs(5);

pub(super) async fn healthz(State(api): State<Api>, RawQuery(query): RawQuery) -> Reply<HealthResponse> {
    let query = query.unwrap_or_default();
    let value =
        |name: &str| query.split('&').filter_map(|p| p.split_once('=')).find(|(k, _)| *k == name).map(|(_, v)| v);
    if value("perform_dns_lookup").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        let seconds = value("connectivity_check_duration_seconds").and_then(|v| v.parse().ok()).filter(|s| *s > 0);
        dial(DIALLED, seconds.map_or(DIAL_FOR, durations::seconds)).await?;
    }
    let reason = api.agent.is_over().unwrap_or_default();
    api.answer(HealthResponse { version: crate::VERSION.into(), ok: true, reason })
}

/// The network is taken to be up when it can be dialled again and again for the duration.
async fn dial(address: &str, duration: Duration) -> Result<(), Refusal> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let next = Instant::now() + DIAL_EVERY;
        match timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => sleep_until(next.min(end)).await,
            Ok(Err(error)) => return Err(Refusal::internal(format!("cannot reach {address}: {error}"))),
            Err(_) => return Err(Refusal::internal(format!("cannot reach {address} within 2 s"))),
        }
    }
    Ok(())
}

pub(super) async fn setup(State(api): State<Api>, headers: HeaderMap, body: Body) -> Reply<Empty> {
    let epoch = epoch(&headers).to_owned();
    let request: SetupRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    // A task of its own, so that a caller that hangs up does not leave half of it done.
    let agent = api.agent.clone();
    let done = tokio::spawn(async move { agent.setup(request, &epoch).await });
    done.await.map_err(Refusal::internal)??;
    api.answer(Empty {})
}

pub(super) async fn start_step(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let request: StartStepRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    api.agent.start_step(request)?;
    api.answer(Empty {})
}

pub(super) async fn poll_step(State(api): State<Api>, body: Body) -> Reply<PollStepResponse> {
    let request: PollStepRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let mut response = api.agent.poll_step(&request.id).await?;
    if !request.secrets {
        response.secrets.clear();
    }
    api.answer(response)
}

pub(super) async fn destroy(State(api): State<Api>, body: Body) -> Reply<DestroyResponse> {
    let request: DestroyRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    let agent = api.agent.clone();
    let done = tokio::spawn(async move { agent.destroy(&request).await });
    done.await.map_err(Refusal::internal)?;
    api.answer(DestroyResponse { os_stats: api.agent.load.summary() })
}

pub(super) async fn suspend(State(api): State<Api>, body: Body) -> Reply<Empty> {
    let request: SuspendRequest = read(body, api.agent.settings.body_limit_bytes).await?;
    api.agent.suspend(&request).await?;
    api.answer(Empty {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_of_the_network_may_be_asked_for_any_time() {
        for number in [1, u64::MAX] {
            // Nobody listens on port 1 of this machine.
            let refused = dial("127.0.0.1:1", durations::seconds(number)).await.map_err(|refusal| refusal.message);
            assert!(refused.is_err_and(|message| message.starts_with("cannot reach 127.0.0.1:1")));
        }
    }
}
