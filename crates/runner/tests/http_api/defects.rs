//! The incumbent's defects that appear at its API, by their number in our study of it. None of them is here.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Runner, World, setup, step, until};

/// Time limit of answers that must not wait for anything.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn state_of(runner: &Runner, instance: &str) -> String {
    let row = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
    row["instance"]["state"].as_str().expect("a state").to_owned()
}

/// Starts a stage whose caller leaves before there is a machine. The first launch has no agent and is ended; the next
/// one has one.
async fn abandon_setup(runner: &Runner, stage: &str) {
    let caller = runner.spawn("/setup", setup(stage));
    until("the demand", async || runner.engine.store().stage(&stage.into()).await.expect("a store")).await;
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()));
    let first = until("the first instance", async || {
        let rows = runner.ok("GET", "/kiln/v1/instances", &Value::Null).await;
        let rows = rows["instances"].as_array().expect("rows").clone();
        rows.iter().find(|row| row["state"] == "booting").map(|row| row["id"].as_str().expect("an id").to_owned())
    })
    .await;
    runner.world.offer().await;
    runner.ok("DELETE", &format!("/kiln/v1/instances/{first}"), &Value::Null).await;
}

/// In the incumbent, a caller that left during `/setup` left an unknown machine behind.
#[tokio::test]
async fn defect_02_a_setup_without_its_caller_goes_on_and_is_found_again() {
    let runner = Runner::start().await;
    abandon_setup(&runner, "s1").await;
    let instance = until("the set-up", async || {
        let prepared = runner.world.is_in_use(0);
        let row = runner.ok("GET", "/kiln/v1/stages/s1", &Value::Null).await;
        assert_eq!(row["stage"]["set_up"], false, "nobody was there to be told");
        prepared.then(|| row["stage"]["instance"].as_str().expect("an id").to_owned())
    })
    .await;
    assert_eq!(runner.set_up("s1").await, instance);
    assert_eq!(runner.ok("GET", "/kiln/v1/stages/s1", &Value::Null).await["stage"]["set_up"], true);
    assert_eq!(runner.world.driver.launches(), 2);
    runner.end().await;
}

/// A machine that nobody comes back for is not kept for a day either.
#[tokio::test]
async fn defect_02_a_stage_whose_callers_all_went_ends() {
    let runner = Runner::start().await;
    abandon_setup(&runner, "s1").await;
    until("the set-up", async || runner.world.is_in_use(0).then_some(())).await;
    let mut config = (*runner.engine.config()).clone();
    config.timing.unattended_after_ms = 0;
    runner.engine.set_config(config);
    let cause = until("the end", async || {
        let row = runner.ok("GET", "/kiln/v1/stages/s1", &Value::Null).await;
        row["stage"]["cause"]["code"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(cause, "unattended");
    runner.end().await;
}

/// The incumbent repeated a failed cloud call by looking the machine up where it no longer was.
#[tokio::test]
async fn defect_03_destroy_is_retried_until_it_succeeds() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    runner.world.failing_destroys.store(2, Ordering::SeqCst);
    let began = Instant::now();
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    assert!(began.elapsed() < AT_ONCE);
    until("the end of the instance", async || (state_of(&runner, &instance).await == "gone").then_some(())).await;
    assert_eq!(runner.world.failing_destroys.load(Ordering::SeqCst), 0);
    runner.end().await;
}

/// In the incumbent, destroying an unknown stage took ten minutes and failed.
#[tokio::test]
async fn defect_03_destroying_an_unknown_stage_is_quick() {
    let runner = Runner::start().await;
    let began = Instant::now();
    runner.ok("POST", "/destroy", &json!({"stage_runtime_id": "unknown"})).await;
    assert!(began.elapsed() < AT_ONCE);
    runner.end().await;
}

/// In the incumbent, `/step` waited for ten hours when the machine was gone.
#[tokio::test]
async fn defect_04_step_ends_promptly_when_the_vm_dies() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let request = step("s1", "long", "sleep 600");
    let caller = runner.spawn("/step", request.clone());
    until("the step", async || (!runner.world.steps_on(0).is_empty()).then_some(())).await;
    let began = Instant::now();
    runner.world.crash(&instance, "the kernel panicked");
    let (status, answer) = caller.await.expect("no panic");
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert_eq!((status, answer["code"].as_i64(), answer["cause"]["code"].as_str()), (500, Some(500), Some("died")));
    let message = answer["error_msg"].as_str().expect("text");
    assert!(message.contains("step long of stage s1") && message.contains(&instance), "{message}");
    let evidence = answer["cause"]["evidence"].as_str().expect("text");
    assert!(evidence.contains(&format!("console of {instance}")), "{evidence}");
    // A repeated request gets this answer at once.
    let began = Instant::now();
    let (status, again) = runner.json("POST", "/step", &request).await;
    assert_eq!((status, again["cause"]["code"].as_str()), (500, Some("died")));
    assert!(began.elapsed() < AT_ONCE);
    runner.world.clean().await;
    runner.end().await;
}

/// The same holds when the stage ends on purpose during its step. In the incumbent a step could not be cancelled.
#[tokio::test]
async fn defect_04_step_ends_when_its_stage_is_cancelled() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let caller = runner.spawn("/step", step("s1", "long", "sleep 600"));
    until("the step", async || (!runner.world.steps_on(0).is_empty()).then_some(())).await;
    let stage = runner.ok("POST", "/kiln/v1/stages/s1/cancel", &json!({"reason": "a newer build"})).await;
    assert_eq!(stage["cause"], json!({"code": "cancelled", "evidence": "a newer build"}));
    let (status, answer) = caller.await.expect("no panic");
    assert_eq!((status, answer["cause"]["code"].as_str()), (500, Some("cancelled")));
    runner.world.clean().await;
    runner.end().await;
}

