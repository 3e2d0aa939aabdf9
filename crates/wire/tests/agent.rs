//! The agent's messages on the wire.

use kiln_wire::agent::kiln::{FilesRequest, Identity, StepList, StepState, StepSummary};
use kiln_wire::agent::{
    Cause, DestroyResponse, Empty, ErrorBody, HealthResponse, OutputType, OutputV2, PollStepResponse, PullPolicy,
    SetupRequest, StartStepRequest, StepKind,
};
use serde_json::{Value, json};

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    let text = value.to_string();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn written<T: serde::Serialize>(message: &T) -> Value {
    serde_json::to_value(message).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn null_is_the_zero_value_everywhere() {
    let request: StartStepRequest = read(json!({
        "id": "s1", "name": null, "kind": null, "timeout": null, "environment": null, "secrets": null,
        "files": [null, {"path": "/x", "mode": null}], "run": null, "image": null, "pull": null, "auth": null,
        "mount_docker_socket": null, "outputs": [null], "port_bindings": {"80": null}, "log_drone": null
    }));
    assert_eq!(request.id, "s1");
    assert_eq!(request.files[1].path, "/x");
    assert_eq!(request.files.len(), 2);
    assert_eq!(request.outputs, vec![OutputV2::default()]);
    assert_eq!(request.port_bindings["80"], "");
    assert_eq!(request.mount_docker_socket, None);
}

#[test]
fn unknown_fields_are_skipped_and_names_match_in_any_case() {
    let request: StartStepRequest = read(
        json!({"ID": "s1", "Run": {"Commands": ["true"], "future": {"a": [1]}}, "future": [{}], "Environment": {"Aa": "b"}}),
    );
    assert_eq!(request.id, "s1");
    assert_eq!(request.run.commands, ["true"]);
    assert_eq!(request.environment["Aa"], "b");
}

#[test]
fn an_unknown_word_is_the_default_one() {
    let request: StartStepRequest = read(json!({"kind": "Else", "pull": "IfNotPresent"}));
    assert_eq!(request.kind, StepKind::Run);
    assert_eq!(request.pull, PullPolicy::IfNotPresent);
}

#[test]
fn zero_values_are_left_out_but_structures_stay() {
    assert_eq!(written(&Empty {}), json!({}));
    assert_eq!(
        written(&SetupRequest::default()),
        json!({"network": {}, "log_config": {"sanitize_config": {}}, "ti_config": {}, "mtls_config": {}, "vm_image_config": {}})
    );
    let step = written(&StartStepRequest { id: "a".into(), ..Default::default() });
    assert_eq!(step["log_drone"], json!(false));
    assert_eq!(step["mount_docker_socket"], Value::Null);
    assert_eq!(step.get("timeout"), None);
}

#[test]
fn a_good_end_leaves_the_exit_code_out_and_outputs_v2_are_in_camel_case() {
    let answer = PollStepResponse {
        exited: true,
        outputs_v2: [OutputType::Secret, OutputType::Text]
            .map(|kind| OutputV2 { key: "K".into(), value: String::new(), kind })
            .into(),
        cause: Cause::Exited,
        ..Default::default()
    };
    assert_eq!(
        written(&answer),
        json!({
            "exited": true,
            "outputV2": [{"key": "K", "value": "", "type": "SECRET"}, {"key": "K", "value": "", "type": "STRING"}],
            "cause": "exited"
        })
    );
}

#[test]
fn answers_have_the_fields_their_readers_need() {
    let health = HealthResponse { version: "1".into(), ok: true, reason: Cause::Unknown };
    assert_eq!(written(&health), json!({"version": "1", "ok": true}));
    let health = HealthResponse { reason: Cause::Tampered, ..health };
    assert_eq!(written(&health), json!({"version": "1", "ok": true, "reason": "tampered"}));
    assert_eq!(written(&ErrorBody { error_msg: "x".into(), reason: Cause::Unknown }), json!({"error_msg": "x"}));
    let gone = ErrorBody { error_msg: "x".into(), reason: Cause::AgentRestarted };
    assert_eq!(written(&gone), json!({"error_msg": "x", "reason": "agent_restarted"}));
    assert_eq!(written(&DestroyResponse::default())["os_stats"]["max_cpu_usage_pct"], json!(0.0));
    let list =
        StepList { steps: vec![StepSummary { state: StepState::Ended, exit_code: Some(0), ..Default::default() }] };
    assert_eq!(written(&list), json!({"steps": [{"state": "ended", "exit_code": 0, "output_bytes": 0}]}));
    assert_eq!(written(&Identity::default()), json!({"in_use": false}));
}

#[test]
fn what_is_written_reads_back_the_same() {
    let request = FilesRequest { base: "/harness".into(), paths: vec!["**/*.xml".into()], max_bytes: 7 };
    assert_eq!(read::<FilesRequest>(written(&request)), request);
}

#[test]
fn a_wrong_type_is_refused_with_its_place() {
    let error = serde_json::from_str::<StartStepRequest>(r#"{"id": 7}"#).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("expected a string"), "{error}");
}
