//! Section 1.5: `/poll_step` and every field of its answer.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, wait_for, with};
use crate::expect::Presence::{Always, NotZero};
use crate::expect::{Expected, Field, Shape, breach, fields, holds, same};

checks! {
    "1.5":
        an_unknown_step_cannot_be_polled,
        a_step_that_succeeds_says_only_that_it_exited,
        a_step_that_fails_gives_its_exit_code_and_the_protocols_text,
        a_step_that_a_signal_ends_has_exit_code_minus_1,
        a_step_that_cannot_start_has_exit_code_255,
        a_step_whose_time_is_up_has_exit_code_255,
        a_step_without_an_entrypoint_says_so,
        a_detached_step_is_answered_at_once_with_nothing,
        a_poll_is_answered_when_the_step_ends_and_not_before,
        any_number_of_polls_get_the_same_result,
        a_poll_after_the_end_is_answered_too;
}

/// The fields of a result. Those after the protocol's own are what agents of Kiln add.
const RESULT: &[Field] = &[
    ("exited", Shape::Flag, NotZero),
    ("exit_code", Shape::Whole, NotZero),
    ("error", Shape::Text, NotZero),
    ("oom_killed", Shape::Flag, NotZero),
    ("outputs", Shape::Texts, NotZero),
    ("envs", Shape::Texts, NotZero),
    ("artifact", Shape::Text, NotZero),
    ("outputV2", Shape::List(OUTPUT), NotZero),
    ("optimization_state", Shape::Word(&["FULL_RUN", "OPTIMIZED", "DISABLED"]), NotZero),
    ("telemetry_data", Shape::Any, NotZero),
    ("native_artifact_output", Shape::Text, NotZero),
    ("cause", Shape::Text, NotZero),
    ("signal", Shape::Whole, NotZero),
    ("cancel_reason", Shape::Text, NotZero),
    ("output_bytes", Shape::Whole, NotZero),
    ("duration_ms", Shape::Whole, NotZero),
];

const OUTPUT: &[Field] = &[
    ("key", Shape::Text, Always),
    ("value", Shape::Text, Always),
    ("type", Shape::Word(&["STRING", "SECRET"]), Always),
];

/// What only says how a step of ours ran, whatever it did.
const MEASURED: [&str; 2] = ["output_bytes", "duration_ms"];

/// The answer to a poll has fields of the protocol, each of its type, and none that is zero.
pub(crate) fn has_its_form(answer: &Value) -> Expected {
    fields("the result", answer, RESULT)
}

/// The result without what is measured of it, and without the word for its cause, which not every agent has.
fn said(mut result: Value) -> Value {
    if let Some(object) = result.as_object_mut() {
        object.retain(|name, _| !MEASURED.contains(&name.as_str()) && name != "cause");
    }
    result
}

async fn an_unknown_step_cannot_be_polled(agent: &Agent) -> Expected {
    for body in [json!({"id": agent.id()}), json!({"id": ""}), json!({})] {
        agent.post("/poll_step", &body).await?.refusal(400)?;
    }
    Ok(())
}

async fn a_step_that_succeeds_says_only_that_it_exited(agent: &Agent) -> Expected {
    for step in [agent.script("echo out; echo err >&2"), agent.script("exit 0")] {
        same("the result", said(agent.run(&step).await?), json!({"exited": true}))?;
    }
    Ok(())
}

async fn a_step_that_fails_gives_its_exit_code_and_the_protocols_text(agent: &Agent) -> Expected {
    for code in [1, 2, 126, 127, 255] {
        let result = agent.run(&agent.script(&format!("exit {code}"))).await?;
        let error = format!("1 error occurred:\n\t* exit status {code}\n\n");
        same("the result", said(result), json!({"exited": true, "exit_code": code, "error": error}))?;
    }
    Ok(())
}

async fn a_step_that_a_signal_ends_has_exit_code_minus_1(agent: &Agent) -> Expected {
    for signal in ["TERM", "KILL", "SEGV"] {
        let result = agent.run(&agent.script(&format!("kill -{signal} $$; sleep 5"))).await?;
        same("the exit code", &result["exit_code"], &json!(-1))?;
        same("exited", &result["exited"], &json!(true))?;
        same("oom_killed", result.get("oom_killed"), None::<&Value>)?;
        holds(format!("the result is {result}"), result["error"].as_str().is_some_and(|text| !text.is_empty()))?;
    }
    Ok(())
}

