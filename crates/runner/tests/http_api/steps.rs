//! `/step`: results, repetitions, exported environments.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Runner, World, setup, step, until};

#[tokio::test]
async fn results_of_steps() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let ok = runner.ok("POST", "/step", &step("s1", "ok", "true")).await;
    assert_eq!((ok["exited"].as_bool(), ok.get("exit_code"), ok.get("error")), (Some(true), None, None));
    // For the request, a failing step is a success.
    let failed = runner.ok("POST", "/step", &step("s1", "failed", "exit 3")).await;
    assert_eq!((failed["exited"].as_bool(), failed["exit_code"].as_i64()), (Some(true), Some(3)));
    let secret =
        runner.ok("POST", "/step", &step("s1", "secret", "echo S=made > $HARNESS_OUTPUT_SECRET_FILE; exit 3")).await;
    assert!(!secret.to_string().contains("made"), "{secret}");
    let asked = json!({"id": "secret", "kiln_secrets": true});
    let asked = runner.ok("POST", "/kiln/v1/stages/s1/steps/poll", &asked).await;
    assert_eq!(asked["kiln_secrets"], json!(["made"]));
    let mut outputs =
        step("s1", "outputs", "echo A=1 > \"$DRONE_OUTPUT\"; echo \"B=$FROM_SETUP\" >> \"$DRONE_OUTPUT\"");
    outputs["start_step_request"]["output_vars"] = json!(["A", "B"]);
    let outputs = runner.ok("POST", "/step", &outputs).await;
    assert_eq!(outputs["outputs"], json!({"A": "1", "B": "yes"}));
    // The agent's refusals reach the caller.
    let (status, refused) = runner.json("POST", "/step", &json!({
        "stage_runtime_id": "s1", "start_step_request": {"id": "container", "image": "alpine", "run": {"commands": ["x"]}}
    })).await;
    let told = if status == 200 { refused["error"].as_str() } else { refused["error_msg"].as_str() };
    assert!(told.is_some_and(|told| told.contains("container") || told.contains("image")), "{status} {refused}");
    runner.end().await;
}

#[tokio::test]
async fn the_stage_may_be_named_in_either_place_but_must_be_one() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let mut inner = step("s1", "inner", "true");
    inner.as_object_mut().expect("an object").remove("stage_runtime_id");
    inner["start_step_request"]["stage_runtime_id"] = json!("s1");
    inner["instance_id"] = json!(instance);
    inner["ip_address"] = json!("203.0.113.9");
    // There it selects the original agent's other mode. The answer still comes once the step has ended.
    assert_eq!(runner.ok("POST", "/step", &inner).await["exited"], true);
    inner["stage_runtime_id"] = json!("s2");
    let (status, refused) = runner.json("POST", "/step", &inner).await;
    assert!(status == 400 && refused["error_msg"].as_str().is_some_and(|m| m.contains("name one stage")), "{refused}");
    runner.end().await;
}

#[tokio::test]
async fn a_step_is_run_once_however_often_it_is_asked_for() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let mark = runner.world.dir.path().join("runs");
    let request = step("s1", "once", &format!("echo run >> {}; sleep 0.3; exit 4", mark.display()));
    let (first, second) = (runner.spawn("/step", request.clone()), runner.spawn("/step", request.clone()));
    let (first, second) = (first.await.expect("no panic"), second.await.expect("no panic"));
    assert_eq!((first.0, first.1["exit_code"].as_i64()), (200, Some(4)));
    assert_eq!(first, second);
    let later = runner.json("POST", "/step", &request).await;
    assert_eq!(later, first);
    assert_eq!(std::fs::read_to_string(mark).expect("a file"), "run\n");
    runner.end().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_the_step_running() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let gate = runner.world.dir.path().join("gate");
    let request = step("s1", "long", &format!("while [ ! -e {} ]; do sleep 0.05; done; exit 7", gate.display()));
    let caller = runner.spawn("/step", request.clone());
    until("the step", async || (!runner.world.steps_on(0).is_empty()).then_some(())).await;
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()));
    std::fs::write(gate, "").expect("a file");
    assert_eq!(runner.ok("POST", "/step", &request).await["exit_code"], 7);
    runner.end().await;
}

