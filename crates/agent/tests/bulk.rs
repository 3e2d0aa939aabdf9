//! Control never waits for bulk: what peers that do not read, do not send or do not say who they are do to the others.

#[path = "rig/program.rs"]
mod program;
mod rig;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kiln_wire::agent::{Cause, StartStepRequest};
use program::{Program, memory_bytes};
use rig::{Client, NAME, PATIENCE, Rig, pem, step, until};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");
const MIB: u64 = 1 << 20;

/// A client whose every request has a connection of its own, as bulk has.
fn apart(program: &Program) -> Client {
    Client::with_protocols(program.address, NAME, &program.runner, &["http/1.1"])
}

/// Sends a request as often as is said, and reads nothing of the answers. Returns when `answered` have begun.
async fn unread(
    client: &Client,
    path: &'static str,
    body: &Value,
    times: usize,
    answered: usize,
) -> tokio::task::JoinSet<()> {
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..times {
        let (client, body, begun) = (client.clone(), body.clone(), begun.clone());
        held.spawn(async move {
            let answer = client.send(path, &body).await;
            assert!(answer.status().is_success(), "{}", answer.status());
            // The test may have seen enough.
            let _ = begun.send(());
            std::future::pending::<()>().await;
            drop(answer);
        });
    }
    for _ in 0..answered {
        tokio::time::timeout(PATIENCE, begins.recv()).await.expect("answers that begin").expect("a request");
    }
    held
}

/// Waits until the program has so many files open, connections among them.
async fn until_open(program: &Program, files: usize) {
    let dir = format!("/proc/{}/fd", program.child.id());
    let open = || std::fs::read_dir(&dir).expect("the program").count();
    until(&format!("{files} open files"), async || (open() >= files).then_some(())).await;
}

/// Starts and ends steps in every way.
async fn control_goes_on(client: &Client, round: &str) {
    let calls = async {
        client.ok("/setup", &json!({})).await;
        assert_eq!(client.run(&step(&format!("short-{round}"), "exit 3")).await.exit_code, 3);
        let limited = StartStepRequest { timeout: 1, ..step(&format!("limited-{round}"), "sleep 1000") };
        assert_eq!(client.run(&limited).await.cause, Cause::Timeout);
        let endless = step(&format!("endless-{round}"), "sleep 1000");
        client.ok("/start_step", &endless).await;
        client.ok("/kiln/v1/cancel", &json!({ "id": endless.id })).await;
        assert_eq!(client.poll(&endless.id).await.cause, Cause::Cancelled);
    };
    tokio::time::timeout(PATIENCE, calls).await.expect("control waits for bulk");
}

/// The runtime has 32 threads for blocking work, and each download held one for as long as its reader liked.
#[tokio::test]
async fn downloads_that_nobody_reads_do_not_keep_a_timeout_from_ending_its_step() {
    let program = Program::start(PROGRAM, "--env-file");
    let dir = program.dir.path().display().to_string();
    program.client.run(&step("fill", &format!("head -c 8000000 /dev/urandom > {dir}/noise"))).await;
    let request = json!({"base": dir, "paths": ["noise"]});
    let _held = unread(&apart(&program), "/kiln/v1/files", &request, 40, 4).await;
    until_open(&program, 44).await;
    for round in ["first", "second", "third"] {
        control_goes_on(&program.client, round).await;
    }
}

#[tokio::test]
async fn uploads_of_which_nothing_comes_do_not_keep_a_timeout_from_ending_its_step() {
    let program = Program::start(PROGRAM, "--env-file");
    let client = apart(&program);
    let mut held = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (client, url) =
            (client.clone(), format!("{}/kiln/v1/workspace?path={}/{n}", client.base, program.dir.path().display()));
        held.spawn(async move {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(vec![0; 100])]);
            let body = reqwest::Body::wrap_stream(first.chain(futures::stream::pending()));
            client.http.put(url).body(body).send().await
        });
    }
    until_open(&program, 44).await;
    // Which ones get a place first is not said.
    let begun = |n: &usize| program.dir.path().join(n.to_string()).exists();
    until("uploads to begin", async || (0..40).find(begun)).await;
    control_goes_on(&program.client, "workspace").await;
}

