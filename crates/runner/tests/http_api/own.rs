//! The routes under `/kiln/v1/`.

use futures::StreamExt as _;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::rig::{PATIENCE, Runner, setup, step, until};

#[tokio::test]
async fn pools_instances_and_stages_are_shown() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let pools = runner.ok("GET", "/kiln/v1/pools", &Value::Null).await;
    let names: Vec<_> = pools["pools"].as_array().expect("a list").iter().map(|pool| &pool["name"]).collect();
    assert_eq!(names, ["broken", "other", "ubuntu"]);
    let ubuntu = &pools["pools"][2];
    let numbers = ["limit", "starting", "ready", "claimed", "terminating", "waiting"].map(|name| ubuntu[name].as_i64());
    assert_eq!(numbers, [3, 0, 0, 1, 0, 0].map(Some));
    assert_eq!(ubuntu["flavors"][1]["key"], "ubuntu/large");
    for (query, expected) in
        [("", 1), ("?state=claimed", 1), ("?state=ready", 0), ("?pool=other", 0), ("?all&pool=ubuntu", 1)]
    {
        let rows = runner.ok("GET", &format!("/kiln/v1/instances{query}"), &Value::Null).await;
        assert_eq!(rows["instances"].as_array().map(Vec::len), Some(expected), "{query}");
    }
    let shown = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
    let states: Vec<_> = shown["timeline"].as_array().expect("a list").iter().map(|c| c["state"].clone()).collect();
    assert_eq!(states, ["intended", "launching", "booting", "ready", "claimed"]);
    assert_eq!(shown["instance"]["stage"], "s1");
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    let gone = until("the end", async || {
        let shown = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
        (shown["instance"]["state"] == "gone").then_some(shown)
    })
    .await;
    assert_eq!(gone["instance"]["cause"], json!({"code": "destroyed", "evidence": "its caller destroyed it"}));
    assert_eq!(runner.ok("GET", "/kiln/v1/stages", &Value::Null).await, json!({"stages": []}));
    let all = runner.ok("GET", "/kiln/v1/stages?all", &Value::Null).await;
    assert_eq!(all["stages"][0]["state"], "ended");
    runner.end().await;
}

/// The plan wants instances for waiting stages in addition to the file's warm ones.
#[tokio::test]
async fn pools_show_what_the_latest_pass_wanted() {
    let runner = Runner::start().await;
    let wanted = async || {
        let pools = runner.ok("GET", "/kiln/v1/pools", &Value::Null).await;
        let flavor = pools["pools"][2]["flavors"][0].clone();
        (flavor["key"] == "ubuntu").then_some((flavor["warm"].clone(), flavor["wanted"].clone()))
    };
    let at_rest = (json!(0), json!({"awake": 0, "asleep": 0}));
    until("a pass", async || wanted().await.filter(|seen| *seen == at_rest)).await;
    // No machine was offered, so the pool's stage waits.
    let waiting = runner.spawn("/setup", setup("s1"));
    let demand = (json!(0), json!({"awake": 1, "asleep": 0}));
    until("the demand", async || wanted().await.filter(|seen| *seen == demand)).await;
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    waiting.await.expect("no panic");
    until("an end of it", async || wanted().await.filter(|seen| *seen == at_rest)).await;
    runner.end().await;
}

/// Rows were changed by hand.
#[tokio::test]
async fn rows_that_cannot_be_read_are_shown_beside_the_others() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let mut by_hand = runner.world.database().await;
    by_hand.execute("UPDATE instances SET state = 'odd'").await.expect("a change");
    by_hand.execute("UPDATE stages SET state = 'odd'").await.expect("a change");
    let unreadable = async |path: &str| {
        let rows = runner.ok("GET", path, &Value::Null).await["unreadable"].clone();
        let rows = rows.as_array().into_iter().flatten();
        rows.map(|row| {
            assert!(row["why"].as_str().is_some_and(|why| why.contains("has the state \"odd\"")), "{row}");
            (row["subject"].as_str().expect("a kind").to_owned(), row["id"].as_str().expect("an id").to_owned())
        })
        .collect::<Vec<_>>()
    };
    let (of_instance, of_stage) = (("instance".to_owned(), instance), ("stage".to_owned(), "s1".to_owned()));
    let all = unreadable("/kiln/v1/pools").await;
    assert_eq!(all, [of_instance, of_stage]);
    assert_eq!(unreadable("/kiln/v1/instances?state=ready").await, all[..1]);
    assert_eq!(unreadable("/kiln/v1/stages").await, all[1..]);
    assert_eq!(runner.ok("GET", "/kiln/v1/instances?all", &Value::Null).await["instances"], json!([]));
    by_hand.execute("UPDATE instances SET state = 'claimed'").await.expect("a change");
    by_hand.execute("UPDATE stages SET state = 'assigned'").await.expect("a change");
    let pools = runner.ok("GET", "/kiln/v1/pools", &Value::Null).await;
    assert_eq!((&pools["unreadable"], &pools["pools"][2]["claimed"]), (&Value::Null, &json!(1)));
    runner.end().await;
}

