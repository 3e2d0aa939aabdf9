//! Section 4: how a step runs on the host.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, wait_for, with};
use crate::expect::{Expected, Finding, holds, same};

checks! {
    "4":
        entrypoint_and_commands_are_one_command_line,
        no_shell_is_added,
        a_program_is_found_on_the_path,
        a_step_runs_in_its_working_directory,
        a_working_directory_that_is_missing_is_not_made,
        a_step_reads_nothing,
        a_numeric_user_is_who_the_step_runs_as,
        a_user_by_name_is_that_user_or_is_ignored,
        a_timeout_that_kills_ends_the_group,
        a_timeout_may_ask_before_it_kills,
        a_step_that_is_done_in_time_is_not_touched_by_its_timeout,
        a_step_with_a_log_of_its_own_begins_with_its_command;
}

/// Runs this command line, and returns what it prints.
async fn command(agent: &Agent, entrypoint: Value, commands: Value) -> Expected<String> {
    let mut step = agent.script("");
    step["run"] = json!({ "entrypoint": entrypoint, "commands": commands });
    let result = agent.run(&step).await?;
    same("the exit code", result.get("exit_code"), None::<&Value>)?;
    agent.output(step["id"].as_str().unwrap_or_default()).await
}

async fn entrypoint_and_commands_are_one_command_line(agent: &Agent) -> Expected {
    let printed = command(agent, json!(["printf", "%s|"]), json!(["a b", "", "c'd", "$HOME"])).await?;
    same("what is printed", printed.as_str(), "a b||c'd|$HOME|")?;
    let printed = command(agent, json!(["sh", "-c", "echo $0 $1 $2", "zero"]), json!(["one", "two"])).await?;
    same("what is printed", printed.as_str(), "zero one two\n")?;
    let printed = command(agent, json!(["echo", "alone"]), json!([])).await?;
    same("what is printed", printed.as_str(), "alone\n")
}

async fn no_shell_is_added(agent: &Agent) -> Expected {
    let printed = command(agent, json!(["echo"]), json!(["a", "&&", "echo", "b", ">", "/dev/null"])).await?;
    same("what is printed", printed.as_str(), "a && echo b > /dev/null\n")
}

async fn a_program_is_found_on_the_path(agent: &Agent) -> Expected {
    let path = agent.sh("command -v env").await?;
    for program in ["env", path.trim()] {
        let printed = command(agent, json!([program]), json!(["printf", "found"])).await?;
        same(&format!("what {program} prints"), printed.as_str(), "found")?;
    }
    Ok(())
}

async fn a_step_runs_in_its_working_directory(agent: &Agent) -> Expected {
    let dir = agent.path("with space");
    agent.sh(&format!("mkdir '{dir}'; echo here > '{dir}/file'")).await?;
    let step = with(agent.script("cat file; pwd -P"), json!({ "working_dir": dir }));
    agent.run(&step).await?;
    let real = agent.sh(&format!("cd '{dir}'; pwd -P")).await?;
    let output = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    same("what it sees", output, format!("here\n{real}"))
}

async fn a_working_directory_that_is_missing_is_not_made(agent: &Agent) -> Expected {
    let dir = agent.path("missing");
    let result = agent.run(&with(agent.script("true"), json!({ "working_dir": dir }))).await?;
    same("the exit code", &result["exit_code"], &json!(255))?;
    same("what is there", agent.sh(&format!("test -e {dir} || echo nothing")).await?.trim(), "nothing")
}

async fn a_step_reads_nothing(agent: &Agent) -> Expected {
    same("what it reads", agent.sh("cat; echo end").await?.as_str(), "end\n")
}

/// Only root can run steps as others.
async fn root(agent: &Agent) -> Expected {
    match agent.sh("id -u").await?.trim() {
        "0" => Ok(()),
        uid => Err(Finding::NotApplicable(format!("the agent runs as user {uid}, and only root can become another"))),
    }
}

