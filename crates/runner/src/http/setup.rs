//! `/setup`: an instance for a stage, with its agent prepared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use kiln_agent_client::{Agent, AgentError};
use kiln_engine::{Assigned, Demand, SetupError};
use kiln_pool::{Code, Instance, InstanceId};
use kiln_wire::agent::SetupRequest;
use kiln_wire::runner::{InstanceInfo, SetupVmRequest, SetupVmResponse};

use super::Api;
use super::demand;
use super::metrics::Asked;
use super::reply::{Json, Refusal, Reply, collect, decode};
use crate::agents::chain;

/// Pause between two tries to prepare an agent.
const TRY_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn setup(State(api): State<Arc<Api>>, body: Body) -> Reply<SetupVmResponse> {
    let bytes = collect(body, api.settings.body_limit_bytes).await?;
    let request: SetupVmRequest = decode(&bytes)?;
    let setup = match request.setup_request.clone() {
        Some(setup) => setup,
        // Some callers send its fields beside the others. There `timeout` is the other one.
        None => SetupRequest { timeout: 0, ..decode(&bytes)? },
    };
    let demand = demand::of(&request, &setup, &api.settings, &api.engine.config())?;
    let asked = Asked::of(&demand);
    let began = Instant::now();
    let work = set_up(Arc::clone(&api), demand, setup, asked.clone());
    let ready = api.set_ups.join(request.id, work).await.map_err(Refusal::like_incumbent)?;
    // Noted by those who are still there to be told: a stage whose callers all went is unattended.
    let noted = api.engine.note_set_up(&ready.stage).await;
    if noted.map_err(Refusal::from).map_err(Refusal::like_incumbent)? {
        api.metrics.set_up(&api.engine.config(), &asked, &ready, began.elapsed());
    }
    Ok(Json(response(&api, &ready.instance)))
}

/// Until an instance is prepared, or none can be. Runs once for a stage however many ask, and goes on when they hang up.
async fn set_up(api: Arc<Api>, demand: Demand, setup: SetupRequest, asked: Asked) -> Result<Assigned, Refusal> {
    let outcome = try_to_set_up(&api, &demand, &setup).await;
    if let Err(refusal) = &outcome {
        api.metrics.set_up_failed(&api.engine.config(), &asked, refusal.cause.as_ref());
    }
    outcome
}

async fn try_to_set_up(api: &Api, demand: &Demand, setup: &SetupRequest) -> Result<Assigned, Refusal> {
    loop {
        let assigned = api.engine.acquire(demand).await?;
        if assigned.stage.set_up {
            return Ok(assigned);
        }
        let id = &assigned.instance.id;
        let prepared = async {
            let agent = api.agents.agent(&assigned.instance)?;
            prepare(&agent, setup, api.settings.setup_within).await
        };
        let prepared = tokio::select! {
            prepared = prepared => prepared,
            lost = api.until_lost(&demand.id, id) => {
                if let Some(refusal) = lost.ended() {
                    return Err(refusal);
                }
                // Its instance went; the stage may wait for another one.
                api.engine.set_up_failed(&demand.id, id, "the instance went while its agent was prepared").await?;
                continue;
            }
        };
        match prepared {
            Ok(()) => return Ok(assigned),
            Err(error) if is_fault_of_request(&error) => return Err(give_up(api, demand, id, &error).await?),
            Err(error) => api.engine.set_up_failed(&demand.id, id, &chain(&error)).await?,
        }
    }
}

/// Another instance would refuse it as well, so none is spent on that.
async fn give_up(api: &Api, demand: &Demand, id: &InstanceId, error: &AgentError) -> Result<Refusal, Refusal> {
    let evidence = format!("the agent of {id} refuses the request: {}", chain(error));
    api.engine.end_stage(&demand.id, Code::SetupFailed, &evidence).await?;
    let cause = kiln_pool::Cause::new(Code::SetupFailed, evidence);
    Ok(SetupError::Ended { id: demand.id.clone(), cause }.into())
}

fn is_fault_of_request(error: &AgentError) -> bool {
    let refused = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
    matches!(error, AgentError::Refused { status, .. } if refused.iter().any(|refused| refused.as_u16() == *status))
}

/// Asks until the agent is prepared; an agent that only just started may need some tries.
async fn prepare(agent: &Agent, setup: &SetupRequest, within: Duration) -> Result<(), AgentError> {
    let deadline = Instant::now() + within;
    loop {
        let error = match agent.setup(setup).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if is_fault_of_request(&error) || Instant::now() + TRY_PAUSE >= deadline {
            return Err(error);
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
}

fn response(api: &Api, instance: &Instance) -> SetupVmResponse {
    let address: Option<SocketAddr> = instance.address.as_deref().and_then(|address| address.parse().ok());
    let config = api.engine.config();
    let (os, arch) =
        config.pools.get(&instance.pool).map(|pool| (pool.os.clone(), pool.arch.clone())).unwrap_or_default();
    let ip_address = address.map(|address| address.ip().to_string()).unwrap_or_default();
    let instance_info = InstanceInfo {
        id: instance.id.to_string(),
        name: instance.id.to_string(),
        ip_address: ip_address.clone(),
        port: address.map_or(0, |address| i64::from(address.port())),
        os,
        arch,
        provider: instance.driver.clone(),
        pool_name: instance.pool.clone(),
        ca_cert: base64::engine::general_purpose::STANDARD.encode(&api.ca_pem),
        // Keys stay here: who has them opens every instance.
        ..InstanceInfo::default()
    };
    SetupVmResponse { ip_address, instance_id: instance.id.to_string(), gitspaces_port_mappings: None, instance_info }
}
