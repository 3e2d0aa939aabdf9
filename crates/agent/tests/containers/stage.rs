//! What a stage gives steps in containers, and takes from them: logs, tokens, annotations, a folder of their own.

use std::net::Ipv4Addr;
use std::path::Path;

use kiln_agent_conformance::platform::{Health, Platform};
use kiln_engine_rig::Engine;
use kiln_wire::agent::{OutputType, StartStepRequest, VolumeMount};
use serde_json::{Value, json};

use crate::rig::{Rig, content, until};
use crate::services::{config, hasty};
use crate::{agent, agent_with, boxed};

const MASK: &str = "**************";

async fn platform() -> Platform {
    Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services")
}

/// A step in a container with a log of its own.
fn logged(engine: &Engine, id: &str, script: &str) -> StartStepRequest {
    StartStepRequest { log_drone: false, log_key: format!("log/{id}"), ..boxed(engine, id, script) }
}

/// The request with fields that are easier written as JSON.
fn with(request: StartStepRequest, fields: Value) -> StartStepRequest {
    let mut request = serde_json::to_value(request).expect("JSON");
    request.as_object_mut().expect("an object").extend(fields.as_object().cloned().expect("an object"));
    serde_json::from_value(request).expect("a request")
}

/// Output without the lines that tell the command.
fn printed(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("\u{1b}[33;1m")).collect()
}

/// Sets a stage up whose logs go to a service.
async fn served(rig: &Rig, platform: &Platform) {
    let setup = json!({"log_config": config(platform), "secrets": ["sesame-street"]});
    rig.client.ok("/setup", &setup).await;
}

#[tokio::test]
async fn the_lines_of_a_container_are_sent_while_it_runs_and_uploaded_masked() {
    let Some(engine) = Engine::shared() else { return };
    let (rig, platform) = (agent_with(engine, hasty).await, platform().await);
    served(&rig, &platform).await;
    let gate = rig.path("engine/gate");
    let script = format!(
        "echo first; while [ ! -e {gate} ]; do sleep 0.05; done; printf sesame-; sleep 0.2; echo street; seq 1 5000"
    );
    rig.client.ok("/start_step", &logged(engine, "s1", &script)).await;
    until("the first line", async || (printed(&platform.log("log/s1").text()) == "first\n").then_some(())).await;
    std::fs::write(&gate, "").expect("a file");
    assert_eq!(rig.client.poll("s1").await.exit_code, 0);
    let log = platform.log("log/s1");
    let numbers: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    assert_eq!(printed(&log.text()), format!("first\n{MASK}\n{numbers}"));
    assert_eq!((log.blob_text(), log.closed.as_slice()), (log.text(), &[false][..]));
    assert!(log.is_without_gap());
    assert_eq!(platform.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn what_an_engine_says_of_a_start_is_in_the_log_as_well() {
    let Some(engine) = Engine::shared() else { return };
    let (rig, platform) = (agent_with(engine, hasty).await, platform().await);
    served(&rig, &platform).await;
    let request = with(logged(engine, "s1", "true"), json!({"image": "sesame-street.invalid/x:1", "pull": "Never"}));
    assert_eq!(rig.client.run(&request).await.exit_code, 255);
    let text = platform.log("log/s1").blob_text();
    assert!(text.contains("is not on this machine") && !text.contains("sesame"), "{text}");
}

#[tokio::test]
async fn defect_12_a_log_service_that_is_gone_fails_and_holds_no_container() {
    let Some(engine) = Engine::shared() else { return };
    let (rig, platform) = (agent_with(engine, hasty).await, platform().await);
    served(&rig, &platform).await;
    platform.is(Health::Refuses(503));
    assert_eq!(rig.client.run(&logged(engine, "s1", "seq 1 1000; exit 3")).await.exit_code, 3);
    assert_eq!(platform.log("log/s1").uploads, 0);
    platform.is(Health::Well);
    rig.client.ok("/destroy", &json!({})).await;
    let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(printed(&platform.log("log/s1").blob_text()), numbers);
}

#[tokio::test]
async fn defect_11_a_second_setup_renews_what_containers_have_of_the_first() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent_with(engine, hasty).await;
    for (n, value) in ["first", "second"].into_iter().enumerate() {
        let platform = platform().await;
        let folder = rig.path(value);
        let setup = json!({
            "log_config": config(&platform), "envs": {"V": value}, "secrets": [format!("token-{value}")],
            "volumes": [{"host": {"id": "v", "name": "v", "path": folder}}],
        });
        rig.client.ok("/setup", &setup).await;
        let mut request = logged(engine, &format!("s{n}"), "echo $V token-$V | tee /v/file");
        request.volumes = vec![VolumeMount { name: "v".into(), path: "/v".into() }];
        assert_eq!(rig.client.run(&request).await.exit_code, 0);
        assert_eq!(printed(&platform.log(&request.log_key).text()), format!("{value} {MASK}\n"));
        assert_eq!(content(Path::new(&folder).join("file")).await, format!("{value} token-{value}"));
    }
}

#[tokio::test]
async fn secrets_defect_a_secret_output_of_a_container_is_masked_as_soon_as_it_is_written_down() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let script = "echo 'T=fresh-token' >> $HARNESS_OUTPUT_SECRET_FILE; echo fresh-token; \
                  echo 'U=second-token' >> $HARNESS_OUTPUT_SECRET_FILE; echo second-token fresh-token";
    for round in 0..5 {
        let id = format!("s{round}");
        let end = rig.client.run(&boxed(engine, &id, &script.replace("token", &format!("token-{round}x")))).await;
        assert_eq!(end.outputs_v2.iter().filter(|output| output.kind == OutputType::Secret).count(), 2);
        assert_eq!(rig.client.output(&id, 0).await, format!("{MASK}\n{MASK} {MASK}\n"));
    }
}

