//! A whole stage with a step that does nothing.

use std::time::Instant;

use serde_json::json;

use crate::numbers::{ms, percentile};
use crate::post;
use crate::real::{Place, Runner};

const WARM: usize = 8;

pub async fn run(rounds: usize) -> anyhow::Result<()> {
    println!(
        "# /setup, /step of `true`, /destroy through HTTP; SQLite on disk; agents are real processes, {WARM} warm"
    );
    let place = Place::new()?;
    let runner = Runner::start(&place, "bench", WARM, 2 * WARM, &[]).await?;
    let (mut whole, mut parts) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for n in 0..rounds {
        runner.wait(|pool| pool.ready as usize == WARM && pool.starting + pool.terminating == 0).await?;
        let stage = format!("round-{n}");
        let run = json!({"entrypoint": ["sh", "-c"], "commands": ["true"]});
        let step = json!({"id": format!("{stage}-step"), "stage_runtime_id": stage, "run": run});
        let calls = [
            ("/setup", json!({"id": stage, "pool_id": "pool", "setup_request": {"envs": {"A": "b"}}})),
            ("/step", json!({"stage_runtime_id": stage, "start_step_request": step})),
            ("/destroy", json!({"id": stage})),
        ];
        let began = Instant::now();
        for ((path, body), times) in calls.iter().zip(&mut parts) {
            let began = Instant::now();
            post(&runner.api, path, body).await?;
            times.push(began.elapsed());
        }
        whole.push(began.elapsed());
    }
    let [setup, step, destroy] = parts.each_mut().map(|times| ms(percentile(times, 50)));
    println!(
        "rounds={rounds} p50_ms={} p99_ms={} setup_p50_ms={setup} step_p50_ms={step} destroy_p50_ms={destroy}",
        ms(percentile(&mut whole, 50)),
        ms(percentile(&mut whole, 99)),
    );
    Ok(())
}
