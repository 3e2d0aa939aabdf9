//! `/destroy`, `/suspend` and `/pool_owner`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use kiln_pool::{Code, StageId, StageState};
use kiln_wire::runner::{DestroyVmRequest, InstanceInfo, PoolOwnerResponse, SuspendVmRequest};

use super::Api;
use super::demand::mandatory;
use super::lookup::parameter;
use super::reply::{Json, Refusal, Reply, read};

/// Ends a stage. Its end is durable once this answers; its instance ends with the engine's next pass. An unknown stage
/// has nothing to end, but is not set up for a while, because this request may have overtaken its `/setup`.
pub(super) async fn destroy(State(api): State<Arc<Api>>, body: Body) -> Result<StatusCode, Refusal> {
    let request: DestroyVmRequest = read(body, api.settings.body_limit_bytes).await?;
    let id = if request.id.is_empty() { &request.stage_runtime_id } else { &request.id };
    mandatory("stage_runtime_id", id)?;
    api.end(&StageId::new(id), Code::Destroyed, "its caller destroyed it").await.map_err(Refusal::like_incumbent)?;
    Ok(StatusCode::OK)
}

/// Checks the request like the incumbent, and then refuses it: an instance that serves a stage is not put to sleep.
pub(super) async fn suspend(State(api): State<Arc<Api>>, body: Body) -> Result<StatusCode, Refusal> {
    let request: SuspendVmRequest = read(body, api.settings.body_limit_bytes).await?;
    mandatory("stage_runtime_id", &request.stage_runtime_id)?;
    complete(&request.instance_info)?;
    let place = api.place(&StageId::new(&request.stage_runtime_id)).await.map_err(Refusal::like_incumbent)?;
    Err(Refusal::internal(format!(
        "instance {} cannot be put to sleep while it serves stage {}: this runner puts only warm instances to sleep; \
         hold it, or destroy the stage",
        place.instance.id, place.stage.id
    )))
}

/// Checks the fields that the runner's own answers fill in. The incumbent requires keys as well, which no answer of
/// this runner contains.
fn complete(info: &InstanceInfo) -> Result<(), Refusal> {
    let fields = [
        ("id", info.id.is_empty()),
        ("name", info.name.is_empty()),
        ("ip_address", info.ip_address.is_empty()),
        ("port", info.port == 0),
        ("os", info.os.is_empty()),
        ("arch", info.arch.is_empty()),
        ("provider", info.provider.is_empty()),
        ("pool_name", info.pool_name.is_empty()),
    ];
    match fields.into_iter().find(|(_, empty)| *empty) {
        Some((field, _)) => Err(Refusal::bad(format!("invalid instance info: field \"{field}\" is not populated"))),
        None => Ok(()),
    }
}

/// Answers whether this runner has the pool and, if a stage is named, whether the pool serves it. In doubt the answer
/// is no, as with the incumbent.
pub(super) async fn pool_owner(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Reply<PoolOwnerResponse> {
    let pool = parameter(query.as_deref(), "pool").unwrap_or_default();
    if pool.is_empty() {
        return Err(Refusal::unread(StatusCode::BAD_REQUEST, "mandatory URL parameter 'pool' is missing"));
    }
    let known = api.engine.config().pools.contains_key(&pool);
    let owner = match parameter(query.as_deref(), "stageId").filter(|stage| !stage.is_empty()) {
        Some(stage) if known => owns(&api, &pool, &StageId::new(stage)).await,
        _ => known,
    };
    Ok(Json(PoolOwnerResponse { owner }))
}

async fn owns(api: &Api, pool: &str, stage: &StageId) -> bool {
    let Ok(Some(stage)) = api.engine.store().stage(stage).await else { return false };
    if stage.state == StageState::Ended {
        return false;
    }
    // A caller knows the pool that it asked for, or the fallback from its answer.
    stage.pool == pool || stage.candidates.iter().any(|candidate| candidate.pool == pool)
}

impl Api {
    /// Ends a stage, forgets its steps' exports, and returns whether there was such a stage.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub(super) async fn end(&self, id: &StageId, code: Code, evidence: &str) -> Result<bool, Refusal> {
        let known = self.engine.end_stage(id, code, evidence).await?;
        if let Some(instance) = self.engine.store().stage(id).await?.and_then(|stage| stage.instance) {
            self.exports.forget(&instance);
        }
        Ok(known)
    }
}
