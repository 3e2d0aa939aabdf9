//! Section 1.1 and 2: `/setup`, and what its parts mean.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, with};
use crate::expect::{Expected, Finding, breach, same};

checks! {
    "1.1":
        every_field_of_a_setup_is_taken,
        a_setup_may_be_repeated,
        a_later_setup_renews_the_environment,
        the_environment_of_the_setup_reaches_every_step,
        the_egress_policy_configures_the_container_engine;
    "2":
        files_of_a_setup_are_made_with_their_directories,
        a_mode_is_a_decimal_number,
        a_file_that_exists_is_overwritten,
        a_host_volume_is_made_and_open_to_all,
        a_host_volume_that_is_to_go_goes_with_the_stage;
}

/// A setup with all fields there are, none of which changes a machine without a container engine.
fn whole(dir: &str) -> Value {
    json!({
        "envs": {"FROM_SETUP": "yes"},
        "network": {"id": "", "labels": {"a": "b"}, "options": {"c": "d"}},
        "volumes": [
            {"host": {"id": "v1", "name": "v1", "path": dir, "create": true, "remove": false, "labels": {}, "read_only": false}},
        ],
        "secrets": ["sesame-street"],
        "log_config": {
            "account_id": "acc", "indirect_upload": false, "url": "", "token": "t", "trim_new_line_suffix": true,
            "sanitize_config": {"sanitize_patterns_content": ""}, "skip_opening_stream": true,
            "skip_closing_stream": true, "dual_logging_enabled": false,
        },
        "ti_config": {
            "url": "", "token": "t", "account_id": "a", "org_id": "o", "project_id": "p", "pipeline_id": "pl",
            "stage_id": "s", "build_id": "1", "repo": "r", "sha": "c0ffee", "source_branch": "x", "target_branch": "y",
            "commit_branch": "x", "commit_link": "https://example/c0ffee",
        },
        "files": [{"path": format!("{dir}/made"), "mode": 420, "data": "1", "is_dir": false}],
        "mount_docker_socket": false,
        "tty": false,
        "mtls_config": {"client_cert": "", "client_cert_key": "", "client_cert_dir_path": ""},
        "vm_image_config": {
            "image_name": "i", "image_version": "1", "auth": {"address": "a", "username": "u", "password": "p"},
            "username": "u", "password": "p",
        },
        "timeout": 600,
        "le_log_key": "",
        "memory_metrics_log_key": "",
        "egress_policy": null,
    })
}

async fn every_field_of_a_setup_is_taken(agent: &Agent) -> Expected {
    let dir = agent.path("volume");
    agent.post("/setup", &whole(&dir)).await?.is_empty()?;
    let found = agent.sh(&format!("echo $FROM_SETUP; cat {dir}/made")).await?;
    same("what it left", found.as_str(), "yes\n1")
}

async fn a_setup_may_be_repeated(agent: &Agent) -> Expected {
    let setup = whole(&agent.path("volume"));
    for _ in 0..3 {
        agent.post("/setup", &setup).await?.is_empty()?;
    }
    Ok(())
}

async fn a_later_setup_renews_the_environment(agent: &Agent) -> Expected {
    for value in ["first", "second"] {
        agent.post("/setup", &json!({"envs": {"RENEWED": value}})).await?.is_empty()?;
        same("the variable", agent.sh("echo $RENEWED").await?.trim(), value)?;
    }
    agent.post("/setup", &json!({})).await?.is_empty()?;
    same("the variable", agent.sh("echo ${RENEWED-none}").await?.trim(), "none")
}

async fn the_environment_of_the_setup_reaches_every_step(agent: &Agent) -> Expected {
    agent.post("/setup", &json!({"envs": {"SHARED": "a b $c 'd' \"e\"", "EMPTY": ""}})).await?.is_empty()?;
    for _ in 0..2 {
        let seen = agent.sh("printf '%s|%s' \"$SHARED\" \"${EMPTY-unset}\"").await?;
        same("what a step sees", seen.as_str(), "a b $c 'd' \"e\"|unset")?;
    }
    agent.set_up().await
}

