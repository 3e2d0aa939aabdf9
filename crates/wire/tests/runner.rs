//! The runner's messages on the wire.

use kiln_wire::described::{Described, Shape};
use kiln_wire::runner::kiln::{Change, Subject};
use kiln_wire::runner::{ErrorBody, ExecuteVmRequest, SetupVmRequest, SetupVmResponse};
use serde_json::json;

#[test]
fn an_answer_to_a_setup_has_every_field() {
    let written = serde_json::to_string(&SetupVmResponse::default()).expect("JSON");
    let info = concat!(
        r#"{"id":"","name":"","ip_address":"","port":0,"os":"","arch":"","provider":"","pool_name":"","zone":"","#,
        r#""storage_identifier":"","ca_key":"","ca_cert":"","tls_key":"","tls_cert":""}"#
    );
    let expected =
        format!(r#"{{"ip_address":"","instance_id":"","gitspaces_port_mappings":null,"instance_info":{info}}}"#);
    assert_eq!(written, expected);
}

#[test]
fn an_error_has_a_code_only_where_the_incumbent_gives_one() {
    let body = |code| serde_json::to_value(ErrorBody { error_msg: "e".into(), code, cause: None }).expect("JSON");
    assert_eq!(body(0), json!({"error_msg": "e"}));
    assert_eq!(body(500), json!({"error_msg": "e", "code": 500}));
}

#[test]
fn requests_are_read_in_any_case_with_null_anywhere_and_more_fields() {
    let read =
        |value: serde_json::Value| serde_json::from_str::<SetupVmRequest>(&value.to_string()).expect("a request");
    let request =
        read(json!({"ID": "s", "Pool_ID": "p", "TAGS": {"accountID": "a", "b": null}, "context": null, "x": [1]}));
    assert_eq!((request.id.as_str(), request.pool_id.as_str()), ("s", "p"));
    assert_eq!(request.tags["accountID"], "a");
    assert_eq!(request.setup_request, None);
    let request = read(json!({"setup_request": {"timeout": 5}, "fallback_pool_ids": ["a", null]}));
    assert_eq!(request.setup_request.expect("nested").timeout, 5);
    assert_eq!(request.fallback_pool_ids, ["a", ""]);
    let step: ExecuteVmRequest = serde_json::from_str(r#"{"Start_Step_Request":{"Id":"a"}}"#).expect("a request");
    assert_eq!(step.start_step_request.id, "a");
}

#[test]
fn messages_describe_themselves() {
    let Shape::Message { name, about, fields } = Change::SHAPE else { panic!("a message") };
    assert_eq!((name, about.trim()), ("Change", "A change of an instance or a stage."));
    let told: Vec<_> = fields.iter().map(|f| (f.name, f.ty, f.always)).collect();
    assert_eq!(told[1..4], [("at_unix_ms", "i64", true), ("subject", "Subject", true), ("id", "String", true)]);
    let Shape::Words { words, .. } = Subject::SHAPE else { panic!("words") };
    assert_eq!(words, ["instance", "stage"]);
    let Shape::Message { fields, .. } = ErrorBody::SHAPE else { panic!("a message") };
    assert_eq!(fields.iter().map(|f| f.always).collect::<Vec<_>>(), [true, false, false]);
}
