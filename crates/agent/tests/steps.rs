//! Steps on the host, over the real routes.

mod rig;

use kiln_wire::agent::{Cause, OutputType, OutputV2};
use rig::{Rig, step};
use serde_json::json;

#[tokio::test]
async fn a_step_runs_and_its_result_and_output_are_served() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({"envs": {"GREETING": "hello"}})).await;
    let end = rig.client.run(&step("s1", "echo $GREETING; echo err >&2; exit 3")).await;
    assert_eq!((end.exited, end.exit_code, end.cause), (true, 3, Cause::Exited));
    assert_eq!(end.error, "1 error occurred:\n\t* exit status 3\n\n");
    assert_eq!(rig.client.output("s1", 0).await, "hello\nerr\n");
    assert_eq!(rig.client.output("s1", 6).await, "err\n");
    assert_eq!(end.output_bytes, 10);
}

#[tokio::test]
async fn a_good_end_has_no_exit_code_on_the_wire() {
    let rig = Rig::start().await;
    rig.client.ok("/start_step", &step("s1", "true")).await;
    let answer = rig.client.ok("/poll_step", &json!({"id": "s1"})).await;
    assert_eq!(answer["exited"], json!(true));
    assert_eq!(answer.get("exit_code"), None);
}

#[tokio::test]
async fn output_variables_survive_exit_and_may_be_long_or_have_lines() {
    let rig = Rig::start().await;
    let mut request = step("s1", "A='l1\nl2'; B=$(head -c 100000 /dev/zero | tr '\\0' x); set -eux; exit 0; C=never");
    request.output_vars = vec!["A".into(), "B".into(), "C".into()];
    let end = rig.client.run(&request).await;
    assert_eq!(end.exit_code, 0);
    assert_eq!(end.outputs["A"], "l1\nl2");
    assert_eq!(end.outputs["B"].len(), 100_000);
    assert_eq!(end.outputs["C"], "");
    assert!(!rig.client.output("s1", 0).await.contains("KILN_VARS_DIR"));
}

#[tokio::test]
async fn output_variables_do_not_change_the_exit_code() {
    let rig = Rig::start().await;
    for (id, script, code) in
        [("a", "A=1; false", 1), ("b", "trap 'echo bye' EXIT; A=1; exit 7", 7), ("c", "A=1; trap - EXIT; false", 1)]
    {
        let mut request = step(id, script);
        request.output_vars = vec!["A".into()];
        assert_eq!(rig.client.run(&request).await.exit_code, code, "{script}");
    }
    let end = rig.client.poll("c").await;
    assert_eq!(end.outputs["A"], "1");
}

#[tokio::test]
async fn files_hand_over_outputs_exports_and_artifacts() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({})).await;
    let script = "echo X=1 >> $DRONE_OUTPUT; printf 'Y=\"two\\nlines\"\\n' >> $HARNESS_OUTPUT_FILE; echo E=exported > $DRONE_ENV; \
                  echo S=topsecret > $HARNESS_OUTPUT_SECRET_FILE; printf '{}' > $PLUGIN_ARTIFACT_FILE";
    let mut first = step("one", script);
    first.stage_runtime_id = "stage".into();
    let end = rig.client.run(&first).await;
    assert_eq!((end.outputs["X"].as_str(), end.outputs["Y"].as_str()), ("1", "two\nlines"));
    assert_eq!(end.envs["E"], "exported");
    assert_eq!(end.artifact, "e30=");
    assert!(end.outputs_v2.contains(&OutputV2 {
        key: "S".into(),
        value: "topsecret".into(),
        kind: OutputType::Secret
    }));
    let mut second = step("two", "echo $E topsecret");
    second.stage_runtime_id = "stage".into();
    rig.client.run(&second).await;
    assert_eq!(rig.client.output("two", 0).await, "exported **************\n");
}

#[tokio::test]
async fn typed_outputs_take_shell_variables() {
    let rig = Rig::start().await;
    let mut request = step("s1", "V=plain; W=hidden");
    let output = |key: &str, value: &str, kind| OutputV2 { key: key.into(), value: value.into(), kind };
    request.outputs = vec![output("a", "V", OutputType::Text), output("b", "W", OutputType::Secret)];
    let end = rig.client.run(&request).await;
    assert_eq!(end.outputs_v2, [output("a", "plain", OutputType::Text), output("b", "hidden", OutputType::Secret)]);
    assert_eq!((end.outputs["a"].as_str(), end.outputs["b"].as_str()), ("plain", "hidden"));
}

#[tokio::test]
async fn every_output_says_its_type() {
    let rig = Rig::start().await;
    let declared = json!([{"key": "a", "value": "V"}, {"key": "b", "value": "W", "type": "SECRET"}]);
    let run = json!({"entrypoint": ["sh", "-c"], "commands": ["V=1 W=2"]});
    rig.client.ok("/start_step", &json!({"id": "s1", "run": run, "outputs": declared})).await;
    let end = rig.client.ok("/poll_step", &json!({"id": "s1"})).await;
    let expect = json!([{"key": "a", "value": "1", "type": "STRING"}, {"key": "b", "value": "2", "type": "SECRET"}]);
    assert_eq!(end["outputV2"], expect);
    let run = json!({"entrypoint": ["sh", "-c"], "commands": ["echo K=1 > $DRONE_OUTPUT"]});
    rig.client.ok("/start_step", &json!({"id": "s2", "run": run})).await;
    let end = rig.client.ok("/poll_step", &json!({"id": "s2"})).await;
    assert_eq!(end["outputV2"], json!([{"key": "K", "value": "1", "type": "STRING"}]));
}

#[tokio::test]
async fn what_a_failed_step_wrote_down_as_secret_is_no_output_and_told_to_those_who_ask() {
    let rig = Rig::start().await;
    let script = "echo S=topsecret > $HARNESS_OUTPUT_SECRET_FILE; exit 1";
    let end = rig.client.run(&step("s1", script)).await;
    assert_eq!((end.exit_code, end.outputs_v2.len(), end.secrets.len()), (1, 0, 0));
    let end = rig.client.ok("/poll_step", &json!({"id": "s1", "kiln_secrets": true})).await;
    assert_eq!(end["kiln_secrets"], json!(["topsecret"]));
    rig.client.run(&step("s2", "echo topsecret")).await;
    assert_eq!(rig.client.output("s2", 0).await, "**************\n");
}

#[tokio::test]
async fn a_step_that_cannot_be_started_leaves_no_directory_for_its_variables() {
    let rig = Rig::start().await;
    let mut request = step("s1", "A=1");
    request.run.entrypoint = vec!["no-such-program".into()];
    request.output_vars = vec!["A".into()];
    assert_eq!(rig.client.run(&request).await.exit_code, 255);
    let left: Vec<_> = std::fs::read_dir(rig.path("engine")).expect("a directory").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
