//! Callers that do not read their answers.

use std::time::Duration;

use futures::StreamExt as _;
use kiln_pool::{Code, Stage, StageState};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::rig::{PATIENCE, Runner, World, step, until};

/// Long enough for a reader that reads, even on a busy machine.
const UNREAD_FOR: Duration = Duration::from_secs(2);
/// More bytes than all buffers between the runner and a reader can hold.
const ENOUGH: usize = 8 << 20;

/// Sends a request over a connection of its own, and does not read the answer.
async fn send(runner: &Runner, verb: &str, path: &str, body: &Value) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
    let mut stream = socket.connect(runner.address).await.expect("a connection");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let head = format!("{verb} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", runner.address);
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
    stream
}

/// Returns the unread bytes in the kernel for each of the runner's callers, in the kernel's notation.
fn untaken(runner: &Runner) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the kernel's table");
    let port = format!(":{:04X}", runner.address.port());
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = rows.filter(|columns| columns[1].ends_with(&port)).map(|columns| columns[4][..8].to_owned());
    queues.filter(|bytes| bytes != "00000000").collect()
}

/// A connection with an unread answer once lasted for as long as its peer liked, with its memory and the agent's
/// connection behind it.
#[tokio::test]
async fn readers_that_do_not_read_are_hung_up_on() {
    let world = World::new();
    world.offer().await;
    let runner = Runner::with(&world, |settings| settings.unread_for = UNREAD_FOR).await;
    runner.set_up("s1").await;
    let script = format!("head -c {ENOUGH} /dev/urandom | base64 > {0}/big; cat {0}/big", world.dir.path().display());
    let done = runner.ok("POST", "/step", &step("s1", "big", &script)).await;
    assert_eq!(done["exited"], true, "{done}");
    let before = make_changes(&runner).await;
    let files = json!({"base": world.dir.path().display().to_string(), "paths": ["big"]});
    let routes = [
        ("POST", "/kiln/v1/stages/s1/output".to_owned(), json!({"id": "big", "follow": true})),
        ("POST", "/kiln/v1/stages/s1/output".to_owned(), json!({"id": "big"})),
        ("POST", "/kiln/v1/stages/s1/files".to_owned(), files),
        ("GET", format!("/kiln/v1/events?after={before}"), Value::Null),
    ];
    for (verb, path, body) in routes {
        let others = open(&runner).await;
        let mut silent = send(&runner, verb, &path, &body).await;
        let (mut begun, mut rest) = ([0; 12], Vec::new());
        silent.read_exact(&mut begun).await.expect("the beginning of an answer");
        assert_eq!(&begun, b"HTTP/1.1 200", "{path}");
        until(&format!("{path} {body} to be hung up on"), async || (open(&runner).await == others).then_some(())).await;
        // The bytes on their way arrive, but not the end of the answer.
        let _ = silent.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{path}: the whole answer was there, {} bytes", rest.len());
    }
    world.clean().await;
    runner.end().await;
}

/// Their answers once filled the only connection to the agent, so that no step of the stage could be started, awaited
/// or cancelled.
#[tokio::test]
async fn readers_that_do_not_read_hold_up_no_other_call_of_their_stage() {
    let runner = Runner::with_machines(1).await;
    runner.set_up("s1").await;
    let dir = runner.world.dir.path().display().to_string();
    let script = format!("head -c {ENOUGH} /dev/urandom | base64 > {dir}/big; cat {dir}/big");
    let done = runner.ok("POST", "/step", &step("s1", "big", &script)).await;
    assert_eq!(done["exited"], true, "{done}");
    let files = json!({"base": dir, "paths": ["big"]});
    let mut silent = Vec::new();
    for _ in 0..3 {
        for (route, body) in [("output", json!({"id": "big", "follow": true})), ("files", files.clone())] {
            let mut reader = send(&runner, "POST", &format!("/kiln/v1/stages/s1/{route}"), &body).await;
            let mut head = [0; 12];
            let begins = reader.read_exact(&mut head);
            tokio::time::timeout(PATIENCE, begins).await.expect("readers hold up readers").expect("an answer");
            silent.push(reader);
        }
    }
    let mut before = Vec::new();
    until("the answers to be stuck", async || {
        let now = untaken(&runner);
        let stuck = now.len() == silent.len() && now == before;
        before = now;
        stuck.then_some(())
    })
    .await;
    let calls = async {
        assert_eq!(runner.ok("POST", "/step", &step("s1", "short", "exit 3")).await["exit_code"], 3);
        let endless = runner.spawn("/step", step("s1", "endless", "sleep 1000"));
        until("the step", async || runner.world.steps_on(0).contains(&"endless".to_owned()).then_some(())).await;
        runner.ok("POST", "/kiln/v1/stages/s1/steps/cancel", &json!({"id": "endless"})).await;
        assert_eq!(endless.await.expect("no panic").1["cause"], "cancelled");
        let output = runner.send("POST", "/kiln/v1/stages/s1/output", r#"{"id": "short"}"#).await;
        assert_eq!(output.status(), 200);
    };
    tokio::time::timeout(PATIENCE, calls).await.expect("calls wait for readers");
    drop(silent);
    runner.world.clean().await;
    runner.end().await;
}

/// Makes changes that are longer than [`ENOUGH`] together, and returns the number of the change before them.
async fn make_changes(runner: &Runner) -> i64 {
    let store = runner.engine.store();
    let before = store.changes_after(0, 1000).await.expect("a store").pop().expect("a change").seq;
    let served = store.stage(&"s1".into()).await.expect("a store").expect("a stage");
    let (evidence, count) =
        ("x".repeat(kiln_pool::cause::MAX_EVIDENCE_BYTES), ENOUGH / kiln_pool::cause::MAX_EVIDENCE_BYTES);
    let stages = futures::stream::iter((0..count).map(|n| Stage {
        id: format!("long-{n}").as_str().into(),
        state: StageState::Waiting,
        instance: None,
        ..served.clone()
    }));
    let ends = stages.map(|stage| {
        let evidence = &evidence;
        async move {
            store.begin_stage(&stage, stage.created_ms).await.expect("a store");
            assert!(runner.engine.end_stage(&stage.id, Code::Cancelled, evidence).await.expect("a store"));
        }
    });
    ends.buffer_unordered(64).collect::<Vec<()>>().await;
    before
}

/// Returns the number of open connections of the API, including the one that asks.
async fn open(runner: &Runner) -> usize {
    let text = runner.send("GET", "/metrics", "").await.text().await.expect("text");
    let line = text.lines().find(|line| line.starts_with("kiln_api_connections")).expect("the metric");
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}
