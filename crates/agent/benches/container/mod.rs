//! Steps in containers, beside what `docker run` needs for the same on the same engine.

use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_engine_rig::Engine;
use kiln_wire::agent::StartStepRequest;
use serde_json::json;

use super::program::memory_bytes;
use super::rig::step;
use super::{agent_with, megabytes, middle, ms, ratio, row, timed};

/// Containers of each kind that are run.
const ROUNDS: usize = 30;
/// Bytes that a container prints.
const PRINTED_BYTES: u64 = 200_000_000;

/// Start to result of `true` in a container, what it prints, and what the agent keeps of it.
pub(crate) async fn measure(path: &str) {
    let Some(engine) = Engine::start_as_root() else {
        return row("containers: only root can start an engine", String::new(), "");
    };
    let (image, socket) = (engine.busybox(), format!("unix://{}", engine.socket().display()));
    let agent = agent_with(path, &format!("DOCKER_HOST={socket}\n"));
    let boxed = |id: &str, script: &str| StartStepRequest { image: image.into(), ..step(id, script) };
    let docker = |script: &str| {
        let mut command = Command::new("docker");
        command.args(["run", "--rm", image, "sh", "-c", script]).env("DOCKER_HOST", &socket).stdout(Stdio::null());
        assert!(command.status().expect("docker").success());
    };
    let (mut runs, mut steps) = (Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        runs.push(timed(async || docker("true")).await);
        let run = async || assert_eq!(agent.client.run(&boxed(&format!("true-{n}"), "true")).await.exit_code, 0);
        steps.push(timed(run).await);
    }
    let (run, one) = (middle(&mut runs), middle(&mut steps));
    row("`docker run --rm` of `true`, p50", ms(run), "");
    row("a step in a container of `true`, p50", ms(one), "");
    row("  to `docker run --rm`", ratio(one, run), "1.10");

    let script = format!("yes a line of output that is as long as most are | head -c {PRINTED_BYTES}");
    let printed = timed(async || docker(&script)).await;
    let spooled = timed(async || {
        assert_eq!(agent.client.run(&boxed("large", &script)).await.output_bytes, PRINTED_BYTES);
    });
    let spooled = spooled.await;
    row("`docker run --rm` that prints 200 MB", ms(printed), "");
    row("a step in a container that prints 200 MB", ms(spooled), "");
    row("  to `docker run --rm`", ratio(spooled, printed), "1.10");
    let resident = |key: &str| megabytes(memory_bytes(agent.child.id(), key));
    row("most resident with containers", resident("VmHWM"), "32.0 MB");
    agent.client.ok("/destroy", &json!({})).await;
    row("resident when idle, after a stage of containers", resident("VmRSS"), "8.0 MB");
    tokio::time::sleep(Duration::from_secs(11)).await;
    row("  and ten seconds later", resident("VmRSS"), "8.0 MB");
}
