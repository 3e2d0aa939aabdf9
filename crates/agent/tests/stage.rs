//! What a stage gives its steps, and takes from them.

mod rig;
#[path = "rig/services.rs"]
mod services;

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kiln_agent_conformance::platform::{Health, Platform};
use kiln_tls::Authority;
use kiln_wire::agent::{OutputType, StartStepRequest};
use rig::{Rig, step, until};
use serde_json::{Value, json};
use services::{config, hasty};

const MASK: &str = "**************";

async fn platform() -> Platform {
    Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services")
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[tokio::test]
async fn what_the_machine_does_is_told_each_second_and_summed_up_at_the_end() {
    let (rig, platform) = (Rig::with(hasty).await, platform().await);
    rig.client.ok("/setup", &json!({"log_config": config(&platform), "memory_metrics_log_key": "stage/metrics"})).await;
    until("two lines", async || (platform.log("stage/metrics").lines.len() >= 2).then_some(())).await;
    let stats = rig.client.ok("/destroy", &json!({})).await;
    assert!(stats["os_stats"]["total_mem_mb"].as_f64() > Some(0.0), "{stats}");
    let log = platform.log("stage/metrics");
    assert_eq!((log.opened, log.closed.as_slice()), (1, &[false][..]));
    let blob = log.blob.as_ref().expect("an upload");
    let values: Vec<Value> = blob
        .iter()
        .map(|line| {
            let line: Value = serde_json::from_str(&line.out).expect("JSON");
            let (moment, values) = line.as_object().and_then(|line| line.iter().next()).expect("one moment");
            assert!(moment.ends_with('Z') && moment.starts_with("20"), "{moment}");
            values.clone()
        })
        .collect();
    let [samples @ .., summary] = values.as_slice() else { panic!("no lines") };
    assert!(samples.len() >= 2);
    for sample in samples {
        assert!(sample["totalMemory"].as_f64() > Some(0.0) && sample["totalCPU"].as_u64() > Some(0), "{sample}");
        assert!(sample["avalCPU"].as_f64() <= Some(100.0) && sample.get("osStatsSummary").is_none(), "{sample}");
    }
    assert_eq!(summary["osStatsSummary"], json!(true));
    assert!(summary["peakCPUUsagePct"].as_f64() >= summary["avgCPUUsagePct"].as_f64(), "{summary}");
    assert_eq!(platform.faults(), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(rig.dir.path().join("state/spool")).expect("a directory").count(), 0);
}

#[tokio::test]
async fn defect_9_a_second_setup_ends_the_metrics_of_the_first() {
    let (rig, platform) = (Rig::with(hasty).await, platform().await);
    for key in ["first", "second"] {
        rig.client.ok("/setup", &json!({"log_config": config(&platform), "memory_metrics_log_key": key})).await;
    }
    until("the end of the first", async || (!platform.log("first").closed.is_empty()).then_some(())).await;
    assert_eq!(platform.log("second").closed.len(), 0);
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!((platform.log("first").uploads, platform.log("second").uploads), (1, 1));
    let (status, message) = rig.client.refused("/setup", &json!({"memory_metrics_log_key": "../../etc/metrics"})).await;
    assert_eq!(status, 400);
    assert!(message.contains("does not name a file"), "{message}");
}

#[tokio::test]
async fn secrets_defect_a_secret_output_is_masked_as_soon_as_it_is_written_down() {
    let rig = Rig::start().await;
    let script = "echo 'T=fresh-token' >> $HARNESS_OUTPUT_SECRET_FILE; echo fresh-token; \
                  printf 'U=second-token' >> $HARNESS_OUTPUT_SECRET_FILE; echo second-token fresh-token";
    for round in 0..20 {
        let id = format!("s{round}");
        let end = rig.client.run(&step(&id, &script.replace("token", &format!("token-{round}x")))).await;
        let secrets: Vec<_> = end.outputs_v2.iter().filter(|output| output.kind == OutputType::Secret).collect();
        assert_eq!(secrets.len(), 2);
        assert_eq!(rig.client.output(&id, 0).await, format!("{MASK}\n{MASK} {MASK}\n"));
    }
}

#[tokio::test]
async fn secrets_defect_secret_outputs_of_variables_are_masked_in_later_steps() {
    let rig = Rig::start().await;
    let mut request = serde_json::to_value(step("s1", "T=of-a-variable")).expect("JSON");
    request["outputs"] = json!([{"key": "token", "value": "T", "type": "SECRET"}]);
    rig.client.run(&serde_json::from_value::<StartStepRequest>(request).expect("a request")).await;
    rig.client.run(&step("s2", "echo of-a-variable")).await;
    assert_eq!(rig.client.output("s2", 0).await, format!("{MASK}\n"));
}

#[tokio::test]
async fn a_scratch_folder_is_made_and_goes_with_the_other_files_of_a_step() {
    let rig = Rig::start().await;
    for (id, removed) in [("kept", false), ("removed", true)] {
        let mut request = step(
            id,
            "touch $HARNESS_SCRATCH_DIR/x $PLUGIN_METADATA_FILE; echo $HARNESS_SCRATCH_DIR; echo $PLUGIN_METADATA_FILE",
        );
        let dir = rig.path(&format!("scratch/of/{id}"));
        request.scratch_dir.clone_from(&dir);
        request.delete_temp_step_files = removed;
        request.environment.insert("PLUGIN_METADATA_FILE".into(), "/given/metadata.json".into());
        assert_eq!(rig.client.run(&request).await.exit_code, 0);
        let output = rig.client.output(id, 0).await;
        let paths: Vec<&str> = output.lines().collect();
        assert_eq!(paths[0], dir);
        assert!(paths[1].ends_with(&format!("/engine/{id}-metadata.json")), "{output}");
        assert_eq!(paths.iter().filter(|path| Path::new(path).exists()).count(), if removed { 0 } else { 2 });
    }
}

/// A caller may name `/tmp`, which holds what others keep there.
#[tokio::test]
async fn a_scratch_folder_that_was_there_before_the_step_stays() {
    let rig = Rig::start().await;
    let dir = rig.path("shared");
    std::fs::create_dir(&dir).expect("a directory");
    let mut request = step("s1", "touch $HARNESS_SCRATCH_DIR/x");
    request.scratch_dir.clone_from(&dir);
    request.delete_temp_step_files = true;
    assert_eq!(rig.client.run(&request).await.exit_code, 0);
    assert!(Path::new(&dir).join("x").exists());
}

#[tokio::test]
async fn annotations_of_a_step_that_succeeds_are_posted() {
    let (rig, platform) = (Rig::start().await, platform().await);
    rig.client.ok("/setup", &json!({"secrets": ["sesame-street"]})).await;
    let file = json!({
        "accountId": "acc 1", "orgId": "o", "planExecutionId": "run-1",
        "annotations": [{"contextId": "tests", "style": "success", "summary": "fine: sesame-street"}],
    });
    let run = async |id: &str, end: &str, on: &str| {
        let mut request = serde_json::to_value(step(id, &format!("echo '{file}' > $HARNESS_ANNOTATIONS_FILE; {end}")));
        let request = request.as_mut().expect("JSON");
        request["annotations_config"] = json!({"base_url": platform.base() + "/", "token": "for-annotations"});
        request["environment"] = json!({"CI_ENABLE_HARNESS_ANNOTATIONS": on});
        request["delete_temp_step_files"] = json!(true);
        rig.client.run(&serde_json::from_value::<StartStepRequest>(request.clone()).expect("a request")).await
    };
    assert_eq!(run("fails", "exit 3", "true").await.exit_code, 3);
    run("off", "", "false").await;
    run("s1", "", "true").await;
    let posted = until("a post", async || platform.see(|record| record.annotated.first().cloned())).await;
    assert_eq!(posted.query, "accountId=acc%201&planExecutionId=run%2D1");
    assert_eq!(posted.authorization, "Annotations for-annotations");
    let annotation =
        json!({"contextId": "tests", "mode": "replace", "style": "success", "summary": format!("fine: {MASK}")});
    assert_eq!(posted.body, json!({"orgId": "o", "planExecutionId": "run-1", "annotations": [annotation]}));
    // A service that is not well fails nothing.
    platform.is(Health::Refuses(500));
    assert_eq!(run("s2", "", "true").await.exit_code, 0);
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(platform.see(|record| record.annotated.len()), 1);
}

#[tokio::test]
async fn secrets_defect_a_client_key_is_stored_for_the_steps_user_alone() {
    let rig = Rig::start().await;
    let identity = Authority::create().and_then(|ca| ca.issue_client("stage")).expect("a certificate");
    let dir = rig.path("certs/mtls");
    let mtls = json!({
        "client_cert": base64(&identity.cert_pem), "client_cert_key": base64(&identity.key_pem), "client_cert_dir_path": dir,
    });
    rig.client.ok("/setup", &json!({ "mtls_config": mtls })).await;
    rig.client.run(&step("s1", "cd $HARNESS_MTLS_CERTS_DIR && cat client.crt && wc -c < client.key")).await;
    let expect = format!("{}{}\n", identity.cert_pem, identity.key_pem.len());
    assert_eq!(rig.client.output("s1", 0).await, expect);
    assert_eq!((mode(format!("{dir}/client.key")), mode(format!("{dir}/client.crt"))), (0o600, 0o600));
}

#[tokio::test]
async fn the_proxy_of_a_setup_is_not_for_a_machine_that_others_use() {
    let rig = Rig::start().await;
    let policy = json!({"proxy_url": "http://proxy:3128", "username": "ann", "password": "of-the-proxy"});
    rig.client.ok("/setup", &json!({ "egress_policy": policy })).await;
    assert!(!Path::new(&rig.path("root/etc/systemd")).exists());
    let (status, message) = rig.client.refused("/setup", &json!({"egress_policy": {"proxy_url": "nowhere"}})).await;
    assert_eq!(status, 500);
    assert!(message.contains("egress_policy.proxy_url is no address"), "{message}");
}

#[tokio::test]
async fn a_step_is_told_how_the_platform_calls_it() {
    let rig = Rig::start().await;
    let names = json!({"url": "https://ti.example", "account_id": "a", "org_id": "o", "project_id": "p", "pipeline_id": "pl",
                       "stage_id": "s", "build_id": "7"});
    let print = "echo $HARNESS_ACCOUNT_ID $HARNESS_ORG_ID $HARNESS_PROJECT_ID $HARNESS_PIPELINE_ID $HARNESS_STAGE_ID \
                 $HARNESS_BUILD_ID $HARNESS_STEP_ID $HARNESS_INFRA ${HARNESS_TI_SERVICE_ENDPOINT-none}";
    let run = async |id: &str, ti_config: &Value| {
        let mut request = serde_json::to_value(step(id, print)).expect("JSON");
        (request["name"], request["ti_config"]) = (json!("build"), ti_config.clone());
        rig.client.run(&serde_json::from_value::<StartStepRequest>(request).expect("a request")).await;
        rig.client.output(id, 0).await
    };
    assert_eq!(run("s1", &json!({})).await, "none\n");
    // Of the step alone, and then of the stage.
    assert_eq!(run("s2", &names).await, "a o p pl s 7 build VM none\n");
    rig.client.ok("/setup", &json!({ "ti_config": names })).await;
    assert_eq!(run("s3", &json!({})).await, "a o p pl s 7 build VM none\n");
}