/// In the incumbent, a repeated `/setup` made a second machine, and `/destroy` ended only one of them.
#[tokio::test]
async fn defect_06_setup_is_idempotent() {
    let runner = Runner::with_machines(2).await;
    let callers: Vec<_> = (0..5).map(|_| runner.spawn("/setup", setup("s1"))).collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.expect("no panic"));
    }
    assert!(answers.iter().all(|answer| answer.0 == 200 && *answer == answers[0]), "{answers:?}");
    assert_eq!(runner.json("POST", "/setup", &setup("s1")).await, answers[0]);
    assert_eq!(runner.world.driver.launches(), 1);
    // A restart does not change that.
    let runner = runner.restart().await;
    assert_eq!(runner.json("POST", "/setup", &setup("s1")).await, answers[0]);
    let rows = runner.ok("GET", "/kiln/v1/instances", &Value::Null).await;
    assert_eq!(rows["instances"].as_array().map(Vec::len), Some(1));
    runner.end().await;
}

/// The incumbent sent keys in answers, and a caller that named any instance could run anything on it.
#[tokio::test]
async fn defect_07_no_keys_in_answers_and_no_foreign_instance() {
    let runner = Runner::with_machines(2).await;
    let answer = runner.ok("POST", "/setup", &setup("mine")).await;
    let foreign = runner.set_up("foreign").await;
    let mut request = step("mine", "a", "true");
    request["instance_id"] = json!(foreign);
    let (status, refused) = runner.json("POST", "/step", &request).await;
    assert_eq!(
        (status, refused["error_msg"].as_str()),
        (400, Some(format!("instance {foreign} does not serve stage mine").as_str()))
    );
    // The runner does not connect to another machine that the request describes completely.
    request["instance_id"] = json!("");
    request["ip_address"] = json!("203.0.113.9");
    request["instance_info"] = answer["instance_info"].clone();
    request["instance_info"]["ip_address"] = json!("203.0.113.9");
    request["instance_info"]["ca_key"] = json!("a2V5");
    request["instance_info"]["tls_key"] = json!("a2V5");
    assert_eq!(runner.ok("POST", "/step", &request).await["exited"], true);
    assert_eq!((runner.world.steps_on(0).len(), runner.world.steps_on(1).len()), (1, 0));
    let mine = answer["instance_id"].as_str().expect("an id");
    for (verb, path) in [
        ("POST", "/setup".to_owned()),
        ("GET", "/kiln/v1/instances?all".to_owned()),
        ("GET", format!("/kiln/v1/instances/{mine}")),
        ("GET", "/kiln/v1/pools".to_owned()),
    ] {
        let body = if verb == "POST" { setup("mine") } else { Value::Null };
        let text = runner.ok(verb, &path, &body).await.to_string();
        // `PRIVATE KEY`, as text and at each of the three offsets of base64.
        for key in ["PRIVATE KEY", "UFJJVkFURSBLRV", "BSSVZBVEUgS0VZ", "QUklWQVRFIEtFW"] {
            assert!(!text.contains(key), "{path}: {text}");
        }
    }
    runner.end().await;
}

/// In the incumbent, a restart of the runner ended busy machines and cut requests.
#[tokio::test]
async fn defect_11_a_restart_of_the_runner_does_not_end_a_running_step() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let gate = runner.world.dir.path().join("gate");
    let request = step("s1", "long", &format!("while [ ! -e {} ]; do sleep 0.05; done; exit 7", gate.display()));
    let caller = runner.spawn("/step", request.clone());
    until("the step", async || (!runner.world.steps_on(0).is_empty()).then_some(())).await;
    let runner = runner.restart().await;
    // The request was cut when its drain time was over.
    assert!(caller.await.is_err_and(|error| error.is_panic()));
    let caller = runner.spawn("/step", request);
    std::fs::write(gate, "").expect("a file");
    let (status, answer) = caller.await.expect("no panic");
    assert_eq!((status, answer["exit_code"].as_i64()), (200, Some(7)));
    runner.end().await;
}

