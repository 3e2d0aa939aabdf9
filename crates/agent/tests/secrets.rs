//! No text that the agent says shows a secret, whoever wrote it.

mod rig;

use kiln_wire::agent::{Cause, OutputType, OutputV2};
use rig::{Rig, step};
use serde_json::json;

const SECRET: &str = "s3cr3t/K3y+V=al";
const MASK: &str = "**************";

/// A rig whose stage knows the secret.
async fn rig() -> Rig {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({"secrets": [SECRET, "42", "abc42def"]})).await;
    rig
}

#[tokio::test]
async fn why_a_step_did_not_start_is_told_without_secrets_by_poll_list_and_output() {
    let rig = rig().await;
    let mut request = step("s1", "true");
    request.name = format!("deploys with {SECRET}");
    request.working_dir = format!("/no/{SECRET}");
    let end = rig.client.run(&request).await;
    let expect = format!("cannot start in the working directory /no/{MASK}: No such file or directory (os error 2)");
    assert_eq!(end.error, expect);
    assert_eq!(rig.client.output("s1", 0).await, format!("{expect}\n"));
    let list = rig.client.get("/kiln/v1/steps").await.text().await.expect("a list");
    assert!(list.contains(&format!("deploys with {MASK}")) && !list.contains(SECRET), "{list}");

    let mut request = step("s2", "");
    request.run.entrypoint = vec![SECRET.replace('/', "-")];
    request.secrets = vec![SECRET.replace('/', "-")];
    let end = rig.client.run(&request).await;
    assert_eq!(end.error, format!("exec: \"{MASK}\": executable file not found in $PATH"));
}

#[tokio::test]
async fn the_reason_of_a_cancel_is_told_without_secrets() {
    let rig = rig().await;
    rig.client.ok("/start_step", &step("s1", "sleep 1000")).await;
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1", "reason": format!("token {SECRET} is gone")})).await;
    let end = rig.client.poll("s1").await;
    assert_eq!((end.cause, end.cancel_reason), (Cause::Cancelled, format!("token {MASK} is gone")));
    assert_eq!(end.error, format!("the step was cancelled: token {MASK} is gone"));
}

#[tokio::test]
async fn a_refusal_quotes_no_secret() {
    let rig = rig().await;
    let files = json!({"base": format!("{SECRET}/x"), "paths": ["*"]});
    let (status, message) = rig.client.refused("/kiln/v1/files", &files).await;
    assert_eq!(status, 400, "{message}");
    assert!(message.contains(MASK) && !message.contains(SECRET), "{message}");
    // Secrets of a request that cannot be read are not known yet.
    let wrong = json!({"secrets": ["hunter2"], "timeout": "hunter2"});
    for path in ["/setup", "/start_step"] {
        let (status, message) = rig.client.refused(path, &wrong).await;
        assert_eq!(status, 400);
        assert!(
            message.starts_with("the request is not valid: a value has another type than its field at line 1 column "),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn a_secret_within_another_one_does_not_split_it_in_output() {
    let rig = rig().await;
    let script =
        "echo abc42def; echo abc42dex; for c in a b c 4 2 d e f; do printf $c; sleep 0.02; done; echo; echo 42";
    assert_eq!(rig.client.run(&step("s1", script)).await.exit_code, 0);
    let expect = format!("{MASK}\nabc{MASK}dex\n{MASK}\n{MASK}\n");
    assert_eq!(rig.client.output("s1", 0).await, expect);
}

#[tokio::test]
async fn what_programs_make_of_a_secret_is_masked() {
    let rig = rig().await;
    let script = format!(
        "K='{SECRET}'; echo \"$K\" | tr a-z A-Z; printf %s \"$K\" | od -An -tx1 | tr -d ' \\n'; echo; \
         printf %s \"user:$K\" | base64 -w0; echo; echo '{{\"k\": \"s3cr3t\\/K3y+V=al\"}}'; echo s3cr3t%2fK3y%2bV%3dal"
    );
    assert_eq!(rig.client.run(&step("s1", &script)).await.exit_code, 0);
    let output = rig.client.output("s1", 0).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], [MASK, MASK], "{output}");
    assert!(lines[2].starts_with("dXNlcj") && lines[2].contains(MASK) && lines[2].len() < 28, "{output}");
    assert_eq!(lines[3..], [format!("{{\"k\": \"{MASK}\"}}").as_str(), MASK], "{output}");
}

#[tokio::test]
async fn what_a_step_made_secret_is_masked_in_all_that_later_steps_say() {
    let rig = rig().await;
    let mut request = step("make", "TOKEN=made-of-$((40+2))-and-more");
    request.outputs = vec![OutputV2 { key: "TOKEN".into(), value: "TOKEN".into(), kind: OutputType::Secret }];
    let end = rig.client.run(&request).await;
    // The value itself goes on, whole: other steps are given it.
    assert_eq!(end.outputs_v2[0].value, "made-of-42-and-more");
    let mut request = step("use", "true");
    request.working_dir = "/no/made-of-42-and-more".into();
    let end = rig.client.run(&request).await;
    assert!(end.error.contains(&format!("/no/{MASK}: ")), "{}", end.error);
}
