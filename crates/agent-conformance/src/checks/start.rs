//! Section 1.4: `/start_step` and every field of it.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, wait_for, with};
use crate::expect::{Expected, same};

checks! {
    "1.4":
        a_start_without_an_id_is_refused,
        a_start_is_answered_while_the_step_runs,
        a_step_is_started_once_for_each_id,
        a_start_that_is_repeated_after_the_end_changes_nothing,
        steps_run_side_by_side,
        every_field_of_a_start_is_taken,
        every_kind_of_a_run_step_is_taken,
        a_kind_that_nobody_knows_is_a_run_step,
        a_run_tests_step_runs_its_own_commands,
        every_pull_policy_is_taken,
        every_mode_of_a_token_is_taken,
        every_kind_of_a_report_is_taken,
        the_socket_may_be_mounted_or_not_or_null,
        files_of_a_step_are_made_before_it_runs;
}

async fn a_start_without_an_id_is_refused(agent: &Agent) -> Expected {
    for body in [json!({}), json!({"id": ""}), json!({"id": null, "run": {"entrypoint": ["true"]}})] {
        let text = agent.post("/start_step", &body).await?.refusal(400)?;
        same("the message", text.as_str(), "ID needs to be set")?;
    }
    Ok(())
}

async fn a_start_is_answered_while_the_step_runs(agent: &Agent) -> Expected {
    let gate = agent.path("gate");
    let step = agent.script(&format!("{}; echo opened", wait_for(&gate)));
    agent.start(&step).await?;
    agent.sh(&format!("touch {gate}")).await?;
    let id = step["id"].as_str().unwrap_or_default();
    agent.poll(id).await?;
    same("its output", agent.output(id).await?.as_str(), "opened\n")
}

async fn a_step_is_started_once_for_each_id(agent: &Agent) -> Expected {
    let count = agent.path("count");
    let step = agent.script(&format!("echo x >> {count}"));
    let starts = (0..10).map(|_| agent.start(&step));
    futures::future::try_join_all(starts).await?;
    agent.poll(step["id"].as_str().unwrap_or_default()).await?;
    same("how often it ran", agent.sh(&format!("cat {count}")).await?.as_str(), "x\n")
}

async fn a_start_that_is_repeated_after_the_end_changes_nothing(agent: &Agent) -> Expected {
    let count = agent.path("count");
    let step = agent.script(&format!("echo x >> {count}; exit 4"));
    for script in ["", "echo y >> "] {
        let again = with(step.clone(), json!({"name": script}));
        same("its exit code", &agent.run(&again).await?["exit_code"], &json!(4))?;
    }
    same("how often it ran", agent.sh(&format!("cat {count}")).await?.as_str(), "x\n")
}

async fn steps_run_side_by_side(agent: &Agent) -> Expected {
    let (a, b) = (agent.path("a"), agent.path("b"));
    // Each waits for the other.
    let first = agent.script(&format!("touch {a}; {}; echo met", wait_for(&b)));
    let second = agent.script(&format!("touch {b}; {}; echo met", wait_for(&a)));
    agent.start(&first).await?;
    agent.start(&second).await?;
    for step in [first, second] {
        let id = step["id"].as_str().unwrap_or_default();
        agent.poll(id).await?;
        same("its output", agent.output(id).await?.as_str(), "met\n")?;
    }
    Ok(())
}

/// Every field there is, in the values of a step on the host.
fn whole(agent: &Agent, script: &str) -> Value {
    let step = json!({
        "id": agent.id(), "name": "a name", "stage_runtime_id": "", "kind": "Run", "detach": false, "timeout": 600,
        "soft_stop": true, "log_key": "key", "log_drone": true, "secrets": ["open-sesame"],
        "environment": {"A": "1"}, "working_dir": "/", "user": "",
        "files": [{"path": format!("{}/f", agent.path("whole")), "mode": 420, "data": "d", "is_dir": false}],
        "run": {
            "commands": [script], "entrypoint": ["sh", "-c"],
            "binary": {"name": "", "version": "", "source": [], "args": [], "compressed": false, "target": ""},
        },
        "output_vars": [], "outputs": [], "output_var_file": "", "secret_var_file": "", "scratch_dir": "/tmp",
        "delete_temp_step_files": true, "process_config": {
            "wait_on_process_group": false, "kill_process_on_context_cancel": true,
            "kill_process_max_sigterm_attempts": 1, "kill_process_retry_interval_secs": 1,
            "kill_process_use_explicit_tree_strategy": false,
        },
    });
    with(with(step, services()), container())
}

/// What a step says to other services.
fn services() -> Value {
    json!({
        "run_test": {
            "args": "", "pre_command": "", "post_command": "", "build_tool": "", "language": "", "packages": "",
            "test_annotations": "", "test_split_strategy": "", "test_globs": "", "entrypoint": [],
            "run_only_selected_tests": false, "parallelize_tests": false,
        },
        "run_test_v2": {"commands": [], "entrypoint": [], "test_globs": [], "intelligence_mode": false},
        "test_report": {"kind": "Junit", "junit": {"paths": ["no-such-report-*.xml"]}},
        "log_config": {"skip_opening_stream": true, "skip_closing_stream": true},
        "ti_config": {"url": "", "token": "", "repo": "", "sha": ""},
        "mtls_config": {"client_cert": "", "client_cert_key": "", "client_cert_dir_path": ""},
        "annotations_config": {"token": "", "base_url": ""},
        "egress_policy": {"username": "", "password": "", "proxy_url": "", "no_proxy": ""},
        "step_status": {
            "endpoint": "", "token": "", "account_id": "", "delegate_id": "", "task_id": "", "runner_response": false,
            "task_status_v2": false,
        },
        "workload_identities": [], "wi_token_generate_url": "",
    })
}