#[tokio::test]
async fn refusals_of_our_own_routes_have_their_own_status() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let long = json!({"seconds": 10_000_000});
    let cases = [
        ("GET", "/kiln/v1/instances/none", Value::Null, 404),
        ("GET", "/kiln/v1/instances?state=lost", Value::Null, 400),
        ("DELETE", "/kiln/v1/instances/none", Value::Null, 404),
        ("POST", "/kiln/v1/instances/none/hold", json!({"seconds": 1}), 404),
        ("POST", "/kiln/v1/instances/none/hold", long, 400),
        ("POST", "/kiln/v1/instances/none/hold", json!({}), 400),
        ("POST", "/kiln/v1/instances/none/release", Value::Null, 404),
        ("POST", "/kiln/v1/pools/none/drain", Value::Null, 404),
        ("GET", "/kiln/v1/stages/none", Value::Null, 404),
        ("POST", "/kiln/v1/stages/none/cancel", Value::Null, 404),
        ("GET", "/kiln/v1/stages/none/steps", Value::Null, 404),
        ("POST", "/kiln/v1/stages/s1/steps/poll", json!({"id": "none"}), 400),
        ("POST", "/kiln/v1/stages/s1/steps/cancel", json!({"id": "none"}), 404),
        ("POST", "/kiln/v1/stages/s1/output", json!({"id": "none", "wait_ms": 0}), 404),
        ("PUT", "/kiln/v1/stages/s1/workspace?path=/x", Value::Null, 415),
        ("PUT", "/kiln/v1/stages/s1/workspace", Value::Null, 400),
        ("GET", "/kiln/v1/events?after=x", Value::Null, 400),
    ];
    for (verb, path, body, expected) in cases {
        let (status, answer) = runner.json(verb, path, &body).await;
        assert_eq!((status, answer["code"].as_u64()), (expected, Some(u64::from(expected))), "{verb} {path}: {answer}");
        assert!(answer["error_msg"].as_str().is_some_and(|message| !message.is_empty()), "{verb} {path}: {answer}");
    }
    runner.end().await;
}

#[tokio::test]
async fn a_held_instance_outlives_its_stage_until_it_is_released() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let at = format!("/kiln/v1/instances/{instance}");
    let held = runner.ok("POST", &format!("{at}/hold"), &json!({"seconds": 600})).await;
    assert!(held["held_until_unix_ms"].as_i64() > held["claimed_unix_ms"].as_i64());
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    runner.engine.pass().await.expect("a pass");
    assert_eq!(runner.ok("GET", &at, &Value::Null).await["instance"]["state"], "claimed");
    // Its stage has ended, so no step runs there any more.
    assert_eq!(runner.json("POST", "/step", &step("s1", "late", "true")).await.0, 500);
    let released = runner.ok("POST", &format!("{at}/release"), &Value::Null).await;
    assert_eq!(released.get("held_until_unix_ms"), None);
    until("its end", async || (runner.ok("GET", &at, &Value::Null).await["instance"]["state"] == "gone").then_some(()))
        .await;
    runner.end().await;
}

