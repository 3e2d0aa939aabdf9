//! A delegate: it carries stages through, and repeats every call that breaks with the same ids.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use kiln_wire::agent::PollStepResponse;
use kiln_wire::runner::SetupVmResponse;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::script::{Step, difference};
use crate::sim::rng::Rng;

/// Steps of a stage.
const STEPS: usize = 3;
/// Pause before a call is repeated.
const REPEAT_PAUSE: Duration = Duration::from_millis(25);
/// How long a reader of output waits for the start of its step, in milliseconds.
const START_WAIT_MS: u64 = 120_000;

/// One stage after the other, until the last kill.
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
    let got: SetupVmResponse = shared.post("/setup", &setup).await?;
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
        let request =
            json!({"stage_runtime_id": id, "instance_id": instance, "start_step_request": step.request(&trace_name)});
        let (result, output) =
            futures::future::join(shared.post::<PollStepResponse>("/step", &request), shared.output(id, &step.id))
                .await;
        let (result, output) = (result?, output?);
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
    // Whoever asks again is told the same.
    let again: SetupVmResponse = shared.post("/setup", &setup).await?;
    if again.instance_id != instance {
        return Err(format!("it was given {instance}, and then {}", again.instance_id));
    }
    let _: Value = shared.post("/destroy", &json!({"id": id})).await?;
    if let Some(path) = trace {
        let trace = std::fs::read_to_string(&path).unwrap_or_default();
        if trace != noted {
            return Err(format!("its steps noted in {}\n{trace}instead of\n{noted}", path.display()));
        }
    }
    Ok(())
}

impl Shared {
    /// Repeats a call until it is answered. An answer that is not a success is an error: none is expected.
    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, String> {
        loop {
            let answer = async {
                let answer = self.http.post(format!("{}{path}", self.base)).json(body).send().await?;
                let status = answer.status();
                Ok::<_, reqwest::Error>((status, answer.bytes().await?))
            };
            match answer.await {
                Ok((status, text)) if status.is_success() => {
                    self.happened();
                    let text = if text.is_empty() { b"null" } else { &text[..] };
                    return serde_json::from_slice(text).map_err(|error| format!("{path} answered nonsense: {error}"));
                }
                Ok((status, text)) => {
                    return Err(format!("{path} answered {status}: {}", String::from_utf8_lossy(&text).trim()));
                }
                Err(_) => self.repeat().await,
            }
        }
    }

    /// The whole output of a step, taken up again where it broke.
    async fn output(&self, stage: &str, step: &str) -> Result<Vec<u8>, String> {
        let path = format!("{}/kiln/v1/stages/{stage}/output", self.base);
        let mut got = Vec::new();
        loop {
            let body = json!({"id": step, "offset": got.len(), "follow": true, "wait_ms": START_WAIT_MS});
            let Ok(answer) = self.http.post(&path).json(&body).send().await else {
                self.repeat().await;
                continue;
            };
            let status = answer.status();
            if !status.is_success() {
                let Ok(text) = answer.text().await else { continue };
                return Err(format!("the output of {step} was answered with {status}: {}", text.trim()));
            }
            let mut chunks = answer.bytes_stream();
            loop {
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        got.extend_from_slice(&chunk);
                        self.happened();
                    }
                    // Only a step that ended ends its output.
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