#[tokio::test]
async fn secrets_defect_tokens_of_services_are_not_given_to_containers() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    let services = json!({
        "ti_config": {"url": "https://ti.example", "token": "ti-token"},
        "log_config": {"url": "", "token": "log-token"},
        "egress_policy": {"proxy_url": "http://proxy.example:1", "username": "ann", "password": "proxy-token"},
    });
    rig.client.ok("/setup", &services).await;
    let request = with(
        boxed(engine, "s1", "env; env | base64 -d 2>/dev/null; :"),
        json!({
            "annotations_config": {"base_url": "http://platform.example", "token": "annotations-token"},
            "auth": {"address": "registry.example", "username": "ann", "password": "registry-token"},
        }),
    );
    rig.client.run(&request).await;
    let output = rig.client.output("s1", 0).await;
    assert!(output.contains("KILN_STEP_ID=s1"), "{output}");
    assert!(!output.contains("-token") && !output.contains("dGktdG9rZW4") && !output.contains("***"), "{output}");
}

/// Tools of the machine are shown to the container, because its image has none that speaks to a socket.
#[tokio::test]
async fn security_defect_a_container_asks_for_tokens_at_the_socket_and_its_handle_ends_with_it() {
    let Some(engine) = Engine::shared() else { return };
    let socket_of = |dir: &Path| dir.with_file_name("wi").join("wi.sock");
    let rig = agent_with(engine, |settings| settings.mint_socket = socket_of(&settings.engine_dir)).await;
    let platform = platform().await;
    let tools = [("usr", "/usr"), ("lib", "/lib"), ("lib64", "/lib64")];
    let volumes: Vec<Value> = tools
        .iter()
        .map(|(name, path)| json!({"host": {"id": name, "name": name, "path": path, "read_only": true}}))
        .collect();
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    let gate = rig.path("engine/gate");
    let script = format!(
        "env | grep -c opaque; echo $HARNESS_WI_HANDLE > {gate}.handle.new; mv {gate}.handle.new {gate}.handle; \
         /usr/bin/curl -sS --unix-socket \"${{HARNESS_WI_MINT_URL#unix://}}\" http://x/mint_workload_token \
         -d '{{\"handle\": \"'$HARNESS_WI_HANDLE'\", \"name\": \"aws\"}}'; while [ ! -e {gate} ]; do sleep 0.05; done"
    );
    let mut request = with(
        boxed(engine, "s1", &script),
        json!({
            "workload_identities": [{"name": "aws", "workload_token": "opaque-token", "audience": "sts", "token_mode": "STANDARD"}],
            "wi_token_generate_url": format!("{}/generate", platform.base()),
            "user": "65534",
        }),
    );
    request.volumes = tools.map(|(name, path)| VolumeMount { name: name.into(), path: path.into() }).into();
    rig.client.ok("/start_step", &request).await;
    let handle = content(format!("{gate}.handle")).await;
    let mint = async || {
        let answer = rig.client.send("/mint_workload_token", &json!({"handle": handle, "name": "aws"})).await;
        answer.status().as_u16()
    };
    assert_eq!(mint().await, 200);
    std::fs::write(&gate, "").expect("a file");
    let end = rig.client.poll("s1").await;
    let output = rig.client.output("s1", 0).await;
    assert_eq!(end.exit_code, 0, "{} {output}", end.error);
    let (count, answer) = output.split_once('\n').expect("two lines");
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    assert_eq!((count, &answer["oidc_token"]), ("0", &json!(MASK)), "{output}");
    assert_eq!(mint().await, 404, "the step has ended");
    // A container without identities does not see the socket.
    let socket = socket_of(&rig.dir.path().join("engine"));
    let script = format!("test ! -e {} && echo none", socket.display());
    rig.client.run(&boxed(engine, "s2", &script)).await;
    assert_eq!(rig.client.output("s2", 0).await, "none\n");
}