async fn a_numeric_user_is_who_the_step_runs_as(agent: &Agent) -> Expected {
    let own = agent.sh("id -u").await?.trim().to_owned();
    let users = if root(agent).await.is_ok() { vec!["0", "1", "65534", "54321"] } else { vec![own.as_str()] };
    for uid in users {
        let step = with(agent.script("id -u; id -G"), json!({ "user": uid }));
        agent.run(&step).await?;
        let output = agent.output(step["id"].as_str().unwrap_or_default()).await?;
        same(&format!("the user of a step for {uid}"), output.lines().next(), Some(uid))?;
    }
    Ok(())
}

/// The original takes numbers alone, and runs a step for any name as its own user.
async fn a_user_by_name_is_that_user_or_is_ignored(agent: &Agent) -> Expected {
    root(agent).await?;
    let (own, named) = (agent.sh("id -u").await?, agent.sh("id -u nobody 2>/dev/null || id -u").await?);
    let step = with(agent.script("id -u"), json!({"user": "nobody"}));
    agent.run(&step).await?;
    let is = agent.output(step["id"].as_str().unwrap_or_default()).await?;
    holds(format!("the user of a step for nobody is {is:?}"), is == named || is == own)
}

/// The step's processes that live, of those whose numbers are in the file.
async fn living(agent: &Agent, pids: &str) -> Expected<String> {
    agent
        .sh(&format!(
            "for pid in $(cat {pids}); do state=$(sed 's/.*) //' /proc/$pid/stat 2>/dev/null | cut -c1); \
             case \"$state\" in ''|Z) ;; *) echo $pid ;; esac; done"
        ))
        .await
}

async fn a_timeout_that_kills_ends_the_group(agent: &Agent) -> Expected {
    let pids = agent.path("pids");
    let script = format!("echo $$ > {pids}; sleep 1000 & echo $! >> {pids}; trap '' TERM; while :; do sleep 0.1; done");
    let kills = json!({"timeout": 1, "process_config": {"kill_process_on_context_cancel": true}});
    let result = agent.run(&with(agent.script(&script), kills)).await?;
    same("the exit code", &result["exit_code"], &json!(255))?;
    same("the error", &result["error"], &json!("context deadline exceeded"))?;
    // The original kills after it has answered.
    let mut left = String::new();
    for _ in 0..200 {
        left = living(agent, &pids).await?;
        if left.is_empty() {
            return Ok(());
        }
    }
    same("the processes that live", left.as_str(), "")
}

async fn a_timeout_may_ask_before_it_kills(agent: &Agent) -> Expected {
    let told = agent.path("told");
    let script = format!("trap 'echo asked > {told}; exit 0' TERM; while :; do sleep 0.1; done");
    let asks = json!({"timeout": 1, "process_config": {
        "kill_process_on_context_cancel": true, "kill_process_max_sigterm_attempts": 5,
        "kill_process_retry_interval_secs": 1,
    }});
    same("the exit code", &agent.run(&with(agent.script(&script), asks)).await?["exit_code"], &json!(255))?;
    agent.sh(&wait_for(&told)).await?;
    same("what the step was told", agent.sh(&format!("cat {told}")).await?.as_str(), "asked\n")
}

async fn a_step_that_is_done_in_time_is_not_touched_by_its_timeout(agent: &Agent) -> Expected {
    for timeout in [0, 60, 86_400, 315_360_000] {
        let step = with(agent.script("sleep 0.1; exit 3"), json!({ "timeout": timeout }));
        same(
            &format!("the exit code with a timeout of {timeout} s"),
            &agent.run(&step).await?["exit_code"],
            &json!(3),
        )?;
    }
    Ok(())
}

/// Its command goes to the log service. An agent that streams the output of such a step as well shows it there.
async fn a_step_with_a_log_of_its_own_begins_with_its_command(agent: &Agent) -> Expected {
    let step = agent.logged("echo one\necho two");
    agent.run(&step).await?;
    let answer = agent.post("/stream_output", &json!({"id": step["id"], "offset": 0})).await?;
    if answer.status == 400 {
        answer.refusal(400)?;
        return Err(Finding::NotApplicable(
            "the agent shows the output of such a step to the log service alone".to_owned(),
        ));
    }
    let bold = |line: &str| format!("\u{1b}[33;1m{line}\u{1b}[0m\n");
    let banner = ["Executing the following command(s):", "echo one", "echo two"].map(bold).concat();
    same("the output", answer.has_status(200)?.text(), format!("{banner}one\ntwo\n"))
}
