//! Calls that name their stage are served by the agent of that stage alone.

#[path = "rig/program.rs"]
mod program;
mod rig;

use program::Program;
use rig::{Client, Rig, step};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");

/// Sends a request that names the stage; the status, and the reason of a refusal.
async fn send(client: &Client, epoch: &str, path: &str, body: &Value) -> (u16, String) {
    let request = client.http.post(format!("{}{path}", client.base)).header("x-kiln-epoch", epoch);
    let answer = request.body(body.to_string()).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["reason"].as_str().unwrap_or_default().to_owned())
}

fn served() -> (u16, String) {
    (200, String::new())
}

fn refused() -> (u16, String) {
    (410, "other_epoch".to_owned())
}

#[tokio::test]
async fn a_call_for_another_stage_is_refused_and_one_that_names_none_is_served() {
    let rig = Rig::start().await;
    let client = &rig.client;
    assert_eq!(send(client, "stage-1", "/setup", &json!({})).await, served());
    assert_eq!(send(client, "stage-1", "/start_step", &json!(step("s1", "exit 3"))).await, served());
    for (path, body) in [
        ("/poll_step", json!({"id": "s1"})),
        ("/stream_output", json!({"id": "s1"})),
        ("/kiln/v1/output", json!({"id": "s1"})),
        ("/kiln/v1/cancel", json!({"id": "s1"})),
        ("/kiln/v1/files", json!({"base": "/", "paths": ["etc/hostname"]})),
        ("/destroy", json!({})),
        ("/suspend/", json!({})),
    ] {
        for other in ["stage-2", "stage-11", "STAGE-1"] {
            assert_eq!(send(client, other, path, &body).await, refused(), "{path} {other:?}");
        }
        assert_eq!(send(client, "stage-1", path, &body).await, served(), "{path}");
        assert!(client.send(path, &body).await.status().is_success(), "{path}");
    }
    let steps = client.http.get(format!("{}/kiln/v1/steps", client.base)).header("x-kiln-epoch", "stage-2");
    assert_eq!(steps.send().await.expect("an answer").status().as_u16(), 410);
    assert_eq!(send(client, "stage-2", "/start_step", &json!(step("s2", "true"))).await, refused());
}

#[tokio::test]
async fn a_second_setup_brings_the_same_name_or_none() {
    let rig = Rig::start().await;
    let client = &rig.client;
    let setup = |value: &str| json!({"envs": {"A": value}});
    assert_eq!(send(client, "stage-1", "/setup", &setup("1")).await, served());
    assert_eq!(send(client, "stage-2", "/setup", &setup("1")).await, refused());
    assert_eq!(send(client, "stage-2", "/setup", &setup("2")).await, refused());
    assert_eq!(send(client, "stage-1", "/setup", &setup("2")).await, served());
    client.ok("/setup", &setup("3")).await;
    assert_eq!(send(client, "stage-1", "/start_step", &json!(step("s1", "true"))).await, served());
}

#[tokio::test]
async fn an_agent_that_was_set_up_without_a_name_or_not_at_all_serves_no_named_call() {
    let rig = Rig::start().await;
    let client = &rig.client;
    let start = json!(step("s1", "true"));
    assert_eq!(send(client, "stage-1", "/start_step", &start).await, refused());
    client.ok("/setup", &json!({})).await;
    assert_eq!(send(client, "stage-1", "/start_step", &start).await, refused());
    // What comes before there is a stage needs no name, and may have one.
    let health = client.http.get(format!("{}/healthz", client.base)).header("x-kiln-epoch", "stage-1");
    assert!(health.send().await.expect("an answer").status().is_success());
    assert_eq!(send(client, "stage-1", "/setup", &json!({})).await, served());
    assert_eq!(send(client, "stage-1", "/start_step", &start).await, served());
}

#[tokio::test]
async fn after_a_restart_its_own_stage_may_read_and_another_may_not() {
    let mut program = Program::start(PROGRAM, "--env-file");
    assert_eq!(send(&program.client, "stage-1", "/setup", &json!({})).await, served());
    program.client.run(&step("s1", "echo x")).await;
    program.kill_and_start_again(PROGRAM);
    let (poll, output) = (json!({"id": "s1"}), json!({"id": "s1", "follow": true}));
    for (path, body) in [("/poll_step", &poll), ("/kiln/v1/output", &output), ("/destroy", &json!({}))] {
        assert_eq!(send(&program.client, "stage-1", path, body).await, served(), "{path}");
        assert_eq!(send(&program.client, "stage-2", path, body).await, refused(), "{path}");
    }
    let again = send(&program.client, "stage-1", "/setup", &json!({})).await;
    assert_eq!(again, (410, "agent_restarted".to_owned()));
}

#[tokio::test]
async fn an_agent_that_lost_its_journal_too_serves_no_call_that_names_the_stage() {
    let mut program = Program::start(PROGRAM, "--env-file");
    assert_eq!(send(&program.client, "stage-1", "/setup", &json!({})).await, served());
    let start = json!(step("s1", "exec sleep 1000"));
    assert_eq!(send(&program.client, "stage-1", "/start_step", &start).await, served());
    program.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
    program.kill();
    std::fs::remove_dir_all(program.dir.path().join("state")).expect("a directory");
    program.start_again(PROGRAM);
    for (path, body) in [("/start_step", start), ("/poll_step", json!({"id": "s1"}))] {
        assert_eq!(send(&program.client, "stage-1", path, &body).await, refused(), "{path}");
    }
}
