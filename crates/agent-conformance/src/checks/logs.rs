//! Section 6, and what else an agent sends to services: the checks serve them, so the agent must reach the machine that
//! they run on.

use serde_json::{Value, json};

use super::checks;
use crate::agent::{Agent, with};
use crate::expect::{Expected, Finding, breach, holds, same};
use crate::platform::{ACCOUNT, Log, Platform, TOKEN};

checks! {
    "6.2":
        lines_are_sent_while_a_step_runs,
        a_log_is_opened_and_closed_once,
        an_upload_goes_to_the_signed_link,
        an_upload_may_go_through_the_service,
        a_stream_that_others_opened_is_stored_by_the_service,
        a_stream_that_others_go_on_with_is_left_open;
    "6.3":
        lines_are_masked_cut_and_uploaded,
        ends_of_lines_are_left_out_on_demand,
        of_a_large_log_the_end_is_uploaded,
        without_a_service_a_log_is_a_file;
    "6.4":
        patterns_of_the_setup_are_hidden_in_lines;
    "6":
        a_later_setup_has_its_own_log_service;
    "1.1":
        memory_metrics_are_streamed_to_their_key,
        the_certificate_for_other_services_is_stored;
    "1.6":
        a_workload_token_is_minted_over_https_and_the_socket,
        a_workload_token_is_not_minted_for_a_handle_that_nobody_knows;
    "4 outputs":
        annotations_are_posted;
}

/// The configuration of logs that go to these services.
fn config(platform: &Platform) -> Value {
    json!({"url": platform.logs(), "account_id": ACCOUNT, "token": TOKEN, "indirect_upload": true})
}

/// Services, with a stage whose logs go there.
async fn served(agent: &Agent, more: Value) -> Expected<Platform> {
    let platform = agent.platform().await?;
    let setup = json!({
        "network": {"id": ""}, "mount_docker_socket": false, "secrets": ["sesame-street"],
        "log_config": with(config(&platform), more),
    });
    agent.post("/setup", &setup).await?.has_status(200)?;
    Ok(platform)
}

/// A step whose log has this key.
fn keyed(agent: &Agent, key: &str, script: &str) -> Value {
    with(agent.logged(script), json!({ "log_key": key }))
}

