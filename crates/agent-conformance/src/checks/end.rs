//! Sections 1.2 and 1.3: `/destroy` and `/suspend`.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, wait_for, with};
use crate::expect::Presence::Always;
use crate::expect::{Expected, Field, Finding, Shape, fields, holds, same};

checks! {
    "1.2":
        destroy_answers_with_the_load_of_the_machine,
        destroy_may_be_repeated,
        every_field_of_a_destroy_is_taken,
        a_stage_can_be_set_up_after_a_destroy,
        a_poll_that_is_open_is_answered_after_a_destroy;
    "1.3":
        suspend_is_answered_with_nothing,
        suspend_leaves_the_steps_alone;
}

const STATS: &[Field] = &[
    ("total_mem_mb", Shape::Number, Always),
    ("cpu_cores", Shape::Whole, Always),
    ("avg_mem_usage_pct", Shape::Number, Always),
    ("avg_cpu_usage_pct", Shape::Number, Always),
    ("max_mem_usage_pct", Shape::Number, Always),
    ("max_cpu_usage_pct", Shape::Number, Always),
    ("mem_graph", Shape::Object(GRAPH), Always),
    ("cpu_graph", Shape::Object(GRAPH), Always),
];
const GRAPH: &[Field] = &[
    ("points", Shape::List(&[("x", Shape::Number, Always), ("y", Shape::Number, Always)]), Always),
    ("xmetric", Shape::Word(&["seconds"]), Always),
    ("ymetric", Shape::Word(&["mem_mb", "cpu_milli"]), Always),
];
/// Points of a curve at most.
const POINTS: usize = 10;

async fn destroy_answers_with_the_load_of_the_machine(agent: &Agent) -> Expected {
    let answer = agent.post("/destroy", &json!({})).await?.ok()?;
    fields("the answer", &answer, &[("os_stats", Shape::Object(STATS), Always)])?;
    let stats = &answer["os_stats"];
    holds("the machine has no processor", stats["cpu_cores"].as_i64() > Some(0))?;
    holds("the machine has no memory", stats["total_mem_mb"].as_f64() > Some(1.0))?;
    for (graph, label) in [("mem_graph", "mem_mb"), ("cpu_graph", "cpu_milli")] {
        same(&format!("the label of {graph}"), &stats[graph]["ymetric"], &json!(label))?;
        let points = stats[graph]["points"].as_array().map_or(0, Vec::len);
        holds(format!("{graph} has {points} points, and {POINTS} are the most"), points <= POINTS)?;
    }
    for name in ["avg_mem_usage_pct", "avg_cpu_usage_pct", "max_mem_usage_pct", "max_cpu_usage_pct"] {
        let percent = stats[name].as_f64().unwrap_or(-1.0);
        holds(format!("{name} is {percent}"), (0.0..=100.0).contains(&percent))?;
    }
    agent.set_up().await
}

async fn destroy_may_be_repeated(agent: &Agent) -> Expected {
    for _ in 0..3 {
        agent.post("/destroy", &json!({})).await?.has_status(200)?;
    }
    agent.set_up().await
}

async fn every_field_of_a_destroy_is_taken(agent: &Agent) -> Expected {
    let request = json!({"log_drone": true, "log_key": "k", "lite_engine_path": "/x", "stage_runtime_id": "s"});
    agent.post("/destroy", &request).await?.has_status(200)?;
    agent.set_up().await
}

async fn a_stage_can_be_set_up_after_a_destroy(agent: &Agent) -> Expected {
    agent.post("/destroy", &json!({})).await?.has_status(200)?;
    agent.post("/setup", &json!({"envs": {"AFTER": "destroy"}})).await?.is_empty()?;
    same("what a step sees", agent.sh("echo $AFTER").await?.trim(), "destroy")?;
    agent.set_up().await
}

/// An agent that leaves the step alone answers when it ends; one that ends it, at once.
async fn a_poll_that_is_open_is_answered_after_a_destroy(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&wait_for(&gate));
    let id = step["id"].as_str().unwrap_or_default();
    agent.start(&step).await?;
    let end = async {
        agent.post("/destroy", &json!({})).await?.has_status(200)?;
        agent.set_up().await?;
        agent.sh(&format!("touch {gate}")).await
    };
    let (polled, ended) = futures::join!(agent.poll(id), end);
    ended?;
    same("exited", &polled?["exited"], &json!(true))
}

/// Without a container engine there is nothing to remove, and the original says so with 500.
async fn suspended(agent: &Agent, request: &Value) -> Expected {
    let answer = agent.post("/suspend", request).await?;
    if answer.status == 500 && answer.refusal(500)?.contains("docker") {
        return Err(Finding::NotApplicable("its machine has no container engine, which this agent needs".to_owned()));
    }
    answer.is_empty()
}

async fn suspend_is_answered_with_nothing(agent: &Agent) -> Expected {
    for request in [
        json!({}),
        json!({"labels": {}}),
        json!({"log_key": "k", "labels": {"a": "b", "c": ""}, "lite_engine_path": "/x"}),
    ] {
        suspended(agent, &request).await?;
    }
    Ok(())
}

async fn suspend_leaves_the_steps_alone(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = with(agent.script(&format!("{}; exit 8", wait_for(&gate))), json!({}));
    agent.start(&step).await?;
    let suspended = suspended(agent, &json!({"labels": {"a": "b"}})).await;
    agent.sh(&format!("touch {gate}")).await?;
    same("the exit code", &agent.poll(step["id"].as_str().unwrap_or_default()).await?["exit_code"], &json!(8))?;
    suspended
}
