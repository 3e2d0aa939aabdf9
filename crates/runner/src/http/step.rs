//! `/step`: runs a step and answers when it has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use kiln_agent_client::AgentError;
use kiln_pool::StageId;
use kiln_wire::agent::{PollStepResponse, StartStepRequest};
use kiln_wire::runner::ExecuteVmRequest;

use super::Api;
use super::demand::mandatory;
use super::place::Place;
use super::reply::{Json, Refusal, Reply, read};

/// Time for which an agent that does not answer is asked again to start a step.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two attempts.
const START_PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn step(State(api): State<Arc<Api>>, body: Body) -> Reply<PollStepResponse> {
    let request: ExecuteVmRequest = read(body, api.settings.body_limit_bytes).await?;
    let stage = stage_of(&request)?;
    let place = api.place(&stage).await.map_err(Refusal::like_incumbent)?;
    // A caller that could name any instance could run anything on it.
    if !request.instance_id.is_empty() && request.instance_id != place.instance.id.as_str() {
        let message = format!("instance {} does not serve stage {stage}", request.instance_id);
        return Err(Refusal::bad(message));
    }
    let key = format!("{stage}\n{}", request.start_step_request.id);
    let work = run(Arc::clone(&api), place, request.start_step_request);
    Ok(Json(api.steps.join(key, work).await.map_err(Refusal::like_incumbent)?))
}

/// Returns the stage that a request names. The address and the instance in the request are ignored.
///
/// # Errors
/// 400 when it names no stage, or two.
fn stage_of(request: &ExecuteVmRequest) -> Result<StageId, Refusal> {
    let start = &request.start_step_request;
    if start.id.is_empty() && request.ip_address.is_empty() {
        return Err(Refusal::bad("either parameter 'id' or 'ip_address' must be provided"));
    }
    mandatory("start_step_request.id", &start.id)?;
    let stage = match (request.stage_runtime_id.as_str(), start.stage_runtime_id.as_str()) {
        ("", inner) => inner,
        (outer, inner) if inner.is_empty() || inner == outer => outer,
        (outer, inner) => {
            return Err(Refusal::bad(format!(
                "`stage_runtime_id` is {outer}, and that of `start_step_request` is {inner}; name one stage"
            )));
        }
    };
    mandatory("stage_runtime_id", stage)?;
    Ok(StageId::new(stage))
}

/// Runs a step and returns its result. This runs once for a step however many callers wait, and continues when they
/// disconnect.
async fn run(api: Arc<Api>, place: Place, mut step: StartStepRequest) -> Result<PollStepResponse, Refusal> {
    let Place { stage, instance, agent } = &place;
    let id = step.id.clone();
    let result = async {
        api.heard(&instance.id, start(&api, &place, &mut step).await)?;
        api.heard_of_step(&instance.id, agent.poll_step(&id, api.settings.unreachable_for).await)
    };
    let result = api.while_served(&stage.id, &instance.id, &id, result).await;
    let outcome = match &result {
        Ok(result) if result.exit_code == 0 && result.error.is_empty() => "success",
        Ok(_) => "failure",
        Err(_) => "lost",
    };
    api.metrics.step(&instance.pool, outcome);
    let mut result = result?;
    // Callers of this route do not know this field.
    result.secrets.clear();
    if result.exited {
        api.exports.note(&instance.id, &id, &result.envs);
    }
    Ok(result)
}

/// Starts a step. A broken connection is replaced, because the agent starts no step twice.
async fn start(api: &Api, place: &Place, step: &mut StartStepRequest) -> Result<(), AgentError> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let started = async {
            if step.image.is_empty() {
                // As with the incumbent, the exports of earlier steps override the step's own environment.
                step.environment.extend(api.exports.so_far(&place.instance.id, &place.agent).await?);
            }
            place.agent.start_step(step).await
        };
        match started.await {
            Err(error) if error.is_connection() && Instant::now() < deadline => tokio::time::sleep(START_PAUSE).await,
            outcome => return outcome,
        }
    }
}