/// Waits until that holds of a log, and that no request was wrong.
async fn log(platform: &Platform, key: &str, what: &str, is: impl Fn(&Log) -> bool) -> Expected<Log> {
    for _ in 0..600 {
        // A copy is made of the one that is wanted alone: they may be large.
        if let Some(log) = platform.see(|record| record.logs.get(key).filter(|log| is(log)).cloned()) {
            let faults = platform.faults();
            return if faults.is_empty() {
                Ok(log)
            } else {
                breach(format!("requests to services are wrong: {faults:?}"))
            };
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (log, faults) = (platform.log(key), platform.faults());
    let seen =
        format!("opened {}, {} lines, {} uploads, closed {:?}", log.opened, log.lines.len(), log.uploads, log.closed);
    breach(format!(
        "a log {what} within 30 s: {seen}, wrong requests: {faults:?}; can the agent reach {}?",
        platform.address
    ))
}

async fn closed(platform: &Platform, key: &str) -> Expected<Log> {
    log(platform, key, "is not closed", |log| !log.closed.is_empty()).await
}

/// Lines without those that tell the command, or other things that agents say of their own.
fn printed(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("\u{1b}[33;1m") && !line.starts_with("[kiln:")).collect()
}

async fn lines_are_sent_while_a_step_runs(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    let gate = agent.path("gate");
    let step = keyed(agent, "live/1", &format!("echo first; {}; echo last", crate::agent::wait_for(&gate)));
    agent.start(&step).await?;
    let live = log(&platform, "live/1", "has no line", |log| printed(&log.text()) == "first\n").await;
    agent.sh(&format!("touch {gate}")).await?;
    agent.poll(step["id"].as_str().unwrap_or_default()).await?;
    live?;
    let log = closed(&platform, "live/1").await?;
    same("the lines", printed(&log.text()).as_str(), "first\nlast\n")?;
    holds("the numbers of its lines have a gap", log.is_without_gap())
}

async fn a_log_is_opened_and_closed_once(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    // What keys look like.
    let key = "accountId:a/orgId:o/projectId:p/pipelineId:x/runSequence:1/level0:pipeline/level1:stages-1";
    agent.run(&keyed(agent, key, "echo x")).await?;
    let log = closed(&platform, key).await?;
    same("how often it was opened", log.opened, 1)?;
    same("its closings with snapshots", log.closed, vec![false])
}

async fn an_upload_goes_to_the_signed_link(agent: &Agent) -> Expected {
    let platform = served(agent, json!({"indirect_upload": false})).await?;
    agent.run(&keyed(agent, "direct/1", "echo x; printf y")).await?;
    let log = log(&platform, "direct/1", "is not uploaded", |log| log.uploads > 0).await?;
    same("what was uploaded", printed(&log.blob_text()).as_str(), "x\ny")
}

async fn an_upload_may_go_through_the_service(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    agent.run(&keyed(agent, "indirect/1", "echo x; printf y")).await?;
    let log = log(&platform, "indirect/1", "is not uploaded", |log| log.uploads > 0).await?;
    same("what was uploaded", printed(&log.blob_text()).as_str(), "x\ny")
}

async fn a_stream_that_others_opened_is_stored_by_the_service(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    platform.see(|record| record.logs.entry("opened/1".to_owned()).or_default().is_open = true);
    let step = with(keyed(agent, "opened/1", "echo x"), json!({"log_config": {"skip_opening_stream": true}}));
    agent.run(&step).await?;
    let log = closed(&platform, "opened/1").await?;
    same("how often it was opened and uploaded", (log.opened, log.uploads), (0, 0))?;
    same("its closings with snapshots", &log.closed, &vec![true])?;
    same("the lines", printed(&log.text()).as_str(), "x\n")
}

async fn a_stream_that_others_go_on_with_is_left_open(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    let step = with(keyed(agent, "left/1", "echo x"), json!({"log_config": {"skip_closing_stream": true}}));
    agent.run(&step).await?;
    let log = log(&platform, "left/1", "has no line", |log| printed(&log.text()) == "x\n").await?;
    same("how often it was closed and uploaded", (log.closed.len(), log.uploads), (0, 0))
}

async fn lines_are_masked_cut_and_uploaded(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    let script = "echo secret sesame-street; head -c 100000 /dev/zero | tr '\\0' x; echo; echo next";
    agent.run(&keyed(agent, "cut/1", script)).await?;
    let log = closed(&platform, "cut/1").await?;
    let long = format!("{}... (log line truncated)\n", "x".repeat(71_680));
    let expect = format!("secret **************\n{long}next\n");
    for (what, text) in [("the lines", log.text()), ("the upload", log.blob_text())] {
        let text = printed(&text);
        holds(
            format!("{what} tell the secret, or are not cut as they should be: {} bytes", text.len()),
            text == expect,
        )?;
    }
    Ok(())
}

async fn ends_of_lines_are_left_out_on_demand(agent: &Agent) -> Expected {
    for (trim, expect) in [(false, vec!["a\n", "b\n"]), (true, vec!["a", "b"])] {
        let platform = served(agent, json!({"trim_new_line_suffix": trim})).await?;
        agent.run(&keyed(agent, "ends/1", "echo a; echo b")).await?;
        let log = closed(&platform, "ends/1").await?;
        let lines: Vec<&str> = log.blob.iter().flatten().map(|line| line.out.as_str()).collect();
        same("the last lines", &lines[lines.len().saturating_sub(2)..], expect.as_slice())?;
    }
    Ok(())
}

async fn of_a_large_log_the_end_is_uploaded(agent: &Agent) -> Expected {
    let platform = served(agent, json!({})).await?;
    agent.run(&keyed(agent, "large/1", "seq 1 100000")).await?;
    let log = closed(&platform, "large/1").await?;
    let last = log.blob.iter().flatten().next_back().map(|line| line.out.trim_end().to_owned());
    same("the last line", last.as_deref(), Some("100000"))?;
    holds(format!("only {} bytes are uploaded", log.blob_bytes), log.blob_bytes > 5_000_000)?;
    same("the lines that came while it ran", printed(&log.text()).lines().count(), 100_000)
}

async fn without_a_service_a_log_is_a_file(agent: &Agent) -> Expected {
    agent.set_up().await?;
    let step = with(keyed(agent, "", "echo x sesame"), json!({"secrets": ["sesame"]}));
    let key = format!("{}.ndjson", step["id"].as_str().unwrap_or_default());
    agent.run(&with(step, json!({ "log_key": key }))).await?;
    let found = agent.sh(&format!("cat $(dirname $DRONE_OUTPUT)/{key}")).await?;
    let line: Value =
        serde_json::from_str(found.trim_end().lines().next_back().unwrap_or_default()).unwrap_or_default();
    same("the last line's text", line["out"].as_str().map(str::trim_end), Some("x **************"))?;
    holds(format!("a line has no number or no time: {line}"), line["pos"].is_u64() && line["time"].is_u64())
}

async fn patterns_of_the_setup_are_hidden_in_lines(agent: &Agent) -> Expected {
    // `pin=[0-9]+`
    let platform = served(agent, json!({"sanitize_config": {"sanitize_patterns_content": "cGluPVswLTldKwo="}})).await?;
    agent.run(&keyed(agent, "patterns/1", "echo a pin=1234 b")).await?;
    let log = closed(&platform, "patterns/1").await?;
    same("the lines", printed(&log.text()).as_str(), "a ************** b\n")?;
    same("the upload", printed(&log.blob_text()).as_str(), "a ************** b\n")
}

async fn a_later_setup_has_its_own_log_service(agent: &Agent) -> Expected {
    let first = served(agent, json!({})).await?;
    agent.run(&keyed(agent, "k", "echo 1")).await?;
    let second = served(agent, json!({})).await?;
    agent.run(&keyed(agent, "k", "echo 2")).await?;
    for (platform, expect) in [(first, "1\n"), (second, "2\n")] {
        same("the lines", printed(&closed(&platform, "k").await?.text()).as_str(), expect)?;
    }
    Ok(())
}

async fn memory_metrics_are_streamed_to_their_key(agent: &Agent) -> Expected {
    let platform = agent.platform().await?;
    let setup = json!({"network": {"id": ""}, "mount_docker_socket": false, "log_config": config(&platform), "memory_metrics_log_key": "metrics/1"});
    agent.post("/setup", &setup).await?.has_status(200)?;
    log(&platform, "metrics/1", "has no two lines", |log| log.lines.len() >= 2).await?;
    agent.post("/destroy", &json!({})).await?.has_status(200)?;
    let log = closed(&platform, "metrics/1").await?;
    agent.set_up().await?;
    let text = log.text();
    let last: Value = serde_json::from_str(text.lines().next_back().unwrap_or_default()).unwrap_or_default();
    let values = last.as_object().and_then(|line| line.values().next()).cloned().unwrap_or_default();
    for name in ["totalMemory", "totalCPU", "avaMemory", "avalCPU", "diskReadBytesSec", "diskWriteBytesSec"] {
        holds(format!("the last line has no {name}: {last}"), values[name].is_number())?;
    }
    same("whether it is the summary", &values["osStatsSummary"], &json!(true))
}

async fn the_certificate_for_other_services_is_stored(agent: &Agent) -> Expected {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let no_identity = |error| Finding::NotApplicable(format!("no certificate can be made: {error}"));
    let identity = kiln_tls::Authority::create().and_then(|ca| ca.issue_client("stage")).map_err(no_identity)?;
    let dir = agent.path("mtls");
    let mtls = json!({
        "client_cert": encode(&identity.cert_pem), "client_cert_key": encode(&identity.key_pem), "client_cert_dir_path": dir,
    });
    let setup = json!({"network": {"id": ""}, "mount_docker_socket": false, "mtls_config": mtls});
    agent.post("/setup", &setup).await?.has_status(200)?;
    let found = agent.sh("echo $HARNESS_MTLS_CERTS_DIR; cat $HARNESS_MTLS_CERTS_DIR/client.crt; wc -c < $HARNESS_MTLS_CERTS_DIR/client.key").await?;
    agent.set_up().await?;
    same("what steps find", found, format!("{dir}\n{}{}\n", identity.cert_pem, identity.key_pem.len()))
}

/// A step with an identity, which tells its handle and its socket and then waits.
async fn with_identity(agent: &Agent, platform: &Platform) -> Expected<(Value, String, String)> {
    let (told, gate) = (agent.path("told"), agent.path("gate"));
    let script = format!(
        "echo $HARNESS_WI_HANDLE $HARNESS_WI_MINT_URL > {told}.new; mv {told}.new {told}; {}",
        crate::agent::wait_for(&gate)
    );
    let identity = json!({"name": "aws", "workload_token": "opaque", "audience": "sts", "token_mode": "STANDARD"});
    let step = with(
        agent.script(&script),
        json!({
            "workload_identities": [identity], "wi_token_generate_url": format!("{}/generate", platform.base()),
        }),
    );
    agent.start(&step).await?;
    let told = agent.sh(&format!("{}; cat {told}", crate::agent::wait_for(&told))).await?;
    match told.trim().split_once(' ') {
        Some((handle, at)) => Ok((with(step, json!({ "gate": gate })), handle.to_owned(), at.to_owned())),
        None => breach(format!("a step with an identity is told {told:?}")),
    }
}

async fn a_workload_token_is_minted_over_https_and_the_socket(agent: &Agent) -> Expected {
    let platform = agent.platform().await?;
    let (step, handle, at) = with_identity(agent, &platform).await?;
    same("the length of the handle", handle.len(), 32)?;
    let request = json!({"handle": handle, "name": "aws"});
    let answer = agent.post("/mint_workload_token", &request).await?.ok()?;
    same("the token", &answer["oidc_token"], &json!("minted-for-sts"))?;
    let has_curl = !agent.sh("command -v curl || :").await?.is_empty();
    if let Some(socket) = at.strip_prefix("unix://").filter(|_| has_curl) {
        let ask = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' --unix-socket {socket} -d '{request}' http://x/mint_workload_token"
        );
        same("the status at the socket", agent.sh(&ask).await?.as_str(), "200")?;
    }
    agent.sh(&format!("touch {}", step["gate"].as_str().unwrap_or_default())).await?;
    agent.poll(step["id"].as_str().unwrap_or_default()).await?;
    let minted = platform.see(|record| record.minted.clone());
    let first = minted.first().map(|minted| (minted.workload_token.as_str(), &minted.body));
    same("what the broker is asked", first, Some(("opaque", &json!({"audience": "sts", "token_mode": "STANDARD"}))))
}

