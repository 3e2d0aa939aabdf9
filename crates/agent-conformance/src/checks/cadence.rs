//! Section 1.7: what runners do with an agent.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, wait_for};
use crate::expect::{Expected, Finding, holds, same};

checks! {
    "1.7":
        health_may_be_asked_for_again_and_again,
        a_setup_that_is_sent_twice_at_once_is_done,
        a_poll_that_breaks_off_can_be_taken_up_again,
        a_start_that_breaks_off_can_be_repeated,
        a_whole_stage_goes_its_way;
}

async fn health_may_be_asked_for_again_and_again(agent: &Agent) -> Expected {
    for _ in 0..50 {
        agent.get("/healthz").await?.has_status(200)?;
    }
    Ok(())
}

async fn a_setup_that_is_sent_twice_at_once_is_done(agent: &Agent) -> Expected {
    let setup = json!({"envs": {"TWICE": "yes"}});
    let (first, second) = futures::join!(agent.post("/setup", &setup), agent.post("/setup", &setup));
    first?.is_empty()?;
    second?.is_empty()?;
    same("what a step sees", agent.sh("echo $TWICE").await?.trim(), "yes")?;
    agent.set_up().await
}

async fn a_poll_that_breaks_off_can_be_taken_up_again(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&format!("{}; exit 9", wait_for(&gate)));
    let id = step["id"].as_str().unwrap_or_default();
    agent.start(&step).await?;
    for _ in 0..3 {
        // The poll goes on until something else was answered, and is dropped then.
        tokio::select! {
            early = agent.poll(id) => return Err(Finding::Breach(format!("the poll was answered early: {:?}", early?))),
            other = agent.sh("true") => drop(other?),
        }
    }
    let open = async { agent.sh(&format!("touch {gate}")).await };
    let (polled, opened) = futures::join!(agent.poll(id), open);
    opened?;
    same("the exit code", &polled?["exit_code"], &json!(9))
}

async fn a_start_that_breaks_off_can_be_repeated(agent: &Agent) -> Expected {
    let count = agent.path("count");
    let step = agent.script(&format!("echo x >> {count}"));
    for _ in 0..3 {
        // What became of this one its caller does not know.
        drop(tokio::time::timeout(std::time::Duration::from_millis(1), agent.start(&step)).await);
    }
    agent.run(&step).await?;
    same("how often it ran", agent.sh(&format!("cat {count}")).await?.as_str(), "x\n")
}

/// As a runner drives it: health, setup, the reader before the step, the step, the poll, destroy.
async fn a_whole_stage_goes_its_way(agent: &Agent) -> Expected {
    agent.get("/healthz").await?.has_status(200)?;
    agent.post("/setup", &json!({"envs": {"CI": "true"}, "secrets": ["hush"]})).await?.is_empty()?;
    for n in 0..3 {
        let step = agent.script(&format!("echo step {n} of $CI; exit {n}"));
        let id = step["id"].as_str().unwrap_or_default();
        let run = async {
            agent.start(&step).await?;
            agent.poll(id).await
        };
        let (output, result) = futures::join!(agent.output(id), run);
        same("the output", output?.as_str(), format!("step {n} of true\n").as_str())?;
        let result = result?;
        same("the exit code", result.get("exit_code").and_then(Value::as_i64).unwrap_or(0), n)?;
    }
    let answer = agent.post("/destroy", &json!({})).await?.ok()?;
    holds(format!("destroy answers {answer}"), answer["os_stats"].is_object())?;
    agent.set_up().await
}