#[tokio::test]
async fn terminals_whose_steps_read_nothing_do_not_keep_a_timeout_from_ending_its_step() {
    let program = Program::start(PROGRAM, "--env-file");
    let client = apart(&program);
    let mut deaf = step("deaf", "stty raw -echo; echo ready; exec sleep 1000");
    deaf.terminal = Some(kiln_wire::agent::kiln::Terminal { rows: 24, cols: 80 });
    program.client.ok("/start_step", &deaf).await;
    let ready = program.client.send("/stream_output", &json!({"id": "deaf"})).await;
    ready.bytes_stream().next().await.expect("output").expect("bytes");
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (client, url) = (client.clone(), format!("{}/kiln/v1/input?id=deaf", client.base));
        held.spawn(async move { client.http.put(url).body(vec![b'x'; 1 << 20]).send().await });
    }
    for round in ["first", "second"] {
        control_goes_on(&program.client, round).await;
    }
}

#[tokio::test]
async fn output_that_nobody_reads_holds_up_no_call_and_costs_little_memory() {
    let program = Program::start(PROGRAM, "--env-file");
    program.client.ok("/setup", &json!({})).await;
    program.client.run(&step("loud", "yes 0123456789 | head -c 60000000")).await;
    let request = json!({"id": "loud", "follow": true});
    let _held = unread(&apart(&program), "/kiln/v1/output", &request, 150, 128).await;
    control_goes_on(&program.client, "output").await;
    // The code of a program that was built for debugging is several times as large as that of the agent that is shipped.
    let (most, code) = (memory_bytes(program.child.id(), "VmHWM"), memory_bytes(program.child.id(), "RssFile"));
    assert!(most - code < 32 * MIB, "{most} bytes were resident, {code} of them code");
}

/// What a stock client does that has one connection for all.
#[tokio::test]
async fn readers_that_do_not_read_leave_the_other_calls_of_their_connection_alone() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({})).await;
    rig.client.run(&step("loud", "yes 0123456789 | head -c 60000000")).await;
    let unread = [
        rig.client.send("/stream_output", &json!({"id": "loud"})).await,
        rig.client.send("/stream_output", &json!({"id": "loud"})).await,
    ];
    assert_eq!(unread[0].version(), reqwest::Version::HTTP_2);
    control_goes_on(&rig.client, "one connection").await;
    let [first, _] = unread;
    assert_eq!(first.bytes().await.expect("a body").len(), 60_000_000);
}

/// More unread answers than the window of the connection holds keep all others back. The client is sent to another connection.
#[tokio::test]
async fn readers_that_fill_the_window_of_their_connection_lose_it() {
    let rig = Rig::with(|settings| settings.stalled_for = Duration::from_millis(300)).await;
    rig.client.ok("/setup", &json!({})).await;
    rig.client.run(&step("loud", "yes 0123456789 | head -c 60000000")).await;
    let (mut unread, request) = (Vec::new(), json!({"id": "loud"}));
    for _ in 0..4 {
        let asked = rig.client.try_send("/stream_output", &request);
        // The later ones may not even be answered any more.
        unread.extend(tokio::time::timeout(Duration::from_millis(300), asked).await.ok().and_then(Result::ok));
    }
    assert!(!unread.is_empty());
    until("another connection", async || {
        let health = rig.client.http.get(format!("{}/healthz", rig.client.base)).send();
        let health = tokio::time::timeout(Duration::from_secs(1), async { health.await.ok()?.text().await.ok() });
        health.await.ok().flatten()
    })
    .await;
    control_goes_on(&rig.client, "another connection").await;
    for answer in unread {
        assert!(answer.bytes().await.is_err(), "the output looks whole");
    }
}

