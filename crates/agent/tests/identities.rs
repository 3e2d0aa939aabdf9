//! Tokens for the identities of steps.

mod rig;

use std::net::Ipv4Addr;

use kiln_agent_conformance::platform::{Health, Platform};
use kiln_wire::agent::StartStepRequest;
use rig::{Rig, content, step};
use serde_json::{Value, json};

struct Setting {
    rig: Rig,
    platform: Platform,
}

impl Setting {
    async fn new() -> Self {
        let rig =
            Rig::with(|settings| settings.mint_socket = settings.engine_dir.with_file_name("wi").join("wi.sock")).await;
        let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
        rig.client.ok("/setup", &json!({})).await;
        Self { rig, platform }
    }

    fn step(&self, id: &str, script: &str) -> StartStepRequest {
        let mut request = serde_json::to_value(step(id, script)).expect("JSON");
        request["workload_identities"] =
            json!([{"name": "aws", "workload_token": "opaque-token", "audience": "sts", "token_mode": "STANDARD"}]);
        request["wi_token_generate_url"] = json!(format!("{}/generate", self.platform.base()));
        serde_json::from_value(request).expect("a request")
    }

    /// What the agent's port answers.
    async fn mint(&self, request: Value) -> (u16, Value) {
        let answer = self.rig.client.send("/mint_workload_token", &request).await;
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

/// What a step asks at its socket.
const ASK: &str = r#"curl -sS --unix-socket "${HARNESS_WI_MINT_URL#unix://}" http://x/mint_workload_token -d"#;

#[tokio::test]
async fn a_step_is_given_tokens_and_never_what_they_are_minted_for() {
    let setting = Setting::new().await;
    let script = format!("env | grep -c opaque; {ASK} '{{\"handle\": \"'$HARNESS_WI_HANDLE'\", \"name\": \"aws\"}}'");
    let end = setting.rig.client.run(&setting.step("s1", &script)).await;
    assert_eq!(end.exit_code, 0, "{}", end.error);
    let output = setting.rig.client.output("s1", 0).await;
    let (count, answer) = output.split_once('\n').expect("two lines");
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    // The token is a secret from the moment at which it is there.
    assert_eq!((count, &answer["oidc_token"]), ("0", &json!("**************")));
    assert!(answer["expires_at_unix"].as_i64() > Some(1_700_000_000), "{answer}");
    let minted = setting.platform.see(|record| record.minted.clone());
    assert_eq!(minted.len(), 1);
    assert_eq!(minted[0].workload_token, "opaque-token");
    assert_eq!(minted[0].body, json!({"audience": "sts", "token_mode": "STANDARD"}));
}

#[tokio::test]
async fn security_defect_a_handle_ends_with_its_step() {
    let setting = Setting::new().await;
    let (handle, gate) = (setting.rig.path("handle"), setting.rig.path("gate"));
    let script = format!("echo $HARNESS_WI_HANDLE > {handle}; while [ ! -e {gate} ]; do sleep 0.02; done");
    setting.rig.client.ok("/start_step", &setting.step("s1", &script)).await;
    let handle = content(&handle).await;
    assert_eq!(handle.len(), 32);
    let request = |handle: &str, more: Value| {
        let mut request = json!({"handle": handle, "name": "aws"});
        request.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        request
    };
    let (status, answer) = setting.mint(request(&handle, json!({}))).await;
    assert_eq!((status, &answer["oidc_token"]), (200, &json!("minted-for-sts")));
    let (status, answer) = setting.mint(request(&handle, json!({"audience_override": "sts"}))).await;
    assert_eq!((status, &answer["oidc_token"]), (200, &json!("minted-for-sts")));
    let (status, answer) = setting.mint(request(&handle, json!({"audience_override": "elsewhere"}))).await;
    assert!(status == 403 && answer["error"].as_str().is_some_and(|e| e.contains("not for this audience")), "{answer}");
    let unknown = json!({"error": "unknown workload identity"});
    assert_eq!(setting.mint(request(&handle, json!({"name": "other"}))).await, (404, unknown.clone()));
    assert_eq!(setting.mint(request("x", json!({}))).await, (404, unknown.clone()));
    setting.platform.is(Health::Refuses(500));
    let failed = json!({"error": "failed to mint workload identity token"});
    assert_eq!(setting.mint(request(&handle, json!({}))).await, (500, failed));
    setting.platform.is(Health::Well);
    std::fs::write(&gate, "").expect("a file");
    assert_eq!(setting.rig.client.poll("s1").await.exit_code, 0);
    assert_eq!(setting.mint(request(&handle, json!({}))).await, (404, unknown));
}

#[tokio::test]
async fn security_defect_another_user_is_given_nothing_at_the_socket() {
    let setting = Setting::new().await;
    setting.rig.client.run(&step("who", "id -u")).await;
    if setting.rig.client.output("who", 0).await.trim() != "0" {
        println!("not run: only root can become another user");
        return;
    }
    // The folder of the rig is the agent's alone.
    let open = setting.rig.dir.path().to_owned();
    let chmod = std::process::Command::new("chmod").arg("755").arg(open).status().expect("chmod");
    assert!(chmod.success());
    let (handle, gate) = (setting.rig.path("handle"), setting.rig.path("gate"));
    let script = format!("echo $HARNESS_WI_HANDLE > {handle}; while [ ! -e {gate} ]; do sleep 0.02; done");
    setting.rig.client.ok("/start_step", &setting.step("s1", &script)).await;
    let handle = content(&handle).await;
    let socket = setting.rig.path("wi/wi.sock");
    let ask = format!("{ASK} '{{\"handle\": \"{handle}\", \"name\": \"aws\"}}'")
        .replace("${HARNESS_WI_MINT_URL#unix://}", &socket);
    for (id, user, expect) in [("other", "54321", "unknown workload identity"), ("root", "", "**************")] {
        let mut request = step(id, &ask);
        request.user = user.into();
        let end = setting.rig.client.run(&request).await;
        let output = setting.rig.client.output(id, 0).await;
        assert!(end.exit_code == 0 && output.contains(expect), "{output} {}", end.error);
    }
    std::fs::write(&gate, "").expect("a file");
    assert_eq!(setting.rig.client.poll("s1").await.exit_code, 0);
}

#[tokio::test]
async fn security_defect_a_socket_in_a_folder_of_somebody_else_is_not_used() {
    let setting = Setting::new().await;
    std::fs::create_dir(setting.rig.path("wi")).expect("a directory");
    let chmod = std::process::Command::new("chmod").args(["777", &setting.rig.path("wi")]).status().expect("chmod");
    assert!(chmod.success());
    let (status, message) = setting.rig.client.refused("/start_step", &setting.step("s1", "true")).await;
    assert_eq!(status, 500);
    assert!(message.contains("its folder is not the agent's own; free or make that place"), "{message}");
}