#[tokio::test]
async fn annotations_of_a_container_are_posted() {
    let Some(engine) = Engine::shared() else { return };
    let (rig, platform) = (agent(engine).await, platform().await);
    rig.client
        .ok("/setup", &json!({"secrets": ["sesame-street"], "envs": {"CI_ENABLE_HARNESS_ANNOTATIONS": "true"}}))
        .await;
    let file = json!({
        "accountId": "a", "planExecutionId": "r", "annotations": [{"contextId": "tests", "summary": "fine: sesame-street"}],
    });
    let request = with(
        boxed(engine, "s1", &format!("echo '{file}' > $HARNESS_ANNOTATIONS_FILE")),
        json!({"annotations_config": {"base_url": platform.base(), "token": "t"}}),
    );
    assert_eq!(rig.client.run(&request).await.exit_code, 0);
    let posted = until("a post", async || platform.see(|record| record.annotated.first().cloned())).await;
    assert_eq!(posted.body["annotations"][0]["summary"], json!(format!("fine: {MASK}")));
}

#[tokio::test]
async fn a_scratch_folder_is_open_to_the_containers_user_and_goes_only_if_the_step_made_it() {
    let Some(engine) = Engine::shared() else { return };
    let rig = agent(engine).await;
    // It opens the folder of all steps to all users.
    rig.client.ok("/setup", &json!({})).await;
    let scratch = |id: &str, name: &str| {
        let mut request = boxed(engine, id, "touch $HARNESS_SCRATCH_DIR/x && ls $HARNESS_SCRATCH_DIR");
        (request.scratch_dir, request.user) = (rig.path(name), "65534".into());
        request.delete_temp_step_files = true;
        request
    };
    let made = scratch("s1", "engine/scratch/of/s1");
    assert_eq!(rig.client.run(&made).await.exit_code, 0, "{}", rig.client.output("s1", 0).await);
    assert_eq!(rig.client.output("s1", 0).await, "x\n");
    assert!(!Path::new(&made.scratch_dir).exists());
    // The folder of all steps is one that was there before.
    let shared = scratch("s2", "engine");
    std::fs::write(rig.path("engine/kept"), "").expect("a file");
    let end = rig.client.run(&shared).await;
    assert_eq!(end.exit_code, 0, "{}", rig.client.output("s2", 0).await);
    assert!(Path::new(&rig.path("engine/kept")).exists() && Path::new(&rig.path("engine/x")).exists());
}
