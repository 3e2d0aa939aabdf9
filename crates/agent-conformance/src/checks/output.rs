//! `/stream_output`: sections 1 and 6.6.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, wait_for};
use crate::expect::{Expected, breach, holds, same};

checks! {
    "1 stream_output":
        output_comes_while_the_step_runs,
        output_begins_at_the_offset,
        output_beyond_the_end_is_answered_with_500,
        output_may_be_asked_for_before_the_step_starts,
        output_of_a_step_that_does_not_start_is_answered_with_400,
        output_ends_with_the_step,
        output_is_bytes,
        both_streams_come_as_one_in_their_order,
        any_number_of_readers_get_all_of_it,
        a_reader_that_hangs_up_harms_nothing,
        large_output_comes_whole;
}

async fn output_comes_while_the_step_runs(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&format!("echo early; {}; echo late", wait_for(&gate)));
    let id = step["id"].as_str().unwrap_or_default();
    agent.start(&step).await?;
    same("the first output", agent.first_output(id).await?.as_str(), "early\n")?;
    agent.sh(&format!("touch {gate}")).await?;
    same("all output", agent.output(id).await?.as_str(), "early\nlate\n")
}

async fn output_begins_at_the_offset(agent: &Agent) -> Expected {
    let step = agent.script("printf 0123456789");
    agent.run(&step).await?;
    for (offset, expected) in [(0, "0123456789"), (3, "3456789"), (9, "9"), (10, "")] {
        let answer = agent.post("/stream_output", &json!({"id": step["id"], "offset": offset})).await?;
        same(&format!("the output from {offset}"), answer.has_status(200)?.text().as_str(), expected)?;
    }
    let answer = agent.post("/stream_output", &json!({"id": step["id"]})).await?;
    same("the output without an offset", answer.has_status(200)?.text().as_str(), "0123456789")
}

async fn output_beyond_the_end_is_answered_with_500(agent: &Agent) -> Expected {
    let step = agent.script("printf 0123");
    agent.run(&step).await?;
    agent.post("/stream_output", &json!({"id": step["id"], "offset": 5})).await?.refusal(500).map(drop)
}

async fn output_may_be_asked_for_before_the_step_starts(agent: &Agent) -> Expected {
    let step = agent.script("echo here");
    let id = step["id"].as_str().unwrap_or_default();
    let early = agent.output(id);
    let start = async {
        // Something that is asked for after the output is answered before it.
        agent.get("/healthz").await?.has_status(200)?;
        agent.start(&step).await
    };
    let (output, started) = futures::join!(early, start);
    started?;
    same("its output", output?.as_str(), "here\n")
}

async fn output_of_a_step_that_does_not_start_is_answered_with_400(agent: &Agent) -> Expected {
    let began = std::time::Instant::now();
    let text = agent.post("/stream_output", &json!({"id": agent.id()})).await?.refusal(400)?;
    same("the message", text.as_str(), "Step has not started")?;
    let waited = began.elapsed().as_secs_f64();
    holds(format!("it was waited for {waited:.1} s, which should be 5 s"), (4.0..20.0).contains(&waited))
}

async fn output_ends_with_the_step(agent: &Agent) -> Expected {
    let step = agent.script("for i in 1 2 3; do echo $i; sleep 0.05; done");
    agent.start(&step).await?;
    let id = step["id"].as_str().unwrap_or_default();
    same("its output", agent.output(id).await?.as_str(), "1\n2\n3\n")?;
    same("its end", agent.poll(id).await?.get("exit_code"), None::<&Value>)
}

async fn output_is_bytes(agent: &Agent) -> Expected {
    let step = agent.script("printf '\\000\\377\\200a\\r\\n'");
    agent.run(&step).await?;
    let answer = agent.post("/stream_output", &json!({"id": step["id"]})).await?;
    same("its output", answer.has_status(200)?.body.to_vec(), b"\0\xff\x80a\r\n".to_vec())
}

async fn both_streams_come_as_one_in_their_order(agent: &Agent) -> Expected {
    let output = agent.sh("echo 1; echo 2 >&2; echo 3; echo 4 >&2").await?;
    same("its output", output.as_str(), "1\n2\n3\n4\n")
}

async fn any_number_of_readers_get_all_of_it(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&format!("echo 1; {}; echo 2", wait_for(&gate)));
    let id = step["id"].as_str().unwrap_or_default();
    agent.start(&step).await?;
    let readers = futures::future::join_all((0..10).map(|_| agent.output(id)));
    let open = async { agent.sh(&format!("touch {gate}")).await };
    let (outputs, opened) = futures::join!(readers, open);
    opened?;
    for output in outputs {
        same("its output", output?.as_str(), "1\n2\n")?;
    }
    Ok(())
}

async fn a_reader_that_hangs_up_harms_nothing(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&format!("seq 1 20000; {}; echo end", wait_for(&gate)));
    let id = step["id"].as_str().unwrap_or_default();
    agent.start(&step).await?;
    for _ in 0..3 {
        let first = agent.first_output(id).await?;
        holds(format!("the first output is {first:?}"), first.starts_with("1\n2\n3\n"))?;
    }
    agent.sh(&format!("touch {gate}")).await?;
    agent.poll(id).await?;
    let output = agent.output(id).await?;
    holds("the output is not whole", output.ends_with("19999\n20000\nend\n"))
}

async fn large_output_comes_whole(agent: &Agent) -> Expected {
    const BYTES: usize = 10_000_000;
    let step = agent.script(&format!("yes 0123456789abcde | head -c {BYTES}"));
    agent.start(&step).await?;
    let output = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    same("its size", output.len(), BYTES)?;
    let wrong = output.as_bytes().chunks(16).position(|line| !b"0123456789abcde\n".starts_with(line));
    match wrong {
        None => Ok(()),
        Some(line) => breach(format!("line {line} of it is not what the step printed")),
    }
}