/// What says something where an image is named, which it is not here.
fn container() -> Value {
    json!({
        "auth": {"address": "", "username": "", "password": ""}, "mount_docker_socket": false,
        "cpu_period": 100_000, "cpu_quota": 50_000, "cpu_shares": 512, "cpu_set": ["0"],
        "devices": [{"name": "d", "path": "/dev/null"}], "dns": ["192.0.2.1"], "dns_search": ["example"],
        "extra_hosts": ["h:192.0.2.2"], "image": "", "labels": {"l": "1"}, "memswap_limit": 1_000_000_000,
        "mem_limit": 500_000_000, "network": "", "networks": [], "network_aliases": ["alias"],
        "port_bindings": {"8080": "80/tcp"}, "privileged": false, "pull": "default", "shm_size": 65_536,
        "volumes": [{"name": "no-such-volume", "path": "/x"}], "ignore_stderr": false, "ignore_stdout": false,
    })
}

async fn every_field_of_a_start_is_taken(agent: &Agent) -> Expected {
    let step = whole(agent, "echo $A; pwd");
    same("its exit code", agent.run(&step).await?.get("exit_code"), None::<&Value>)?;
    same("its output", agent.output(step["id"].as_str().unwrap_or_default()).await?.as_str(), "1\n/\n")
}

/// Runs a step with these fields, which must not change how it ends.
async fn exits_with_3(agent: &Agent, fields: Value) -> Expected {
    let step = with(agent.script("exit 3"), fields.clone());
    same(&format!("the exit code with {fields}"), &agent.run(&step).await?["exit_code"], &json!(3))
}

async fn every_kind_of_a_run_step_is_taken(agent: &Agent) -> Expected {
    for kind in [json!("Run"), json!(""), json!(null)] {
        exits_with_3(agent, json!({ "kind": kind })).await?;
    }
    Ok(())
}

async fn a_kind_that_nobody_knows_is_a_run_step(agent: &Agent) -> Expected {
    for kind in ["run", "RunTests", "nonsense"] {
        exits_with_3(agent, json!({ "kind": kind })).await?;
    }
    Ok(())
}

async fn a_run_tests_step_runs_its_own_commands(agent: &Agent) -> Expected {
    let own = json!({"entrypoint": ["sh", "-c"], "commands": ["exit 3"], "intelligence_mode": false});
    let other = json!({"entrypoint": ["sh", "-c"], "commands": ["exit 9"]});
    exits_with_3(agent, json!({"kind": "RunTestsV2", "run_test_v2": own, "run": other})).await
}

async fn every_pull_policy_is_taken(agent: &Agent) -> Expected {
    for pull in ["default", "", "Always", "IfNotPresent", "Never", "nonsense"] {
        exits_with_3(agent, json!({ "pull": pull })).await?;
    }
    Ok(())
}

async fn every_mode_of_a_token_is_taken(agent: &Agent) -> Expected {
    for mode in ["STANDARD", "CLIENT_ASSERTION"] {
        let identity = json!({"name": "n", "workload_token": "t", "audience": "a", "token_mode": mode});
        exits_with_3(agent, json!({"workload_identities": [identity], "wi_token_generate_url": "http://127.0.0.1:9/"}))
            .await?;
    }
    Ok(())
}

async fn every_kind_of_a_report_is_taken(agent: &Agent) -> Expected {
    for kind in ["Junit", ""] {
        exits_with_3(agent, json!({"test_report": {"kind": kind, "junit": {"paths": ["no-such-*.xml"]}}})).await?;
    }
    Ok(())
}

async fn the_socket_may_be_mounted_or_not_or_null(agent: &Agent) -> Expected {
    for mount in [json!(null), json!(true), json!(false)] {
        exits_with_3(agent, json!({ "mount_docker_socket": mount })).await?;
    }
    Ok(())
}

async fn files_of_a_step_are_made_before_it_runs(agent: &Agent) -> Expected {
    let dir = agent.path("files");
    let files = json!([
        {"path": format!("{dir}/bin/run"), "mode": 493, "data": "#!/bin/sh\necho ran $1\n"},
        {"path": format!("{dir}/out"), "mode": 511, "is_dir": true},
    ]);
    let mut step = with(agent.script(""), json!({ "files": files }));
    step["run"] = json!({"entrypoint": [format!("{dir}/bin/run")], "commands": ["it"]});
    agent.run(&step).await?;
    same("its output", agent.output(step["id"].as_str().unwrap_or_default()).await?.as_str(), "ran it\n")?;
    same("the directory's permissions", agent.sh(&format!("stat -c %a {dir}/out")).await?.trim(), "777")
}
