//! Many stages at once on one runner.

use std::time::Instant;

use anyhow::Context as _;
use futures::future::try_join_all;
use serde_json::json;

use crate::post;
use crate::real::{Place, Runner, memory_kib};

pub async fn run(stages: usize) -> anyhow::Result<()> {
    println!("# {stages} stages at once, none warm; SQLite on disk; agents are real processes on this machine");
    let place = Place::new()?;
    let runner = Runner::start(&place, "bench", 0, stages, &[]).await?;
    // Every step opens this pipe and waits there for the last one.
    let pipe = place.path().join("go");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().context("mkfifo")?;
    anyhow::ensure!(made.success(), "mkfifo failed");
    let call = |path: &'static str, bodies: Vec<serde_json::Value>| {
        let api = runner.api.clone();
        async move { try_join_all(bodies.iter().map(|body| post(&api, path, body))).await }
    };
    let name = |n: usize| format!("stage-{n}");
    let began = Instant::now();
    let setup = |n| json!({"id": name(n), "pool_id": "pool", "setup_request": {"envs": {"A": "b"}}});
    call("/setup", (0..stages).map(setup).collect()).await?;
    let set_up = began.elapsed();
    let script = format!("echo here >> {}/here; read x < {}; echo done", place.path().display(), pipe.display());
    let step = |n| {
        let run = json!({"entrypoint": ["sh", "-c"], "commands": [script]});
        let start = json!({"id": format!("step-{n}"), "stage_runtime_id": name(n), "run": run});
        json!({"stage_runtime_id": name(n), "start_step_request": start})
    };
    let began = Instant::now();
    let steps = tokio::spawn(call("/step", (0..stages).map(step).collect()));
    let here = || std::fs::read(place.path().join("here")).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
    while here() < stages {
        anyhow::ensure!(!steps.is_finished(), "a step ended early");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let running = began.elapsed();
    let agents = place.agents();
    let agents_kib: u64 = agents.iter().filter_map(|pid| memory_kib(*pid, "RssAnon")).sum();
    drop(std::fs::File::options().write(true).open(&pipe)?);
    let began = Instant::now();
    steps.await??;
    let finished = began.elapsed();
    let began = Instant::now();
    call("/destroy", (0..stages).map(|n| json!({"id": name(n)})).collect()).await?;
    runner.wait(|pool| pool.claimed + pool.terminating + pool.starting == 0).await?;
    println!(
        "stages={stages} set_up_s={:.1} all_running_s={:.1} finished_s={:.1} destroyed_s={:.1} runner_rss_peak_mib={} \
         agents_private_mib={} left={}",
        set_up.as_secs_f64(),
        running.as_secs_f64(),
        finished.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        runner.memory_mib("VmHWM")?,
        agents_kib / 1024,
        place.agents().len()
    );
    Ok(())
}