#[tokio::test]
async fn an_operator_ends_an_instance_and_drains_a_pool() {
    let runner = Runner::with_machines(1).await;
    let instance = runner.set_up("s1").await;
    let ended = runner.ok("DELETE", &format!("/kiln/v1/instances/{instance}"), &Value::Null).await;
    assert_eq!((ended["state"].as_str(), ended["cause"]["code"].as_str()), (Some("terminating"), Some("operator")));
    until("the end of the stage", async || {
        let stage = runner.ok("GET", "/kiln/v1/stages/s1", &Value::Null).await;
        (stage["stage"]["cause"]["code"] == "operator").then_some(())
    })
    .await;
    assert_eq!(runner.ok("POST", "/kiln/v1/pools/ubuntu/drain", &Value::Null).await["drained"], true);
    assert_eq!(runner.ok("POST", "/kiln/v1/pools/ubuntu/drain", &json!({"drained": false})).await["drained"], false);
    runner.end().await;
}

#[tokio::test]
async fn steps_are_started_followed_and_cancelled() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let start = |id: &str, script: &str| step("s1", id, script)["start_step_request"].clone();
    let gate = runner.world.dir.path().join("gate");
    let script = format!("printf 0123456789; while [ ! -e {} ]; do sleep 0.05; done; printf abc", gate.display());
    assert_eq!(runner.ok("POST", "/kiln/v1/stages/s1/steps", &start("a", &script)).await, json!({}));
    let output = async |body: Value| {
        let answer = runner.send("POST", "/kiln/v1/stages/s1/output", &body.to_string()).await;
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        let headers = ["x-kiln-offset", "x-kiln-length", "x-kiln-ended", "x-kiln-cut"].map(header).join(" ");
        (headers, answer.text().await.expect("a body"))
    };
    until("the output", async || (output(json!({"id": "a", "wait_ms": 10_000})).await.1 == "0123456789").then_some(()))
        .await;
    // It reads the present output from the middle, and then to the end.
    assert_eq!(output(json!({"id": "a", "offset": 4})).await, ("4 10 false false".into(), "456789".into()));
    assert_eq!(output(json!({"id": "a", "offset": 10})).await, ("10 10 false false".into(), String::new()));
    let (status, beyond) = runner.json("POST", "/kiln/v1/stages/s1/output", &json!({"id": "a", "offset": 11})).await;
    assert_eq!(status, 416, "{beyond}");
    let follow =
        runner.http.post(runner.url("/kiln/v1/stages/s1/output")).body(json!({"id": "a", "follow": true}).to_string());
    let follow = tokio::spawn(async move { follow.send().await.expect("an answer").text().await.expect("a body") });
    std::fs::write(gate, "").expect("a file");
    assert_eq!(follow.await.expect("no panic"), "0123456789abc");
    let result = runner.ok("POST", "/kiln/v1/stages/s1/steps/poll", &json!({"id": "a"})).await;
    assert_eq!((result["exited"].as_bool(), result["output_bytes"].as_i64()), (Some(true), Some(13)));
    assert_eq!(output(json!({"id": "a"})).await, ("0 13 true false".into(), "0123456789abc".into()));
    runner.ok("POST", "/kiln/v1/stages/s1/steps", &start("b", "sleep 600")).await;
    runner.ok("POST", "/kiln/v1/stages/s1/steps/cancel", &json!({"id": "b", "reason": "enough", "grace_ms": 0})).await;
    let cancelled = runner.ok("POST", "/kiln/v1/stages/s1/steps/poll", &json!({"id": "b"})).await;
    assert_eq!((cancelled["cause"].as_str(), cancelled["cancel_reason"].as_str()), (Some("cancelled"), Some("enough")));
    let list = runner.ok("GET", "/kiln/v1/stages/s1/steps", &Value::Null).await;
    let states: Vec<_> = list["steps"].as_array().expect("a list").iter().map(|s| (&s["id"], &s["state"])).collect();
    assert_eq!(states, [(&json!("a"), &json!("ended")), (&json!("b"), &json!("ended"))]);
    runner.end().await;
}

