//! How a step in a container ends that does not end by itself.

use std::time::{Duration, Instant};

use kiln_engine_rig::Engine;
use kiln_wire::agent::Cause;
use serde_json::json;

use crate::rig::until;
use crate::{agent, agent_with, boxed, containers, running, until_removed};

/// Waits until the step has printed this.
async fn printed(rig: &crate::rig::Rig, id: &str, text: &str) {
    until(text, async || crate::output_now(rig, id).await.contains(text).then_some(())).await;
}

#[tokio::test]
async fn a_container_that_is_asked_to_end_may_say_goodbye() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent_with(engine, |settings| settings.kill_grace = Duration::from_secs(20)).await;
    let script = "trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    rig.client.ok("/start_step", &boxed(engine, "s1", script)).await;
    printed(&rig, "s1", "ready").await;
    let start = Instant::now();
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "reason": "a newer push"})).await;
    let end = rig.client.poll("s1").await;
    assert_eq!(
        (end.cause, end.exit_code, end.error.as_str()),
        (Cause::Cancelled, 255, "the step was cancelled: a newer push")
    );
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(rig.client.output("s1", 0).await, "ready\ngoodbye\n");
    until_removed(engine, &rig).await;
}

#[tokio::test]
async fn a_container_that_does_not_end_is_killed_after_its_grace_which_may_be_shortened() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent_with(engine, |settings| settings.kill_grace = Duration::from_secs(1000)).await;
    let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done";
    rig.client.ok("/start_step", &boxed(engine, "s1", script)).await;
    printed(&rig, "s1", "ready").await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
    printed(&rig, "s1", "asked").await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "grace_ms": 0})).await;
    assert_eq!(rig.client.poll("s1").await.cause, Cause::Cancelled);
    until_removed(engine, &rig).await;
}

#[tokio::test]
async fn destroy_asks_only_a_step_that_wants_a_soft_stop() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let script = "trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    for (id, soft) in [("hard", false), ("soft", true)] {
        let mut request = boxed(engine, id, script);
        request.soft_stop = soft;
        rig.client.ok("/start_step", &request).await;
        printed(&rig, id, "ready").await;
    }
    rig.client.ok("/destroy", &json!({})).await;
    for (id, expected) in [("hard", "ready\n"), ("soft", "ready\ngoodbye\n")] {
        assert_eq!(rig.client.poll(id).await.cause, Cause::Destroyed);
        assert_eq!(rig.client.output(id, 0).await, expected);
    }
    assert_eq!(containers(engine, &rig), [""; 0]);
    // There is nothing left to do.
    rig.client.ok("/destroy", &json!({})).await;
}

#[tokio::test]
async fn memory_that_ran_out_is_told_apart() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    for id in ["s1", "s2", "s3"] {
        let mut request = boxed(engine, id, "tail /dev/zero");
        (request.mem_limit, request.memswap_limit) = (16 << 20, 16 << 20);
        let end = rig.client.run(&request).await;
        assert_eq!((end.cause, end.oom_killed), (Cause::OutOfMemory, true), "{end:?}");
        assert!(end.error.contains("oom killed"), "{}", end.error);
    }
    // One that is killed by somebody else is not.
    rig.client.ok("/start_step", &boxed(engine, "s4", "sleep 1000")).await;
    let id = running(engine, &rig).await;
    engine.docker(&["kill", &id]);
    let end = rig.client.poll("s4").await;
    assert_eq!((end.cause, end.oom_killed, end.exit_code), (Cause::Exited, false, 137));
}
