//! Section 4: what a step's environment is made of.

use serde_json::json;

use super::checks;
use crate::agent::{Agent, with};
use crate::expect::{Expected, holds, same};

checks! {
    "4 environment":
        a_step_needs_no_environment_of_its_own,
        the_steps_environment_goes_before_the_setups,
        a_value_is_handed_over_as_it_is,
        an_empty_value_is_left_out,
        an_empty_value_is_kept_on_demand,
        a_step_has_a_path,
        a_step_is_told_where_to_write,
        files_for_plugins_are_the_steps_own;
    "4.9":
        exported_variables_reach_the_later_steps_of_their_stage,
        exported_variables_end_with_their_stage,
        a_step_of_a_stage_can_be_polled;
}

async fn a_step_needs_no_environment_of_its_own(agent: &Agent) -> Expected {
    for environment in [json!(null), json!({})] {
        let step = with(agent.script("exit 3"), json!({ "environment": environment }));
        same("the exit code", &agent.run(&step).await?["exit_code"], &json!(3))?;
    }
    let mut step = agent.script("exit 3");
    if let Some(step) = step.as_object_mut() {
        step.remove("environment");
    }
    same("the exit code", &agent.run(&step).await?["exit_code"], &json!(3))
}

/// Runs a script in this environment, and returns what it prints.
async fn seen(agent: &Agent, environment: serde_json::Value, script: &str) -> Expected<String> {
    let step = with(agent.script(script), json!({ "environment": environment }));
    agent.run(&step).await?;
    agent.output(step["id"].as_str().unwrap_or_default()).await
}

async fn the_steps_environment_goes_before_the_setups(agent: &Agent) -> Expected {
    agent.post("/setup", &json!({"envs": {"A": "setup", "B": "setup", "HOME": "/home/of/setup"}})).await?.is_empty()?;
    let found = seen(agent, json!({"B": "step", "C": "step"}), "echo $A $B $C $HOME").await?;
    same("what a step sees", found.as_str(), "setup step step /home/of/setup\n")?;
    agent.set_up().await
}

async fn a_value_is_handed_over_as_it_is(agent: &Agent) -> Expected {
    let value = "two\nlines\t\"q\" 'q' \\ $HOME `x` =é";
    same("the value", seen(agent, json!({ "V": value }), "printf %s \"$V\"").await?.as_str(), value)
}

async fn an_empty_value_is_left_out(agent: &Agent) -> Expected {
    agent.post("/setup", &json!({"envs": {"A": "", "B": "full"}})).await?.is_empty()?;
    let found = seen(agent, json!({"B": "", "C": ""}), "echo ${A-none} ${B-none} ${C-none}").await?;
    same("what a step sees", found.as_str(), "none none none\n")?;
    agent.set_up().await
}

async fn an_empty_value_is_kept_on_demand(agent: &Agent) -> Expected {
    let environment = json!({"A": "", "CI_USE_LESS_STRICT_EVALUATION_FOR_MAP_VARS": "true"});
    same("what a step sees", seen(agent, environment, "echo ${A-none}end").await?.as_str(), "end\n")
}

async fn a_step_has_a_path(agent: &Agent) -> Expected {
    let path = agent.sh("echo $PATH").await?;
    holds(format!("PATH is {path:?}"), path.contains("/bin"))
}

async fn a_step_is_told_where_to_write(agent: &Agent) -> Expected {
    const FILES: [(&str, &str); 7] = [
        ("DRONE_ENV", "-export.env"),
        ("DRONE_OUTPUT", "-output.env"),
        ("HARNESS_OUTPUT_FILE", "-output.env"),
        ("HARNESS_OUTPUT_SECRET_FILE", "-output-secrets.env"),
        ("PLUGIN_ARTIFACT_FILE", "-artifact"),
        ("HARNESS_ANNOTATIONS_FILE", "-annotations.json"),
        ("HARNESS_ARTIFACT_FILE_PATH", "-artifact.json"),
    ];
    for (name, ending) in FILES {
        let step = agent.script(&format!("printf %s ${name}"));
        agent.run(&step).await?;
        let id = step["id"].as_str().unwrap_or_default();
        let path = agent.output(id).await?;
        let is = path.ends_with(&format!("/tmp/engine/{id}{ending}"));
        holds(format!("{name} of step {id} is {path:?} and should be its file in /tmp/engine"), is)?;
    }
    let step = with(agent.script("printf %s \"$HARNESS_SCRATCH_DIR\""), json!({"scratch_dir": "/tmp/scratch"}));
    agent.run(&step).await?;
    let scratch = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    same("HARNESS_SCRATCH_DIR", scratch.as_str(), "/tmp/scratch")
}

async fn files_for_plugins_are_the_steps_own(agent: &Agent) -> Expected {
    const NAMES: [&str; 4] = [
        "PLUGIN_METADATA_FILE",
        "PLUGIN_CACHE_METRICS_FILE",
        "PLUGIN_CACHE_INTEL_METRICS_FILE",
        "PLUGIN_BUILD_TOOL_FILE",
    ];
    for name in NAMES {
        let environment = json!({ name: "/tmp/engine/shared.json" });
        let step = with(agent.script(&format!("printf %s ${name}")), json!({ "environment": environment }));
        agent.run(&step).await?;
        let id = step["id"].as_str().unwrap_or_default();
        let path = agent.output(id).await?;
        holds(format!("{name} is {path:?}"), path.ends_with(&format!("/{id}-shared.json")))?;
        same(
            &format!("{name} where none is given"),
            agent.sh(&format!("echo ${{{name}-none}}")).await?.trim(),
            "none",
        )?;
    }
    Ok(())
}

async fn exported_variables_reach_the_later_steps_of_their_stage(agent: &Agent) -> Expected {
    let (stage, other) = (agent.id(), agent.id());
    let export = with(agent.logged("echo EXPORTED=it >> $DRONE_ENV"), json!({ "stage_runtime_id": stage }));
    let result = agent.run(&export).await?;
    same("the exported variables", &result["envs"], &json!({"EXPORTED": "it"}))?;
    for (stage, expected) in [(stage, "it"), (other, "none")] {
        let step = with(agent.script("printf %s ${EXPORTED-none}"), json!({ "stage_runtime_id": stage }));
        agent.run(&step).await?;
        let found = agent.output(step["id"].as_str().unwrap_or_default()).await?;
        same("what a later step sees", found.as_str(), expected)?;
    }
    Ok(())
}

async fn exported_variables_end_with_their_stage(agent: &Agent) -> Expected {
    let stage = agent.id();
    agent.run(&with(agent.logged("echo EXPORTED=it >> $DRONE_ENV"), json!({ "stage_runtime_id": stage }))).await?;
    agent.post("/destroy", &json!({ "stage_runtime_id": stage })).await?.has_status(200)?;
    agent.set_up().await?;
    let step = with(agent.script("printf %s ${EXPORTED-none}"), json!({ "stage_runtime_id": stage }));
    agent.run(&step).await?;
    same("what is left", agent.output(step["id"].as_str().unwrap_or_default()).await?.as_str(), "none")
}

/// The original never answers such a poll; whoever drives it gets the result by another way.
async fn a_step_of_a_stage_can_be_polled(agent: &Agent) -> Expected {
    let step = with(agent.script("exit 6"), json!({"stage_runtime_id": agent.id(), "timeout": 36_000}));
    same("the exit code", &agent.run(&step).await?["exit_code"], &json!(6))
}
