//! Steps in containers, on a real engine of the test's own.

mod defects;
mod end;
mod engine;
mod restart;
mod run;
mod sees;
mod stage;

#[path = "../rig/program.rs"]
mod program;
#[path = "../rig/mod.rs"]
mod rig;
#[path = "../rig/services.rs"]
mod services;

use std::process::Command;
use std::time::Duration;

use kiln_agent::settings::Settings;
use kiln_engine_rig::Engine;
use kiln_wire::agent::StartStepRequest;
use rig::{Rig, step, until};

/// An agent whose containers are the engine's.
async fn agent(engine: &Engine) -> Rig {
    agent_with(engine, |_| {}).await
}

async fn agent_with(engine: &Engine, change: impl FnOnce(&mut Settings)) -> Rig {
    Rig::with(|settings| {
        settings.engine_host = host(engine);
        settings.kill_grace = Duration::from_secs(1);
        change(settings);
    })
    .await
}

/// What `DOCKER_HOST` is for the engine.
fn host(engine: &Engine) -> String {
    format!("unix://{}", engine.socket().display())
}

/// A step that runs a script in a container with a shell.
fn boxed(engine: &Engine, id: &str, script: &str) -> StartStepRequest {
    StartStepRequest { image: engine.busybox().into(), ..step(id, script) }
}

/// The containers of an agent, also those that have ended.
fn containers(engine: &Engine, rig: &Rig) -> Vec<String> {
    of_label(engine, &format!("label=io.kiln.agent={}", rig.agent.mark()))
}

fn of_label(engine: &Engine, filter: &str) -> Vec<String> {
    let listed = engine.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", filter]);
    listed.lines().map(ToOwned::to_owned).collect()
}

/// The id of the container of a step that runs.
async fn running(engine: &Engine, rig: &Rig) -> String {
    until("a container that runs", async || {
        let found = containers(engine, rig);
        let id = found.first()?;
        (inspect(engine, id, "{{.State.Running}}")? == "true").then(|| id.clone())
    })
    .await
}

/// What a step has printed so far.
async fn output_now(rig: &Rig, id: &str) -> String {
    let request = serde_json::json!({"id": id, "offset": 0, "follow": false});
    rig.client.send("/kiln/v1/output", &request).await.text().await.expect("a body")
}

/// Waits until nothing of the agent's steps is left.
async fn until_removed(engine: &Engine, rig: &Rig) {
    until("the end of all containers", async || containers(engine, rig).is_empty().then_some(())).await;
}

/// What the engine says of a container; none when it is gone.
fn inspect(engine: &Engine, id: &str, format: &str) -> Option<String> {
    let output =
        Command::new("docker").args(["inspect", "--format", format, id]).env("DOCKER_HOST", host(engine)).output();
    let output = output.expect("docker");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
