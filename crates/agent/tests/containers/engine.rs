//! Engines that are not there yet, or not any more; `tests/no_engine.rs` has those that never are.

use kiln_engine_rig::Engine;
use kiln_wire::agent::Cause;
use serde_json::json;

use crate::rig::until;
use crate::{agent, agent_with, boxed, output_now};

#[tokio::test]
async fn an_engine_that_is_still_being_started_is_waited_for() {
    let Some(engine) = Engine::shared() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("docker.sock");
    let rig = agent_with(engine, |settings| settings.engine_host = format!("unix://{}", socket.display())).await;
    rig.client.ok("/start_step", &boxed(engine, "s1", "echo it is there")).await;
    until("the wait", async || {
        let text = output_now(&rig, "s1").await;
        text.starts_with("waiting for the container engine at").then_some(())
    })
    .await;
    std::os::unix::fs::symlink(engine.socket(), &socket).expect("a link");
    let end = rig.client.poll("s1").await;
    assert_eq!(end.exit_code, 0, "{end:?}");
    assert!(rig.client.output("s1", 0).await.ends_with("it is there\n"));
}

#[tokio::test]
async fn an_engine_that_dies_while_a_step_runs_ends_the_step_with_a_cause() {
    let Some(engine) = Engine::start_as_root() else { return };
    let rig = agent(&engine).await;
    rig.client.ok("/start_step", &boxed(&engine, "s1", "echo begun; sleep 1000")).await;
    until("its output", async || output_now(&rig, "s1").await.contains("begun").then_some(())).await;
    drop(engine);
    let end = rig.client.poll("s1").await;
    assert_eq!((end.exit_code, end.cause), (255, Cause::Failed));
    assert!(
        end.error.contains("the container engine went away when it was to tell of the step's end"),
        "{}",
        end.error
    );
    assert_eq!(rig.client.output("s1", 0).await, "begun\n");
    // Nothing hangs afterwards.
    rig.client.ok("/destroy", &json!({})).await;
}