#[tokio::test]
async fn what_a_step_exports_reaches_later_steps_of_its_stage_alone() {
    let runner = Runner::with_machines(2).await;
    runner.set_up("s1").await;
    runner.set_up("s2").await;
    let ask = async |stage: &str, id: &str, own: Value| {
        let mut request = step(stage, id, "echo SEEN=$EXPORTED > \"$DRONE_OUTPUT\"");
        request["start_step_request"]["output_vars"] = json!(["SEEN"]);
        request["start_step_request"]["environment"] = own;
        let result = runner.ok("POST", "/step", &request).await;
        result["outputs"]["SEEN"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(ask("s1", "before", json!({"EXPORTED": "own"})).await, "own");
    runner.ok("POST", "/step", &step("s1", "first", "echo EXPORTED=one >> \"$DRONE_ENV\"")).await;
    assert_eq!(ask("s1", "after-one", Value::Null).await, "one");
    // As with the incumbent, an export overrides the step's own value, and a later export overrides an earlier one.
    assert_eq!(ask("s1", "outranked", json!({"EXPORTED": "own"})).await, "one");
    runner.ok("POST", "/step", &step("s1", "second", "echo EXPORTED=two >> \"$DRONE_ENV\"")).await;
    assert_eq!(ask("s1", "after-two", Value::Null).await, "two");
    assert_eq!(ask("s2", "elsewhere", Value::Null).await, "");
    runner.end().await;
}

#[tokio::test]
async fn a_stage_that_waits_can_say_why_and_its_steps_are_refused() {
    let runner = Runner::start().await;
    let setup = runner.spawn("/setup", json!({"id": "s1", "pool_id": "broken"}));
    let why = until("a reason", async || {
        let (status, stage) = runner.json("GET", "/kiln/v1/stages/s1", &Value::Null).await;
        (status == 200).then(|| stage["stage"]["why"].as_str().unwrap_or_default().to_owned()).filter(|w| !w.is_empty())
    })
    .await;
    assert!(why.contains("broken"), "{why}");
    let (status, refused) = runner.json("POST", "/step", &step("s1", "early", "true")).await;
    assert!(
        status == 500 && refused["error_msg"].as_str().is_some_and(|m| m.contains("has no instance yet")),
        "{refused}"
    );
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    let (status, ended) = setup.await.expect("no panic");
    assert_eq!((status, ended["cause"]["code"].as_str()), (500, Some("destroyed")));
    runner.end().await;
}

#[tokio::test]
async fn an_instance_whose_agent_refuses_the_setup_ends_and_no_other_is_spent_on_it() {
    let world = World::new();
    world.offer().await;
    let runner = Runner::with(&world, |settings| settings.body_limit_bytes = 64 << 20).await;
    let mut request = setup("s1");
    // This is more than the agent accepts, and less than the runner does.
    request["setup_request"]["envs"]["LARGE"] = json!("x".repeat(17 << 20));
    let (status, refused) = runner.json("POST", "/setup", &request).await;
    assert_eq!((status, refused["cause"]["code"].as_str()), (500, Some("setup_failed")), "{}", refused["error_msg"]);
    assert_eq!(runner.world.driver.launches(), 1);
    runner.end().await;
}

#[tokio::test]
async fn an_agent_that_falls_silent_ends_its_step_but_not_its_instance() {
    let world = World::new();
    world.offer().await;
    let runner = Runner::with(&world, |settings| settings.unreachable_for = Duration::from_secs(1)).await;
    let instance = runner.set_up("s1").await;
    let caller = runner.spawn("/step", step("s1", "long", "sleep 600"));
    until("the step", async || (!world.steps_on(0).is_empty()).then_some(())).await;
    world.silence();
    let (status, answer) = caller.await.expect("no panic");
    let message = answer["error_msg"].as_str().expect("text");
    assert!(status == 500 && message.contains("did not answer /poll_step"), "{status} {message}");
    // Silence alone is no proof that it is gone.
    let row = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
    assert_eq!(row["instance"]["state"], "claimed");
    world.clean().await;
    runner.end().await;
}
