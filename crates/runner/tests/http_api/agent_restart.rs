//! Agents that are started again: the stage ends with that cause, whichever call finds out.

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::rig::{Runner, setup, step, until};

/// Returns the code and the first line of the evidence. The end of the console follows it.
fn cause_in(row: &Value) -> (String, String) {
    let text =
        |name: &str| row["cause"][name].as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    (text("code"), text("evidence"))
}

/// Returns the cause of a stage's end, once it has ended.
async fn cause_of(runner: &Runner, stage: &str) -> (String, String) {
    until("the stage's end", async || {
        let shown = runner.ok("GET", &format!("/kiln/v1/stages/{stage}"), &Value::Null).await;
        (shown["stage"]["state"] == "ended").then(|| cause_in(&shown["stage"]))
    })
    .await
}

/// Returns a runner with a stage that has a running step.
async fn with_step() -> (Runner, String) {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let start = json!({"id": "long", "run": {"entrypoint": ["sh", "-c"], "commands": ["exec sleep 1000"]}});
    runner.ok("POST", "/kiln/v1/stages/s1/steps", &start).await;
    (runner, instance)
}

fn restarted() -> (String, String) {
    ("agent_restarted".to_owned(), "the agent in the VM was restarted; what ran then was ended".to_owned())
}

#[tokio::test]
async fn a_poll_tells_it_and_the_instance_ends_with_it() {
    let (runner, instance) = with_step().await;
    runner.world.restart_agent(0, |_| {}).await;
    let end = runner.ok("POST", "/kiln/v1/stages/s1/steps/poll", &json!({"id": "long"})).await;
    assert_eq!((end["exit_code"].as_i64(), end["cause"].as_str()), (Some(255), Some("agent_restarted")));
    assert_eq!(cause_of(&runner, "s1").await, restarted());
    let shown = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
    assert_eq!(cause_in(&shown["instance"]), restarted());
    runner.end().await;
}

#[tokio::test]
async fn a_step_that_is_to_start_afterwards_is_refused_and_the_stage_ends() {
    let (runner, _) = with_step().await;
    runner.world.restart_agent(0, |_| {}).await;
    let start = json!({"id": "next", "run": {"entrypoint": ["sh", "-c"], "commands": ["true"]}});
    let (status, refused) = runner.json("POST", "/kiln/v1/stages/s1/steps", &start).await;
    assert_eq!((status, refused["cause"]["code"].as_str()), (410, Some("agent_restarted")), "{refused}");
    assert_eq!(cause_of(&runner, "s1").await, restarted());
    // The incumbent's route reports it in the incumbent's form.
    let (status, refused) = runner.json("POST", "/step", &step("s1", "other", "true")).await;
    assert_eq!((status, refused["cause"]["code"].as_str()), (500, Some("agent_restarted")), "{refused}");
    runner.end().await;
}

#[tokio::test]
async fn a_step_that_is_waited_for_ends_with_it() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let waiting = runner.spawn("/step", step("s1", "long", "exec sleep 1000"));
    until("the step", async || (!runner.world.steps_on(0).is_empty()).then_some(())).await;
    runner.world.restart_agent(0, |_| {}).await;
    let (status, end) = waiting.await.expect("no panic");
    assert_eq!((status, end["exit_code"].as_i64(), end["cause"].as_str()), (200, Some(255), Some("agent_restarted")));
    assert_eq!(cause_of(&runner, "s1").await, restarted());
    runner.end().await;
}

#[tokio::test]
async fn an_agent_that_forgot_everything_is_told_from_one_that_serves() {
    let (runner, _) = with_step().await;
    runner.world.restart_agent(0, |state| std::fs::remove_dir_all(state).expect("a directory")).await;
    let (status, refused) = runner.json("GET", "/kiln/v1/stages/s1/steps", &Value::Null).await;
    assert_eq!(status, 410, "{refused}");
    let (code, evidence) = cause_of(&runner, "s1").await;
    assert_eq!(
        (code.as_str(), evidence.as_str()),
        ("agent_restarted", "the agent in the VM no longer knows its stage")
    );
    runner.end().await;
}

#[tokio::test]
async fn nobody_has_to_ask_the_runner_finds_out_by_itself() {
    let (runner, _) = with_step().await;
    runner.world.restart_agent(0, |_| {}).await;
    runner.engine.probe().await;
    assert_eq!(cause_of(&runner, "s1").await, restarted());
    runner.end().await;
}

#[tokio::test]
async fn a_step_that_tampered_with_its_agent_ends_its_stage_with_that_cause() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let journal = runner.world.state_of(0).join("journal");
    let end = runner.ok("POST", "/step", &step("s1", "evil", &format!("rm {}", journal.display()))).await;
    assert_eq!((end["exit_code"].as_i64(), end["cause"].as_str()), (Some(255), Some("tampered")), "{end}");
    let (code, evidence) = cause_of(&runner, "s1").await;
    assert!(code == "agent_tampered" && evidence.contains("its journal was removed"), "{code}: {evidence}");
    runner.end().await;
}

#[tokio::test]
async fn a_stage_that_is_being_set_up_goes_on_with_another_instance() {
    let runner = Runner::with_machines(1).await;
    let first = runner.set_up("s1").await;
    // The row is as a runner leaves it that is killed before it could answer the caller: the stage counts as not
    // prepared.
    runner.world.restart_agent(0, |_| {}).await;
    let mut by_hand = runner.world.database().await;
    by_hand.execute("UPDATE stages SET set_up = 0").await.expect("a change");
    runner.world.offer().await;
    let second = runner.ok("POST", "/setup", &setup("s1")).await;
    assert_ne!(second["instance_id"], json!(first));
    let shown = runner.ok("GET", &format!("/kiln/v1/instances/{first}"), &Value::Null).await;
    assert_eq!(shown["instance"]["cause"]["code"], "agent_restarted");
    runner.end().await;
}