async fn a_workload_token_is_not_minted_for_a_handle_that_nobody_knows(agent: &Agent) -> Expected {
    agent.set_up().await?;
    let answer = agent.post("/mint_workload_token", &json!({"handle": "0".repeat(32), "name": "aws"})).await?;
    same("the answer", &answer.has_status(404)?.json()?, &json!({"error": "unknown workload identity"}))
}

async fn annotations_are_posted(agent: &Agent) -> Expected {
    let platform = agent.platform().await?;
    let file = json!({
        "accountId": "acc", "planExecutionId": "run",
        "annotations": [{"contextId": "tests", "mode": "replace", "style": "info", "summary": "fine"}],
    });
    let step = with(
        agent.logged(&format!("echo '{file}' > $HARNESS_ANNOTATIONS_FILE")),
        json!({
            "annotations_config": {"base_url": platform.base(), "token": "for-annotations"},
            "environment": {"CI_ENABLE_HARNESS_ANNOTATIONS": "true"},
        }),
    );
    agent.run(&step).await?;
    agent.post("/destroy", &json!({})).await?.has_status(200)?;
    agent.set_up().await?;
    let Some(posted) = platform.see(|record| record.annotated.first().cloned()) else {
        return breach(format!("nothing is posted; can the agent reach {}?", platform.address));
    };
    same("the query", posted.query.as_str(), "accountId=acc&planExecutionId=run")?;
    same("who posts", posted.authorization.as_str(), "Annotations for-annotations")?;
    same("the summary", &posted.body["annotations"][0]["summary"], &json!("fine"))
}