/// The result of something that the agent, and not the step's command, ended.
fn is_255(result: &Value, error: &str) -> Expected {
    same("exited", &result["exited"], &json!(true))?;
    same("the exit code", &result["exit_code"], &json!(255))?;
    let text = result["error"].as_str().unwrap_or_default();
    holds(format!("the error is {text:?} and should speak of {error:?}"), text.contains(error))
}

async fn a_step_that_cannot_start_has_exit_code_255(agent: &Agent) -> Expected {
    let mut step = agent.script("");
    step["run"] = json!({"entrypoint": ["no-such-program"], "commands": ["x"]});
    is_255(&agent.run(&step).await?, "executable file not found in $PATH")?;
    let step = with(agent.script("true"), json!({"working_dir": "/no/such/dir"}));
    is_255(&agent.run(&step).await?, "/no/such/dir")?;
    same("what was made of it", agent.sh("test ! -e /no/such && echo none").await?.trim(), "none")
}

async fn a_step_whose_time_is_up_has_exit_code_255(agent: &Agent) -> Expected {
    let step = with(
        agent.script("sleep 1000"),
        json!({"timeout": 1, "process_config": {"kill_process_on_context_cancel": true}}),
    );
    let result = agent.run(&step).await?;
    same("the exit code", &result["exit_code"], &json!(255))?;
    same("the error", &result["error"], &json!("context deadline exceeded"))
}

async fn a_step_without_an_entrypoint_says_so(agent: &Agent) -> Expected {
    for run in [json!({}), json!({"commands": ["true"]}), json!({"entrypoint": [], "commands": ["true"]}), json!(null)]
    {
        let step = with(agent.script(""), json!({ "run": run }));
        is_255(&agent.run(&step).await?, "step entrypoint cannot be empty")?;
    }
    Ok(())
}

async fn a_detached_step_is_answered_at_once_with_nothing(agent: &Agent) -> Expected {
    let (gate, mark) = (agent.path("gate"), agent.path("mark"));
    let step = with(agent.script(&format!("{}; touch {mark}", wait_for(&gate))), json!({"detach": true}));
    // Its gate is closed, so a poll that waited for it would not come back.
    same("the result", agent.run(&step).await?, json!({}))?;
    agent.sh(&format!("touch {gate}")).await?;
    agent.sh(&wait_for(&mark)).await?;
    same("whether it went on", agent.sh(&format!("ls {mark}")).await?.trim(), mark.as_str())
}

async fn a_poll_is_answered_when_the_step_ends_and_not_before(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&format!("{}; exit 5", wait_for(&gate)));
    agent.start(&step).await?;
    let id = step["id"].as_str().unwrap_or_default();
    let mut poll = std::pin::pin!(agent.poll(id));
    // Several other steps come and go meanwhile.
    let others = async {
        for _ in 0..3 {
            agent.sh("true").await?;
        }
        Expected::Ok(())
    };
    tokio::select! {
        early = &mut poll => return breach(format!("the poll was answered while the step ran: {:?}", early?)),
        others = others => others?,
    }
    agent.sh(&format!("touch {gate}")).await?;
    same("the exit code", &poll.await?["exit_code"], &json!(5))
}

async fn any_number_of_polls_get_the_same_result(agent: &Agent) -> Expected {
    const POLLS: usize = 20;
    let gate = agent.path("gate");
    let step = agent.script(&format!("{}; exit 6", wait_for(&gate)));
    agent.start(&step).await?;
    let id = step["id"].as_str().unwrap_or_default();
    let polls = futures::future::join_all((0..POLLS).map(|_| agent.poll(id)));
    let open = async { agent.sh(&format!("touch {gate}")).await };
    let (results, opened) = futures::join!(polls, open);
    opened?;
    for result in results {
        same("the exit code", &result?["exit_code"], &json!(6))?;
    }
    Ok(())
}

async fn a_poll_after_the_end_is_answered_too(agent: &Agent) -> Expected {
    let step = agent.script("exit 7");
    let first = agent.run(&step).await?;
    for _ in 0..3 {
        same("the result", &agent.poll(step["id"].as_str().unwrap_or_default()).await?, &first)?;
    }
    Ok(())
}