/// Prints the engine's proxy and the hosts that are reached without it, of the engine that systemd starts.
const PROXY_OF_ENGINE: &str = r#"
[ -z "$DOCKER_HOST" ] || [ "$DOCKER_HOST" = unix:///var/run/docker.sock ] || { echo none; exit; }
systemctl is-active --quiet docker.service 2>/dev/null && command -v docker >/dev/null || { echo none; exit; }
docker info --format '{{.HTTPSProxy}} {{.NoProxy}}'
"#;

/// Takes the proxy away again: it leads nowhere.
const WITHOUT_PROXY: &str = "rm -f /etc/systemd/system/docker.service.d/http-proxy.* && systemctl daemon-reload && systemctl restart docker.service";

async fn the_egress_policy_configures_the_container_engine(agent: &Agent) -> Expected {
    agent.set_up().await?;
    if agent.sh(PROXY_OF_ENGINE).await?.trim() == "none" {
        return Err(Finding::NotApplicable("its container engine is no docker.service that systemd runs".to_owned()));
    }
    let policy = json!({
        "proxy_url": "http://proxy.invalid:3128", "username": "ann", "password": "p@ss", "no_proxy": "localhost,10.0.0.0/8",
    });
    let setup = json!({"network": {"id": ""}, "mount_docker_socket": true, "egress_policy": policy});
    agent.post("/setup", &setup).await?.is_empty()?;
    let found = agent.sh(PROXY_OF_ENGINE).await?;
    agent.sh(WITHOUT_PROXY).await?;
    agent.set_up().await?;
    // The engine shows no credentials.
    match found.trim().split_once(' ') {
        Some((proxy, without)) if proxy.starts_with("http://") && proxy.ends_with("@proxy.invalid:3128") => {
            same("what is reached without the proxy", without, "localhost,10.0.0.0/8")
        }
        Some(_) | None => breach(format!("the engine's proxy is {found:?} and should be that of the policy")),
    }
}

async fn files_of_a_setup_are_made_with_their_directories(agent: &Agent) -> Expected {
    let dir = agent.path("files");
    let files = json!([
        {"path": format!("{dir}/a/b/text"), "mode": 420, "data": "line 1\nline 2 é\n"},
        {"path": format!("{dir}/a/dir"), "mode": 493, "is_dir": true},
        {"path": format!("{dir}/empty"), "mode": 384},
    ]);
    agent.post("/setup", &json!({ "files": files })).await?.is_empty()?;
    let found = agent.sh(&format!("cat {dir}/a/b/text; test -d {dir}/a/dir; stat -c %s {dir}/empty")).await?;
    same("what is there", found.as_str(), "line 1\nline 2 é\n0\n")?;
    agent.set_up().await
}

async fn a_mode_is_a_decimal_number(agent: &Agent) -> Expected {
    let dir = agent.path("modes");
    let modes = [(511, "777"), (493, "755"), (420, "644"), (384, "600"), (256, "400"), (448, "700")];
    let files: Vec<Value> =
        modes.iter().map(|(mode, name)| json!({"path": format!("{dir}/{name}"), "mode": mode, "data": "x"})).collect();
    agent.post("/setup", &json!({ "files": files })).await?.is_empty()?;
    for (mode, name) in modes {
        let found = agent.sh(&format!("stat -c %a {dir}/{name}")).await?;
        same(&format!("the permissions that {mode} gives"), found.trim(), name)?;
    }
    agent.set_up().await
}

async fn a_file_that_exists_is_overwritten(agent: &Agent) -> Expected {
    let path = agent.path("again");
    for (data, mode) in [("a long first content", 292), ("short", 420)] {
        let file = json!({"path": path, "mode": mode, "data": data});
        agent.run(&with(agent.script("true"), json!({ "files": [file] }))).await?;
        same("its content", agent.sh(&format!("cat {path}")).await?.as_str(), data)?;
    }
    same("its permissions", agent.sh(&format!("stat -c %a {path}")).await?.trim(), "644")
}

async fn a_host_volume_is_made_and_open_to_all(agent: &Agent) -> Expected {
    let path = agent.path("deep/er/volume");
    // It is made whatever `create` says.
    let volume = json!({"host": {"id": "v", "name": "v", "path": path, "create": false}});
    agent.post("/setup", &json!({ "volumes": [volume] })).await?.is_empty()?;
    same("its permissions", agent.sh(&format!("stat -c %a {path}")).await?.trim(), "777")?;
    agent.set_up().await
}

async fn a_host_volume_that_is_to_go_goes_with_the_stage(agent: &Agent) -> Expected {
    let (going, staying) = (agent.path("going"), agent.path("staying"));
    let volume = |path: &str, remove| json!({"host": {"id": path, "name": path, "path": path, "remove": remove}});
    let volumes = json!([volume(&going, true), volume(&staying, false)]);
    agent.post("/setup", &json!({ "volumes": volumes })).await?.is_empty()?;
    agent.sh(&format!("touch {going}/x {staying}/x")).await?;
    agent.post("/destroy", &json!({})).await?.has_status(200)?;
    agent.set_up().await?;
    let left = agent.sh(&format!("ls -d {going} {staying} 2>/dev/null; :")).await?;
    same("what is left", left.trim(), staying.as_str())
}
