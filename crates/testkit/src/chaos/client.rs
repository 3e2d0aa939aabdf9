//! A delegate: it runs stages to their end, and repeats every broken call with the same ids.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use kiln_wire::agent::kiln::OutputRequest;
use kiln_wire::runner::{ExecuteVmRequest, SetupVmRequest, SetupVmResponse};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::script::{Step, difference};
use crate::sim::rng::Rng;

/// Number of steps of a stage.
const STEPS: usize = 3;
/// Pause before a call is repeated.
pub(super) const REPEAT_PAUSE: Duration = Duration::from_millis(25);
/// How long a reader of output waits for the start of its step, in milliseconds.
const START_WAIT_MS: u64 = 120_000;

/// Runs one stage after the other, until the last kill.
pub(super) async fn stages(shared: Arc<Shared>, client: usize, mut rng: Rng) {
    let mut n = 0;
    while !shared.over.load(Ordering::Relaxed) {
        n += 1;
        let id = format!("stage-{client}-{n}");
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let done = tokio::time::timeout(shared.plan.stage_within, stage(&shared, &id, &mut rng)).await;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        let done = done.unwrap_or_else(|_| Err(format!("not done after {} s", shared.plan.stage_within.as_secs())));
        shared.tally(|tally| {
            tally.stages += 1;
            if let Err(why) = done {
                tally.lost.push(format!("{id}: {why}"));
            }
        });
    }
}

async fn stage(shared: &Shared, id: &str, rng: &mut Rng) -> Result<(), String> {
    let setup = json!({
        "id": id,
        "pool_id": shared.plan.pool,
        "timeout": shared.plan.stage_within.as_millis() as u64,
        "setup_request": {"envs": {"CHAOS": id}, "timeout": 3600},
    });
    let setup: SetupVmRequest = request(setup);
    let got = set_up(shared, &setup).await?;
    let instance = got.instance_id;
    let before = shared.served.lock().unwrap_or_else(PoisonError::into_inner).insert(instance.clone(), id.to_owned());
    if let Some(other) = before {
        return Err(format!("instance {instance} has served {other} before"));
    }
    let trace = shared.plan.trace.as_ref().map(|dir| dir.join(id));
    let trace_name = trace.as_ref().map_or_else(|| "/dev/null".to_owned(), |path| path.display().to_string());
    let mut noted = String::new();
    for n in 0..STEPS {
        let step = Step::random(id, n, rng);
        let execute: ExecuteVmRequest = request(
            json!({"stage_runtime_id": id, "instance_id": instance, "start_step_request": step.request(&trace_name)}),
        );
        let (result, output) = futures::future::join(shared.runner.step(&execute), shared.output(id, &step.id)).await;
        let result = result.map_err(|error| format!("step {} was refused: {error}", step.id))?;
        shared.happened();
        let output = output?;
        let want = step.output(&instance);
        let wrong = difference(&want, &output);
        shared.tally(|tally| {
            tally.output_bytes += want.len() as u64;
            tally.missing += wrong;
        });
        if !result.exited || result.exit_code != step.code {
            return Err(format!(
                "step {} ended with {} instead of {}: {}",
                step.id, result.exit_code, step.code, result.error
            ));
        }
        noted.push_str(&step.trace(&instance));
    }
    // A repeated call gets the same answer.
    let again = set_up(shared, &setup).await?;
    if again.instance_id != instance {
        return Err(format!("it was given {instance}, and then {}", again.instance_id));
    }
    shared.runner.destroy(id).await.map_err(|error| format!("it could not be destroyed: {error}"))?;
    shared.happened();
    if let Some(path) = trace {
        let trace = std::fs::read_to_string(&path).unwrap_or_default();
        if trace != noted {
            return Err(format!("its steps noted in {}\n{trace}instead of\n{noted}", path.display()));
        }
    }
    Ok(())
}

async fn set_up(shared: &Shared, request: &SetupVmRequest) -> Result<SetupVmResponse, String> {
    let got = shared.runner.set_up(request).await.map_err(|error| format!("it was not set up: {error}"))?;
    shared.happened();
    Ok(got)
}

impl Shared {
    /// Reads the whole output of a step, and continues where a read broke off.
    async fn output(&self, stage: &str, step: &str) -> Result<Vec<u8>, String> {
        let mut got = Vec::new();
        loop {
            let request = OutputRequest {
                id: step.to_owned(),
                offset: got.len() as u64,
                follow: true,
                wait_ms: Some(START_WAIT_MS),
            };
            let mut chunks = match self.runner.output(stage, &request).await {
                Ok(chunks) => std::pin::pin!(chunks),
                Err(error) if error.is_unreachable() => {
                    self.repeat().await;
                    continue;
                }
                Err(error) => return Err(format!("the output of {step} was refused: {error}")),
            };
            loop {
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        got.extend_from_slice(&chunk);
                        self.happened();
                    }
                    // Only the end of a step ends its output.
                    None => return Ok(got),
                    Some(Err(_)) => break,
                }
            }
            self.repeat().await;
        }
    }

    async fn repeat(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(REPEAT_PAUSE).await;
    }
}

/// Returns the request that JSON describes.
fn request<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("a request")
}
