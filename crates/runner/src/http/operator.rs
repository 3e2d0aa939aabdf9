//! Our own routes for pools, instances and stages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use kiln_pool::{Code, InstanceId, StageId, Subject};
use kiln_wire::runner::kiln as wire;

use super::Api;
use super::lookup::{flag, parameter};
use super::reply::{Json, Refusal, Reply, read, read_or_default};
use super::views::{self, Seen};

/// Most rows in one answer.
const ROWS: u32 = 1_000;
/// Most changes of one row in one answer.
const CHANGES: u32 = 1_000;
/// Longest hold that one request can set.
const HOLD_MAX_S: i64 = 7 * 24 * 3600;

pub(super) async fn pools(State(api): State<Arc<Api>>) -> Reply<wire::PoolList> {
    let pools = api.pools(None).await?;
    Ok(Json(wire::PoolList { pools, unreadable: views::unreadable(&api.engine.store().unreadable(), None) }))
}

pub(super) async fn drain(State(api): State<Arc<Api>>, Path(name): Path<String>, body: Body) -> Reply<wire::Pool> {
    let request: wire::DrainRequest = read_or_default(body, api.settings.body_limit_bytes).await?;
    api.engine.drain(&name, request.drained.unwrap_or(true)).await?;
    let pool = api.pools(Some(&name)).await?.pop();
    pool.map(Json).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("pool `{name}` is gone")))
}

pub(super) async fn instances(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Reply<wire::InstanceList> {
    let query = query.as_deref();
    let mut rows = if flag(query, "all") {
        api.engine.store().newest_instances(ROWS).await?
    } else {
        let mut live = api.engine.store().live_instances().await?;
        live.sort_by(|a, b| (b.created_ms, &b.id).cmp(&(a.created_ms, &a.id)));
        live
    };
    if let Some(pool) = parameter(query, "pool") {
        rows.retain(|row| row.pool == pool);
    }
    if let Some(state) = parameter(query, "state") {
        let known = kiln_pool::State::from_word(&state);
        let known = known.ok_or_else(|| Refusal::bad(format!("`{state}` is not a state; {}", words())))?;
        rows.retain(|row| row.state == known);
    }
    rows.truncate(ROWS as usize);
    let instances = rows.iter().map(|row| views::instance(row, api.engine.health(&row.id))).collect();
    let unreadable = views::unreadable(&api.engine.store().unreadable(), Some(Subject::Instance));
    Ok(Json(wire::InstanceList { instances, unreadable }))
}

fn words() -> String {
    let words: Vec<&str> = kiln_pool::State::ALL.iter().map(|state| state.as_str()).collect();
    format!("the states are {}", words.join(", "))
}

pub(super) async fn instance(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Reply<wire::InstanceDetail> {
    let store = api.engine.store();
    let row = store.instance(&InstanceId::new(&id)).await?;
    let row = row.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("there is no instance {id}")))?;
    let timeline = store.timeline(&id, CHANGES).await?.iter().map(views::change).collect();
    Ok(Json(wire::InstanceDetail { instance: api.view(&row), timeline }))
}

pub(super) async fn hold(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Reply<wire::Instance> {
    let request: wire::HoldRequest = read(body, api.settings.body_limit_bytes).await?;
    if !(1..=HOLD_MAX_S).contains(&request.seconds) {
        return Err(Refusal::bad(format!("`seconds` must be 1 to {HOLD_MAX_S}, not {}", request.seconds)));
    }
    let until_ms = api.host.now_ms() + request.seconds * 1000;
    Ok(Json(api.view(&api.engine.hold(&InstanceId::new(id), until_ms).await?)))
}

pub(super) async fn release(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Reply<wire::Instance> {
    Ok(Json(api.view(&api.engine.unhold(&InstanceId::new(id)).await?)))
}

pub(super) async fn destroy(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Reply<wire::Instance> {
    let row = api.engine.destroy_instance(&InstanceId::new(id), "an operator ended it by the API").await?;
    Ok(Json(api.view(&row)))
}

pub(super) async fn stages(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Reply<wire::StageList> {
    let rows = if flag(query.as_deref(), "all") {
        api.engine.store().newest_stages(ROWS).await?
    } else {
        let mut open = api.engine.store().open_stages().await?;
        open.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        open.truncate(ROWS as usize);
        open
    };
    let unreadable = views::unreadable(&api.engine.store().unreadable(), Some(Subject::Stage));
    Ok(Json(wire::StageList { stages: rows.iter().map(views::stage).collect(), unreadable }))
}

pub(super) async fn stage(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Reply<wire::StageDetail> {
    let row = api.stage_row(&id).await?;
    let timeline = api.engine.store().timeline(&id, CHANGES).await?.iter().map(views::change).collect();
    Ok(Json(wire::StageDetail { stage: row, timeline }))
}

pub(super) async fn cancel(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Reply<wire::Stage> {
    let request: wire::CancelStageRequest = read_or_default(body, api.settings.body_limit_bytes).await?;
    // An unknown stage is an error before anything is done.
    api.stage_row(&id).await?;
    let reason = if request.reason.is_empty() { "no reason was given" } else { &request.reason };
    api.end(&StageId::new(&id), Code::Cancelled, reason).await?;
    Ok(Json(api.stage_row(&id).await?))
}

impl Api {
    fn view(&self, row: &kiln_pool::Instance) -> wire::Instance {
        views::instance(row, self.engine.health(&row.id))
    }

    async fn stage_row(&self, id: &str) -> Result<wire::Stage, Refusal> {
        let row = self.engine.store().stage(&StageId::new(id)).await?;
        let row = row.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("there is no stage {id}")))?;
        Ok(views::stage(&row))
    }

    async fn pools(&self, only: Option<&str>) -> Result<Vec<wire::Pool>, Refusal> {
        let store = self.engine.store();
        let (instances, stages) = (store.live_instances().await?, store.open_stages().await?);
        let (streaks, drained) = (store.streaks().await?, store.drained().await?);
        let seen = Seen {
            now_ms: self.host.now_ms(),
            instances: &instances,
            stages: &stages,
            streaks: &streaks,
            drained: &drained,
            wanted: &|flavor| self.engine.target(flavor),
        };
        let config = self.engine.config();
        let wanted = config.pools.values().filter(|pool| only.is_none_or(|name| name == pool.name));
        Ok(wanted.map(|pool| views::pool(pool, &seen)).collect())
    }
}