/// More steps are waited for at a time than HTTP/2 peers usually allow streams.
#[tokio::test]
async fn polls_of_many_steps_leave_the_other_calls_of_their_connection_alone() {
    let rig = Rig::start().await;
    let gate = rig.path("gate");
    rig.client.ok("/start_step", &step("long", &format!("while [ ! -e {gate} ]; do sleep 0.05; done"))).await;
    let polls: Vec<_> = (0..400)
        .map(|_| {
            let client = rig.client.clone();
            tokio::spawn(async move { client.poll("long").await })
        })
        .collect();
    let open = || rig.agent.contact.open_requests();
    until("the polls to be open", async || (open() >= 400).then_some(())).await;
    control_goes_on(&rig.client, "polls").await;
    std::fs::write(gate, "").expect("a file");
    for poll in polls {
        assert_eq!(poll.await.expect("no panic").exit_code, 0);
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_is_hung_up_on_and_goes_on_at_its_offset() {
    const ALL: usize = 60_000_000;
    let rig = Rig::with(|settings| settings.stalled_for = Duration::from_millis(300)).await;
    rig.client.run(&step("loud", &format!("yes 0123456789 | head -c {ALL}"))).await;
    let runner = pem(&rig.authority, &rig.authority.issue_client("runner").expect("a certificate"));
    for protocol in ["http/1.1", "h2"] {
        let client = Client::with_protocols(rig.address, NAME, &runner, &[protocol]);
        let answer = client.send("/kiln/v1/output", &json!({"id": "loud", "follow": true})).await;
        until("the reader to be given up", async || (rig.agent.contact.open_requests() == 0).then_some(())).await;
        let mut read = 0;
        let mut body = answer.bytes_stream();
        let broken = loop {
            match body.next().await {
                Some(Ok(bytes)) => read += bytes.len(),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(broken && read < ALL, "{protocol}: {read} bytes, broken off: {broken}");
        assert_eq!(rig.client.output("loud", read as u64).await.len(), ALL - read);
    }
}

#[tokio::test]
async fn files_that_nobody_takes_are_broken_off_and_leave_their_places_to_others() {
    let rig = Rig::with(|settings| settings.stalled_for = Duration::from_millis(300)).await;
    std::fs::create_dir(rig.path("files")).expect("a directory");
    rig.client.run(&step("fill", &format!("head -c 30000000 /dev/urandom > {}/noise", rig.path("files")))).await;
    let runner = pem(&rig.authority, &rig.authority.issue_client("runner").expect("a certificate"));
    let client = Client::with_protocols(rig.address, NAME, &runner, &["http/1.1"]);
    let request = json!({"base": rig.path("files"), "paths": ["noise"]});
    let first = client.send("/kiln/v1/files", &request).await;
    // All get a place in the end, though there are few and nobody reads.
    let held = unread(&client, "/kiln/v1/files", &request, 12, 12).await;
    assert!(first.bytes().await.is_err(), "the archive looks whole");
    drop(held);
    let taken = client.send("/kiln/v1/files", &request).await.bytes().await.expect("an archive");
    assert!(taken.len() > 20_000_000, "{}", taken.len());
}

/// Allows this process as many open files as it may have.
fn many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a limit");
}

/// Connections that are opened side by side: the kernel makes those wait that come while its queue is full.
fn strangers(connect: &(impl Fn() -> TcpStream + Sync)) -> Vec<TcpStream> {
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..11).map(|_| scope.spawn(|| (0..100).map(|_| connect()).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    })
}

/// A new client is served long before any stranger's time is up.
async fn is_served_at_once(program: &Program) {
    let began = Instant::now();
    let health =
        tokio::time::timeout(PATIENCE, apart(program).get("/healthz")).await.expect("strangers take the places");
    assert_eq!(health.status(), 200);
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn strangers_that_say_nothing_do_not_keep_a_proven_client_waiting() {
    many_files();
    let program = Program::start(PROGRAM, "--env-file");
    let connect = || TcpStream::connect(program.address).expect("a connection");
    let strangers = strangers(&connect);
    is_served_at_once(&program).await;
    drop(strangers);
}

#[tokio::test]
async fn strangers_that_begin_a_handshake_do_not_keep_a_proven_client_waiting() {
    use std::io::Write as _;
    many_files();
    let program = Program::start(PROGRAM, "--env-file");
    let begin = || {
        let mut stream = TcpStream::connect(program.address).expect("a connection");
        // The head of a record whose rest never comes.
        stream.write_all(&[22, 3, 1, 2, 0, 1]).expect("it is said");
        stream
    };
    let strangers = strangers(&begin);
    is_served_at_once(&program).await;
    drop(strangers);
}

/// A client that is connected already is served while strangers come and go.
#[tokio::test]
async fn strangers_take_no_place_of_a_client_that_is_connected() {
    many_files();
    let program = Program::start(PROGRAM, "--env-file");
    assert_eq!(program.client.get("/healthz").await.status(), 200);
    let mut strangers = Vec::new();
    for _ in 0..10 {
        strangers.extend((0..150).map(|_| TcpStream::connect(program.address).expect("a connection")));
        assert_eq!(program.client.get("/healthz").await.status(), 200);
    }
    control_goes_on(&program.client, "strangers").await;
}
