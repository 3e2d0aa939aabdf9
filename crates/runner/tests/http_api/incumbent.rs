//! The incumbent's routes: their requests and their answers, to the letter.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::rig::{Runner, World, setup, step, until};

/// Returns status, content type and body of an answer.
async fn told(runner: &Runner, verb: &str, path: &str, body: &str) -> (u16, String, String) {
    let answer = runner.send(verb, path, body).await;
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
    (answer.status().as_u16(), kind.unwrap_or_default(), answer.text().await.expect("a body"))
}

const LINE: &str = "application/json; charset=utf-8";
const PAGE: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

#[tokio::test]
async fn refusals_have_the_form_and_words_of_the_incumbent() {
    let runner = Runner::start().await;
    let page = |code: u16, message: &str| {
        (code, PAGE, format!("{{\n  \"error_msg\": \"{message}\",\n  \"code\": {code}\n}}\n"))
    };
    let line = |code: u16, message: &str| (code, LINE, format!("{{\"error_msg\":\"{message}\"}}\n"));
    let empty = |field: &str| page(400, &format!("mandatory field '{field}' in the request body is empty"));
    let bad_info = |field: &str| page(400, &format!("invalid instance info: field \\\"{field}\\\" is not populated"));
    let cases = [
        ("POST", "/setup", "", line(400, "EOF")),
        ("POST", "/setup", "{", line(400, "the request is not valid: EOF while parsing an object at line 1 column 1")),
        ("POST", "/setup", "null", empty("id")),
        ("POST", "/setup", "{}", empty("id")),
        ("POST", "/setup", r#"{"id":"s"}"#, empty("pool_id")),
        (
            "POST",
            "/setup",
            r#"{"id":"s","pool_id":"nowhere"}"#,
            page(500, "there is no pool `nowhere`; there are: broken, other, ubuntu"),
        ),
        ("POST", "/step", "{}", page(400, "either parameter 'id' or 'ip_address' must be provided")),
        ("POST", "/step", r#"{"ip_address":"10.0.0.1"}"#, empty("start_step_request.id")),
        ("POST", "/step", r#"{"start_step_request":{"id":"a"}}"#, empty("stage_runtime_id")),
        (
            "POST",
            "/step",
            r#"{"stage_runtime_id":"s","start_step_request":{"id":"a"}}"#,
            page(500, "there is no stage s; set it up first"),
        ),
        ("POST", "/destroy", "{}", empty("stage_runtime_id")),
        ("POST", "/suspend", "{}", empty("stage_runtime_id")),
        ("POST", "/suspend", r#"{"stage_runtime_id":"s"}"#, bad_info("id")),
        (
            "POST",
            "/suspend",
            r#"{"stage_runtime_id":"s","instance_info":{"id":"i","name":"i","ip_address":"1.2.3.4"}}"#,
            bad_info("port"),
        ),
        ("POST", "/pool_owner", "", line(400, "mandatory URL parameter 'pool' is missing")),
        ("POST", "/pool_owner?pool=", "", line(400, "mandatory URL parameter 'pool' is missing")),
    ];
    for (verb, path, body, (status, kind, text)) in cases {
        assert_eq!(told(&runner, verb, path, body).await, (status, kind.to_owned(), text), "{verb} {path} {body}");
    }
    runner.end().await;
}

#[tokio::test]
async fn answers_that_are_not_json() {
    let runner = Runner::start().await;
    let cases = [
        ("GET", "/healthz", "", (200, TEXT, "OK")),
        ("GET", "/nowhere", "", (404, TEXT, "404 page not found\n")),
        ("POST", "/setup/", "{}", (404, TEXT, "404 page not found\n")),
        ("GET", "/setup", "", (405, "", "")),
        ("POST", "/healthz", "", (405, "", "")),
        ("POST", "/destroy", r#"{"id":"unknown"}"#, (200, "", "")),
    ];
    for (verb, path, body, (status, kind, text)) in cases {
        let expected = (status, kind.to_owned(), text.to_owned());
        assert_eq!(told(&runner, verb, path, body).await, expected, "{verb} {path}");
    }
    // Metrics answer to any verb, and below their path.
    for (verb, path) in [("GET", "/metrics"), ("POST", "/metrics"), ("GET", "/metrics/below")] {
        let (status, kind, text) = told(&runner, verb, path, "").await;
        assert_eq!((status, kind.split(';').next()), (200, Some("application/openmetrics-text")), "{verb} {path}");
        assert!(text.ends_with("# EOF\n"));
    }
    runner.end().await;
}

#[tokio::test]
async fn refusals_of_the_service_are_not_to_be_cached() {
    let runner = Runner::start().await;
    let answer = runner.send("POST", "/setup", "{}").await;
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    let expected = [
        ("expires", "Thu, 01 Jan 1970 00:00:00 UTC"),
        ("cache-control", "no-cache, private, max-age=0"),
        ("pragma", "no-cache"),
        ("x-accel-expires", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(header(name).as_deref(), Some(value), "{name}");
    }
    let answer = runner.send("POST", "/setup", "").await;
    assert_eq!(answer.headers().get("cache-control"), None);
    runner.end().await;
}

#[tokio::test]
async fn a_setup_answers_with_every_field() {
    let runner = Runner::with_machines(1).await;
    let answer = runner.send("POST", "/setup", &setup("s1").to_string()).await;
    assert_eq!(answer.headers()["content-type"], LINE);
    let text = answer.text().await.expect("a body");
    assert!(text.ends_with("}\n") && !text.trim_end().contains('\n'), "one line: {text}");
    let mut answer: Value = serde_json::from_str(&text).expect("JSON");
    let info = answer["instance_info"].as_object_mut().expect("an object");
    let ca = info.remove("ca_cert").expect("a certificate");
    assert!(
        ca.as_str().expect("text").starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS"),
        "base64 of a PEM certificate: {ca}"
    );
    assert!(info.remove("port").and_then(|port| port.as_i64()).is_some_and(|port| port > 0));
    let id = answer["instance_id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("kiln-"), "{id}");
    let expected = json!({
        "ip_address": "127.0.0.2", "instance_id": id, "gitspaces_port_mappings": null,
        "instance_info": {
            "id": id, "name": id, "ip_address": "127.0.0.2", "os": "linux", "arch": "amd64", "provider": "fake",
            "pool_name": "ubuntu", "zone": "", "storage_identifier": "", "ca_key": "", "tls_key": "", "tls_cert": ""
        }
    });
    assert_eq!(answer, expected);
    // The fields are in order, and a missing map is `null`.
    assert!(text.starts_with("{\"ip_address\":\"127.0.0.2\",\"instance_id\":"), "{text}");
    assert!(text.contains("\"gitspaces_port_mappings\":null,\"instance_info\":{\"id\":"), "{text}");
    runner.end().await;
}

/// Returns the environment of a step in a stage that this request sets up.
async fn environment_after(request: Value) -> String {
    let runner = Runner::with_machines(1).await;
    let (status, answer) = runner.json("POST", "/setup", &request).await;
    assert_eq!(status, 200, "{request}: {answer}");
    let mut show = step("s1", "show", "echo VALUE=$VALUE > \"$DRONE_OUTPUT\"");
    show["start_step_request"]["output_vars"] = json!(["VALUE"]);
    let result = runner.ok("POST", "/step", &show).await;
    runner.end().await;
    result["outputs"]["VALUE"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn requests_are_read_as_loosely_as_by_the_incumbent() {
    let nested = json!({"id": "s1", "pool_id": "ubuntu", "setup_request": {"envs": {"VALUE": "v"}}});
    let flat = json!({"id": "s1", "pool_id": "ubuntu", "envs": {"VALUE": "v"}});
    let any_case = json!({"ID": "s1", "Pool_Id": "ubuntu", "SETUP_REQUEST": {"Envs": {"VALUE": "v"}, "future": [1]}});
    let nulls = json!({
        "id": "s1", "pool_id": "ubuntu", "fallback_pool_ids": null, "tags": null, "context": null, "zone": null,
        "storage_config": null, "timeout": null, "gitspace_agent_config": null, "instance_info": null,
        "setup_request": {"envs": {"VALUE": "v"}, "secrets": null, "network": null, "files": null, "volumes": [null]},
        "vm_image_config": null, "is_marked_for_infra_reset": null
    });
    for request in [nested, flat, any_case, nulls] {
        assert_eq!(environment_after(request.clone()).await, "v", "{request}");
    }
    // Anything after the first value is ignored.
    let runner = Runner::start().await;
    let answer = runner.send("POST", "/destroy", "{\"id\":\"s1\"} {\"id\":").await;
    assert_eq!(answer.status(), 200);
    runner.end().await;
}

#[tokio::test]
async fn what_is_not_carried_out_is_refused() {
    let runner = Runner::start().await;
    let cases = [
        ("gitspace_agent_config.ports", json!({"gitspace_agent_config": {"ports": [8080]}})),
        ("gitspace_agent_config.vm_init_script", json!({"gitspace_agent_config": {"vm_init_script": "ZQ=="}})),
        ("storage_config", json!({"storage_config": {"size": "10"}})),
        ("is_marked_for_infra_reset", json!({"is_marked_for_infra_reset": true})),
        ("skip_cloud_vm_cleanup", json!({"skip_cloud_vm_cleanup": true})),
        ("instance_info", json!({"instance_info": {"id": "i-1"}})),
        ("timeout", json!({"timeout": -1})),
    ];
    for (field, more) in cases {
        let mut request = setup("s1");
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (status, answer) = runner.json("POST", "/setup", &request).await;
        let message = answer["error_msg"].as_str().unwrap_or_default();
        assert!(status == 400 && message.starts_with(&format!("`{field}`")), "{field}: {status} {message}");
    }
    assert_eq!(runner.ok("GET", "/kiln/v1/stages?all", &Value::Null).await, json!({"stages": []}));
    runner.end().await;
}

#[tokio::test]
async fn the_pool_follows_from_fallbacks_class_and_account() {
    let world = World::new();
    world.offer().await;
    let runner = Runner::with(&world, |settings| settings.fallback_pools = vec!["other".into()]).await;
    runner.engine.drain("ubuntu", true).await.expect("drained");
    let request = json!({"id": "s1", "pool_id": "ubuntu", "resource_class": "large", "timeout": 45000,
        "tags": {"accountID": "acme"}, "setup_request": {"timeout": 600}});
    let answer = runner.ok("POST", "/setup", &request).await;
    assert_eq!(answer["instance_info"]["pool_name"], "other");
    let stage = runner.ok("GET", "/kiln/v1/stages/s1", &Value::Null).await["stage"].clone();
    let at = |name: &str| stage[name].as_i64().expect("a time");
    assert_eq!((stage["account"].as_str(), stage["pool"].as_str()), (Some("acme"), Some("ubuntu")));
    assert_eq!(at("wait_until_unix_ms") - at("created_unix_ms"), 45_000);
    assert_eq!(at("deadline_unix_ms") - at("assigned_unix_ms"), 600_000);
    let instance = runner.ok("GET", "/kiln/v1/instances", &Value::Null).await["instances"][0].clone();
    assert_eq!(instance["flavor"], "other/large");
    // The fallback is counted, and no address is a label.
    let metrics = runner.send("GET", "/metrics", "").await.text().await.expect("metrics");
    let counted = metrics.lines().find(|l| l.starts_with("harness_ci_pipeline_pool_fallbacks{")).expect("the metric");
    assert!(counted.contains("owner_id=\"acme\"") && counted.ends_with(" 1"), "{counted}");
    assert!(!metrics.contains("127.0.0.2"), "{metrics}");
    for name in [
        "harness_ci_pipeline_execution_total",
        "harness_ci_runner_wait_duration_seconds_count",
        "harness_ci_runner_total_vm_init_duration_seconds_bucket",
        "harness_ci_pipeline_running_executions",
        "harness_ci_pipeline_warm_pool_executions",
        "harness_ci_pipeline_per_account_running_executions",
        "kiln_instances",
        "kiln_waiting_stages",
        "kiln_claim_seconds_count",
        "kiln_boot_seconds_count",
        "kiln_actions_total",
        "runner_vm_init_attempts_total",
        "runner_vms_current",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(&format!("{name}{{"))), "{name} is missing in {metrics}");
    }
    runner.end().await;
}

#[tokio::test]
async fn times_beyond_reason_are_cut() {
    let runner = Runner::with_machines(1).await;
    let most = i64::MAX;
    let request = json!({"id": "s1", "pool_id": "ubuntu", "timeout": most, "setup_request": {"timeout": most}});
    runner.ok("POST", "/setup", &request).await;
    let stage = runner.ok("GET", "/kiln/v1/stages/s1", &Value::Null).await["stage"].clone();
    let at = |name: &str| stage[name].as_i64().expect("a time");
    assert_eq!(at("wait_until_unix_ms") - at("created_unix_ms"), 24 * 3_600_000);
    assert_eq!(at("deadline_unix_ms") - at("assigned_unix_ms"), 30 * 24 * 3_600_000);
    runner.end().await;
}

#[tokio::test]
async fn owners_of_pools() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s 1").await;
    let check = async |query: &str, owner: bool| {
        let (status, kind, text) = told(&runner, "POST", &format!("/pool_owner?{query}"), "").await;
        assert_eq!((status, kind.as_str(), text), (200, LINE, format!("{{\"owner\":{owner}}}\n")), "{query}");
    };
    check("pool=ubuntu", true).await;
    check("pool=nowhere", false).await;
    check("stageId=s%201&pool=ubuntu", true).await;
    check("stageId=s+1&pool=ubuntu", true).await;
    check("stageId=s%201&pool=other", false).await;
    check("stageId=unknown&pool=ubuntu", false).await;
    runner.ok("POST", "/destroy", &json!({"id": "s 1"})).await;
    check("stageId=s%201&pool=ubuntu", false).await;
    runner.end().await;
}

#[tokio::test]
async fn a_stage_is_destroyed_by_either_name_and_as_often_as_asked() {
    let runner = Runner::with_machines(2).await;
    for (stage, field) in [("s1", "id"), ("s2", "stage_runtime_id")] {
        let instance = runner.set_up(stage).await;
        for _ in 0..2 {
            let answer =
                runner.send("POST", "/destroy", &json!({field: stage, "instance_id": "whatever"}).to_string()).await;
            assert_eq!((answer.status().as_u16(), answer.text().await.expect("a body").as_str()), (200, ""));
        }
        let row = runner.ok("GET", &format!("/kiln/v1/stages/{stage}"), &Value::Null).await;
        assert_eq!(
            (row["stage"]["state"].as_str(), row["stage"]["cause"]["code"].as_str()),
            (Some("ended"), Some("destroyed"))
        );
        until("the end of the instance", async || {
            let row = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
            (row["instance"]["state"] == "gone").then_some(())
        })
        .await;
    }
    let (status, answer) = runner.json("POST", "/step", &step("s1", "late", "true")).await;
    assert_eq!((status, answer["cause"]["code"].as_str()), (500, Some("destroyed")));
    let (status, answer) = runner.json("POST", "/setup", &setup("s1")).await;
    assert_eq!((status, answer["cause"]["code"].as_str()), (500, Some("destroyed")));
    runner.end().await;
}

#[tokio::test]
async fn a_suspension_is_checked_and_then_refused() {
    let runner = Runner::with_machines(1).await;
    let answer = runner.ok("POST", "/setup", &setup("s1")).await;
    let request = json!({"pool_id": "ubuntu", "stage_runtime_id": "s1", "instance_info": answer["instance_info"]});
    let (status, refused) = runner.json("POST", "/suspend", &request).await;
    assert_eq!(status, 500);
    assert!(refused["error_msg"].as_str().expect("text").contains("cannot be put to sleep"), "{refused}");
    // The instance is unharmed.
    runner.ok("POST", "/step", &step("s1", "a", "true")).await;
    runner.end().await;
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let runner = Runner::with(&World::new(), |settings| settings.body_limit_bytes = 1000).await;
    let large = json!({"id": "x".repeat(2000)}).to_string();
    for path in ["/setup", "/step", "/destroy", "/suspend", "/kiln/v1/stages/s/steps", "/kiln/v1/stages/s/cancel"] {
        let (status, kind, text) = told(&runner, "POST", path, &large).await;
        let expected = "{\"error_msg\":\"the request breaks off, or is larger than 1000 bytes\"}\n";
        assert_eq!((status, kind.as_str(), text.as_str()), (413, LINE, expected), "{path}");
    }
    runner.end().await;
}

#[tokio::test]
async fn a_stage_that_finds_no_instance_ends_with_the_reason() {
    let runner = Runner::start().await;
    let request = json!({"id": "s1", "pool_id": "broken", "timeout": 1500});
    let (status, answer) = runner.json("POST", "/setup", &request).await;
    assert_eq!(
        (status, answer["code"].as_i64(), answer["cause"]["code"].as_str()),
        (500, Some(500), Some("no_capacity"))
    );
    assert!(answer["error_msg"].as_str().expect("text").contains("there is no image `missing`"), "{answer}");
    // The answer is the same, and there is no second demand.
    assert_eq!(runner.json("POST", "/setup", &request).await, (status, answer));
    runner.end().await;
}

#[tokio::test]
async fn health_tells_what_is_up() {
    let runner = Runner::start().await;
    let report = until("the first pass", async || {
        let report = runner.ok("GET", "/healthz?verbose", &Value::Null).await;
        (report["ready"] == true).then_some(report)
    })
    .await;
    assert_eq!(report["drivers"], json!([{"name": "fake", "ok": true}]));
    Arc::clone(&runner.health).note_failed_pass("the disk is full");
    let text = runner.send("GET", "/healthz", "").await.text().await.expect("a body");
    assert_eq!(text, "OK");
    runner.end().await;
}