/// In the incumbent, the account became `free` if the pool's name contained that word.
#[tokio::test]
async fn defect_19_the_account_is_the_one_of_the_request() {
    let runner = Runner::start().await;
    let request = json!({"id": "s1", "pool_id": "broken", "tags": {"accountID": "tag", "freeCI": "true"},
        "context": {"account_id": "acme", "is_free_account": true}});
    let caller = runner.spawn("/setup", request);
    let stage = until("the stage", async || {
        let (status, stage) = runner.json("GET", "/kiln/v1/stages/s1", &Value::Null).await;
        (status == 200).then_some(stage)
    })
    .await;
    assert_eq!(stage["stage"]["account"], "acme");
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    assert_eq!(caller.await.expect("no panic").0, 500);
    runner.end().await;
}

/// In the incumbent, exported variables were in one process's memory, and another replica or a restart lost them.
#[tokio::test]
async fn defect_22_exported_environment_survives_a_restart() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    runner.ok("POST", "/step", &step("s1", "one", "echo A=1 >> \"$DRONE_ENV\"; echo B=old >> \"$DRONE_ENV\"")).await;
    runner.ok("POST", "/step", &step("s1", "two", "echo B=new >> \"$DRONE_ENV\"")).await;
    let runner = runner.restart().await;
    let mut show = step("s1", "show", "echo SEEN=$A-$B > \"$DRONE_OUTPUT\"");
    show["start_step_request"]["output_vars"] = json!(["SEEN"]);
    assert_eq!(runner.ok("POST", "/step", &show).await["outputs"]["SEEN"], "1-new");
    runner.end().await;
}

/// A writer that keeps everything.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// In the incumbent, requests were logged with their secrets.
#[tokio::test]
async fn defect_23_no_secret_is_logged() {
    let log = Kept::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // With only one subscriber, an event that a thread of another test logs first would count as disabled here too.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // This test's runtime has one thread, so this captures everything.
    let _logging = tracing::subscriber::set_default(subscriber);
    let runner = Runner::with_machines(1).await;
    let mut request = setup("s1");
    request["setup_request"]["secrets"] = json!(["hunter2-masked"]);
    request["setup_request"]["envs"]["PASSWORD"] = json!("hunter2-setup");
    runner.ok("POST", "/setup", &request).await;
    let mut request =
        step("s1", "a", "echo KEY=hunter2-output > \"$DRONE_OUTPUT\"; echo K=hunter2-env > \"$DRONE_ENV\"");
    request["start_step_request"]["environment"] = json!({"TOKEN": "hunter2-step"});
    request["start_step_request"]["output_vars"] = json!(["KEY"]);
    assert_eq!(runner.ok("POST", "/step", &request).await["outputs"]["KEY"], "hunter2-output");
    let answer = runner.send("POST", "/step?token=hunter2-query", "{\"hunter2-broken").await;
    assert_eq!(answer.status(), 400);
    let mistyped =
        json!({"stage_runtime_id": "s1", "start_step_request": {"id": "b", "environment": "hunter2-mistyped"}});
    assert_eq!(runner.json("POST", "/step", &mistyped).await.0, 400);
    runner.end().await;
    let log = String::from_utf8_lossy(&log.0.lock().expect("lock")).into_owned();
    assert!(log.contains("/setup"), "the requests themselves are logged");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("hunter2")).collect();
    assert!(told.is_empty(), "{told:#?}");
    assert!(!log.contains("PRIVATE KEY"));
}

/// In the incumbent, a lookup that found nothing without failing was answered with `null`, as a success.
#[tokio::test]
async fn defect_24_no_success_without_a_result() {
    let runner = Runner::start().await;
    let caller = runner.spawn("/setup", json!({"id": "waiting", "pool_id": "broken"}));
    until("the demand", async || runner.engine.store().stage(&"waiting".into()).await.expect("a store")).await;
    for stage in ["unknown", "waiting"] {
        for (path, body) in [("/step", step(stage, "a", "true")), ("/suspend", json!({"stage_runtime_id": stage}))] {
            let (status, answer) = runner.json("POST", path, &body).await;
            assert!(status >= 400 && answer["error_msg"].is_string(), "{path} {stage}: {status} {answer}");
        }
        let path = format!("/kiln/v1/stages/{stage}/steps");
        let (status, answer) = runner.json("GET", &path, &Value::Null).await;
        assert!(status >= 400 && answer["error_msg"].is_string(), "{path}: {status} {answer}");
    }
    runner.ok("POST", "/destroy", &json!({"id": "waiting"})).await;
    assert_eq!(caller.await.expect("no panic").0, 500);
    runner.end().await;
}

/// In the incumbent, the API was only available after the pools were built, so health checks were refused for minutes.
#[tokio::test]
async fn health_answers_before_the_pools_are_built() {
    let world = World::new();
    let runner = Runner::with(&world, |_| {}).await;
    // The process answers, however far the engine is.
    assert_eq!(runner.send("GET", "/healthz", "").await.text().await.expect("a body"), "OK");
    runner.end().await;
}
