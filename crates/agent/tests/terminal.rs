//! Steps in a terminal, and what is typed into it.

mod rig;

use kiln_wire::agent::StartStepRequest;
use kiln_wire::agent::kiln::Terminal;
use rig::{Rig, step, until};
use serde_json::json;

fn in_terminal(id: &str, script: &str) -> StartStepRequest {
    StartStepRequest { terminal: Some(Terminal { rows: 33, cols: 77 }), ..step(id, script) }
}

async fn type_in(rig: &Rig, id: &str, text: &'static str) -> u16 {
    let request = rig.client.http.put(format!("{}/kiln/v1/input?id={id}", rig.client.base)).body(text);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn what_is_typed_reaches_the_step_and_its_echo_comes_back() {
    let rig = Rig::start().await;
    rig.client
        .ok("/start_step", &in_terminal("s1", "stty size; read word; test -t 0 && echo \"got $word\"; exit 7"))
        .await;
    assert_eq!(type_in(&rig, "s1", "hello\n").await, 200);
    let response = rig.client.poll("s1").await;
    assert_eq!((response.exited, response.exit_code), (true, 7));
    let output = rig.client.output("s1", 0).await;
    assert!(output.contains("33 77\r\n") && output.contains("got hello\r\n"), "{output:?}");
    assert_eq!(type_in(&rig, "s1", "too late\n").await, 409);
}

#[tokio::test]
async fn a_terminal_follows_its_new_size() {
    let rig = Rig::start().await;
    let script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    rig.client.ok("/start_step", &in_terminal("s1", script)).await;
    until("ready", async || (rig.agent.list().steps[0].output_bytes >= 7).then_some(())).await;
    rig.client.ok("/kiln/v1/resize", &json!({"id": "s1", "terminal": {"rows": 50, "cols": 132}})).await;
    assert_eq!(rig.client.poll("s1").await.exit_code, 0);
    assert!(rig.client.output("s1", 0).await.contains("50 132"));
}

#[tokio::test]
async fn a_cancel_ends_everything_in_the_terminal() {
    let rig = Rig::start().await;
    rig.client.ok("/start_step", &in_terminal("s1", "echo up; cat; echo never")).await;
    until("up", async || (rig.agent.list().steps[0].output_bytes >= 4).then_some(())).await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "grace_ms": 200})).await;
    let response = rig.client.poll("s1").await;
    assert_eq!(response.cause, kiln_wire::agent::Cause::Cancelled);
    assert!(!rig.client.output("s1", 0).await.contains("never"));
}

#[tokio::test]
async fn a_step_without_a_terminal_takes_no_input() {
    let rig = Rig::start().await;
    rig.client.run(&step("s1", "cat")).await;
    assert_eq!(type_in(&rig, "s1", "x").await, 409);
    assert_eq!(type_in(&rig, "unknown", "x").await, 400);
}
