//! `/setup`: an instance for a stage, with its agent prepared.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use base64::Engine as _;
use kiln_engine::{Assigned, Demand};
use kiln_pool::Instance;
use kiln_wire::agent::SetupRequest;
use kiln_wire::reach::Reach;
use kiln_wire::runner::{InstanceInfo, SetupVmRequest, SetupVmResponse};

use super::Api;
use super::demand;
use super::metrics::Asked;
use super::reply::{Json, Refusal, Reply, collect, decode};

pub(super) async fn setup(State(api): State<Arc<Api>>, body: Body) -> Reply<SetupVmResponse> {
    let bytes = collect(body, api.settings.body_limit_bytes).await?;
    let request: SetupVmRequest = decode(&bytes)?;
    let setup = match request.setup_request.clone() {
        Some(setup) => setup,
        // Some callers send the setup's fields beside the others. There, `timeout` belongs to the request itself.
        None => SetupRequest { timeout: 0, ..decode(&bytes)? },
    };
    let demand = demand::of(&request, &setup, &api.settings, &api.engine.config())?;
    let asked = Asked::of(&demand);
    let began = Instant::now();
    let work = set_up(Arc::clone(&api), demand, setup, asked.clone());
    let ready = api.set_ups.join(request.id, work).await.map_err(Refusal::like_incumbent)?;
    // Only a caller that is still there records this. A stage whose callers have all left is unattended.
    let noted = api.engine.note_set_up(&ready.stage).await;
    if noted.map_err(Refusal::from).map_err(Refusal::like_incumbent)? {
        api.metrics.set_up(&api.engine.config(), &asked, &ready, began.elapsed());
    }
    Ok(Json(response(&api, &ready.instance)))
}

/// Returns once an instance is prepared or there can be none. It runs once for a stage however many callers ask, and
/// continues when they disconnect.
async fn set_up(api: Arc<Api>, demand: Demand, setup: SetupRequest, asked: Asked) -> Result<Assigned, Refusal> {
    let outcome = api.stages.set_up(&demand, &setup).await.map_err(Refusal::from);
    if let Err(refusal) = &outcome {
        api.metrics.set_up_failed(&api.engine.config(), &asked, refusal.cause.as_ref());
    }
    outcome
}

fn response(api: &Api, instance: &Instance) -> SetupVmResponse {
    let config = api.engine.config();
    let (os, arch) =
        config.pools.get(&instance.pool).map(|pool| (pool.os.clone(), pool.arch.clone())).unwrap_or_default();
    let reach = instance.address.as_ref();
    let port = match reach {
        Some(Reach::Ip(address)) => i64::from(address.port()),
        Some(Reach::Unix(_)) | None => 0,
    };
    let ip_address = reach.map(Reach::ip).unwrap_or_default();
    let instance_info = InstanceInfo {
        id: instance.id.to_string(),
        name: instance.id.to_string(),
        ip_address: ip_address.clone(),
        port,
        os,
        arch,
        provider: instance.site.driver().to_owned(),
        pool_name: instance.pool.clone(),
        ca_cert: base64::engine::general_purpose::STANDARD.encode(&api.ca_pem),
        // Keys are never sent: their holder could open every instance.
        ..InstanceInfo::default()
    };
    SetupVmResponse { ip_address, instance_id: instance.id.to_string(), gitspaces_port_mappings: None, instance_info }
}