#[tokio::test]
async fn a_workspace_goes_there_and_files_come_back() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    archive.append_data(&mut header, "src/a.txt", &b"hello"[..]).expect("an entry");
    let packed = zstd::encode_all(&archive.into_inner().expect("an archive")[..], 0).expect("zstd");
    let to = runner.world.dir.path().join("work space");
    let target = to.to_str().expect("text").replace(' ', "%20");
    let sent = runner.http.put(runner.url(&format!("/kiln/v1/stages/s1/workspace?path={target}")));
    let sent = sent.header("content-encoding", "zstd").body(packed).send().await.expect("an answer");
    let status = sent.status();
    let answer: Value = sent.json().await.expect("JSON");
    assert_eq!((status.as_u16(), answer["bytes"].as_i64()), (200, Some(5)), "{answer}");
    assert_eq!(std::fs::read_to_string(to.join("src/a.txt")).expect("a file"), "hello");
    let request = json!({"base": to, "paths": ["src/*.txt"]});
    let answer = runner.send("POST", "/kiln/v1/stages/s1/files", &request.to_string()).await;
    assert_eq!(
        (&answer.headers()["content-type"], &answer.headers()["content-encoding"]),
        (&"application/x-tar".parse().expect("a value"), &"zstd".parse().expect("a value"))
    );
    let tar = zstd::decode_all(&answer.bytes().await.expect("a body")[..]).expect("zstd");
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<_> = archive
        .entries()
        .expect("entries")
        .map(|e| e.expect("an entry").path().expect("a path").into_owned())
        .collect();
    assert!(names.iter().any(|name| name.ends_with("src/a.txt")), "{names:?}");
    runner.end().await;
}

async fn listen(runner: &Runner, last: Option<&str>) -> reqwest::Response {
    let mut request = runner.http.get(runner.url("/kiln/v1/events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer
}

/// Reads this many events and returns id and data of each.
async fn events(answer: reqwest::Response, count: usize) -> Vec<(String, Value)> {
    let (mut text, mut chunks) = (String::new(), answer.bytes_stream());
    let read = async {
        while text.matches("\n\n").count() < count {
            text.push_str(&String::from_utf8_lossy(&chunks.next().await.expect("more").expect("a chunk")));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("events in time");
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    let event = |event: &str| (field(event, "id"), serde_json::from_str(&field(event, "data")).expect("JSON"));
    text.split("\n\n").filter(|event| event.contains("data:")).take(count).map(event).collect()
}

#[tokio::test]
async fn events_come_as_they_happen_and_go_on_where_a_reader_was() {
    let runner = Runner::with_machines(2).await;
    runner.set_up("s1").await;
    let all = events(listen(&runner, Some("0")).await, 6).await;
    let number = |(id, data): &(String, Value)| {
        assert_eq!(data["seq"].to_string(), *id);
        data["seq"].as_i64().expect("a number")
    };
    let sequence: Vec<i64> = all.iter().map(number).collect();
    assert!(sequence.is_sorted_by(|a, b| a < b), "{sequence:?}");
    // Missed events come first, and none comes twice.
    assert_eq!(events(listen(&runner, Some(&all[2].0)).await, 3).await, all[3..]);
    // Without a place, the stream begins with the next event.
    let listening = listen(&runner, None).await;
    runner.ok("POST", "/destroy", &json!({"id": "s1"})).await;
    let next = events(listening, 1).await;
    assert_eq!((next[0].1["id"].as_str(), next[0].1["state"].as_str()), (Some("s1"), Some("ended")));
    runner.end().await;
}

#[tokio::test]
async fn event_streams_have_a_limit_and_a_closed_one_makes_room() {
    let runner = Runner::start().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(listen(&runner, None).await);
    }
    let (status, refused) = runner.json("GET", "/kiln/v1/events", &Value::Null).await;
    assert_eq!((status, refused["code"].as_i64()), (503, Some(503)), "{refused}");
    open.pop();
    until("room", async || {
        let answer = runner.http.get(runner.url("/kiln/v1/events")).send().await.expect("an answer");
        (answer.status() == 200).then_some(())
    })
    .await;
    runner.end().await;
}

#[tokio::test]
async fn a_runner_that_stops_ends_its_event_streams_and_refuses_new_callers() {
    let runner = Runner::start().await;
    let answer = runner.http.get(runner.url("/kiln/v1/events")).send().await.expect("an answer");
    runner.stop.cancel();
    let rest = tokio::time::timeout(PATIENCE, answer.bytes()).await.expect("the end of the stream");
    assert!(rest.is_ok_and(|rest| rest.is_empty()));
    until("the door to close", async || runner.http.get(runner.url("/healthz")).send().await.err()).await;
}
