//! Measures the agent over mTLS on loopback, beside what the machine itself needs for the same, and prints a table:
//! `cargo bench -p kiln-agent [-- PART...]`, with the parts `start`, `many`, `output`, `logs`,
//! `masking`, `memory` and `container`.
//!
//! The agent is a process of its own, so that its memory can be read. `KILN_AGENT_PROGRAM` names another build of it
//! than the one that cargo makes for this, as the static one; `cargo xtask bench agent` does so. What is compared is
//! measured in turn, so that another load of the machine weighs on both.

mod bare;
mod container;
mod logs;
#[path = "../tests/rig/program.rs"]
mod program;
#[path = "../tests/rig/mod.rs"]
mod rig;

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use program::{Program, memory_bytes, processor_time};
use rig::{Client, NAME, step};
use serde_json::json;

/// Starts that are measured, and round trips.
const ROUNDS: usize = 500;
/// Steps that are started at once,
const AT_ONCE: usize = 50;
/// and how often.
const BATCHES: usize = 20;
/// Bytes of output, which is whole chunks of the bare copy,
const COPY_BYTES: u64 = 8000 * bare::CHUNK_BYTES as u64;
/// and how often they are copied.
const COPIES: usize = 5;
const LINE: &str = "2026-11-23T22:00:00Z INFO compiling crate number 12345 of the tree, please wait";
const MEGABYTE: f64 = 1e6;
/// Readers of a large output at once.
const READERS: usize = 128;

#[tokio::main]
async fn main() {
    let path = std::env::var("KILN_AGENT_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kiln-agent").into());
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let bytes = std::fs::metadata(&path).expect("a program").len();
    println!("{path}, {bytes} bytes");
    println!("{:<50} {:>10}  {:>16}", "", "", "limit");
    if wanted("memory") {
        memory(&path).await;
    }
    if wanted("start") {
        start(&path).await;
    }
    if wanted("many") {
        many(&path).await;
    }
    if wanted("output") {
        output(&path).await;
    }
    if wanted("container") {
        container::measure(&path).await;
    }
    if wanted("logs") {
        logs::delivered(&path).await;
    }
    if wanted("masking") {
        logs::masked(&path).await;
    }
}

/// Where the agent keeps its files, if that is there. What is compared needs no disk, and a disk tells more of itself
/// than of the agent: ext4 makes no file in the place of one that was removed in the last minute, and where tests have
/// removed thousands, it looks for a place among them for a third of a millisecond.
const IN_MEMORY: &str = "/dev/shm";

fn agent(path: &str) -> Program {
    agent_with(path, "")
}

fn agent_with(path: &str, settings: &str) -> Program {
    let base = [IN_MEMORY, env!("CARGO_TARGET_TMPDIR")].into_iter().map(Path::new).find(|dir| dir.is_dir());
    Program::start_in(base.expect("a directory"), path, "--env-file", settings)
}

/// Start to result of `true` over a kept connection, beside a bare spawn and a round trip.
async fn start(path: &str) {
    let agent = agent(path);
    let (mut spawns, mut trips, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        spawns.push(timed(async || bare::spawn(1)).await);
        trips.push(timed(async || drop(agent.client.get("/healthz").await.bytes().await)).await);
        let run = async || assert_eq!(agent.client.run(&step(&format!("true-{n}"), "true")).await.exit_code, 0);
        steps.push(timed(run).await);
    }
    let (spawn, trip, step) = (middle(&mut spawns), middle(&mut trips), middle(&mut steps));
    row("bare spawn of `true`, p50", ms(spawn), "");
    row("round trip, p50", ms(trip), "");
    row("start to result of `true`, p50", ms(step), &format!("{} (2 spawns + 2 trips)", ms(2 * spawn + 2 * trip)));
    row("start to result of `true`, p99", ms(steps[steps.len() * 99 / 100]), "");
    row("  to two spawns and two round trips", ratio(step, 2 * spawn + 2 * trip), "1.00");
}

/// Fifty steps at once, until all have ended, beside fifty bare spawns.
async fn many(path: &str) {
    let agent = agent(path);
    let (mut spawns, mut steps) = (Vec::new(), Vec::new());
    for batch in 0..BATCHES {
        spawns.push(timed(async || bare::spawn(AT_ONCE)).await);
        let names: Vec<String> = (0..AT_ONCE).map(|n| format!("{batch}-{n}")).collect();
        let run = async || {
            let ends = join_all(names.iter().map(async |name| agent.client.run(&step(name, "true")).await)).await;
            assert!(ends.iter().all(|end| end.exit_code == 0));
        };
        steps.push(timed(run).await);
    }
    let processor = processor_time(agent.child.id()) / (AT_ONCE * BATCHES) as u32;
    let (spawn, step) = (middle(&mut spawns), middle(&mut steps));
    row(&format!("{AT_ONCE} bare spawns at once, median of {BATCHES}"), ms(spawn), "");
    row(&format!("{AT_ONCE} steps at once, median of {BATCHES}"), ms(step), "");
    row("  to as many bare spawns", ratio(step, spawn), "1.50");
    row("  processor time of the agent for one", ms(processor), "");
}

/// Output to a reader that follows it, as the runner does, beside a bare copy over TLS; then into the spool and out of
/// it.
///
/// What prints takes its share of the machine too, and where there are two processors more than all else does. So the
/// bare copy is one of memory, and one of what the same script prints; and of the scripts one prints memory in writes
/// as large as those of the copy, and one lines through two processes.
async fn output(path: &str) {
    let agent = agent(path);
    let bulk = bulk(&agent);
    for (what, script) in [("dd", dd()), ("yes | head", yes())] {
        let (mut memory, mut printed, mut followed) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..COPIES {
            memory.push(bare::copy(COPY_BYTES, None).await);
            printed.push(bare::copy(COPY_BYTES, Some(&script)).await);
            // What was kept before is dropped.
            agent.client.ok("/setup", &json!({"envs": {"ROUND": format!("{what} {n}")}})).await;
            let follow = async || {
                agent.client.ok("/start_step", &step("followed", &script)).await;
                read(&bulk, "followed", COPY_BYTES).await;
            };
            followed.push(timed(follow).await);
        }
        let (memory, printed, followed) = (middle(&mut memory), middle(&mut printed), middle(&mut followed));
        row("bare copy of memory over TLS", rate(memory), "");
        row(&format!("bare copy of what `{what}` prints"), rate(printed), "");
        row(&format!("output of `{what}` to a reader that follows"), rate(followed), "");
        row("  to a bare copy of memory", ratio(memory, followed), if what == "dd" { "at least 0.50" } else { "" });
        row("  to a bare copy of what it prints", ratio(printed, followed), "");
    }
    kept(&agent, &bulk).await;
    row("most resident", megabytes(memory_bytes(agent.child.id(), "VmHWM")), "32.0 MB");
}

/// Output into the spool and out of it, with and without secrets.
async fn kept(agent: &Program, bulk: &Client) {
    let secrets: Vec<String> = (0..20).map(|n| format!("secret-number-{n}-with-some-length")).collect();
    for (what, secrets) in [("plain", &[][..]), ("masked", &secrets)] {
        agent.client.ok("/setup", &json!({ "secrets": secrets })).await;
        let print = step(what, &yes());
        let spooled = timed(async || assert_eq!(agent.client.run(&print).await.output_bytes, COPY_BYTES)).await;
        row(&format!("output to the spool, {what}"), rate(spooled), "");
        let late = timed(async || read(bulk, what, COPY_BYTES).await).await;
        row(&format!("output to a late reader, {what}"), rate(late), "");
    }
    agent.client.ok("/destroy", &json!({})).await;
}

/// A client for what is large: over HTTP/1.1, as the runner's.
fn bulk(agent: &Program) -> Client {
    Client::with_protocols(agent.address, NAME, &agent.runner, &["http/1.1"])
}

/// A script that prints memory.
fn dd() -> String {
    format!("dd if=/dev/zero bs={} count={} status=none", bare::CHUNK_BYTES, COPY_BYTES / bare::CHUNK_BYTES as u64)
}

/// A script that prints lines as fast as two processes can hand them on.
fn yes() -> String {
    format!("yes '{LINE}' | head -c {COPY_BYTES}")
}

/// Reads output in a task of the runtime, as the runner does.
async fn read(bulk: &Client, name: &str, bytes: u64) {
    let (bulk, request) = (bulk.clone(), json!({"id": name, "follow": true}));
    let read = tokio::spawn(async move {
        let mut body = bulk.send("/kiln/v1/output", &request).await.bytes_stream();
        let mut read = 0;
        while let Some(chunk) = body.next().await {
            read += chunk.expect("bytes").len() as u64;
        }
        read
    });
    assert_eq!(read.await.expect("a reader"), bytes);
}

/// What is resident when the agent is idle, fresh and after a stage, and at most.
async fn memory(path: &str) {
    let agent = agent(path);
    let bulk = bulk(&agent);
    let resident = |key: &str| megabytes(memory_bytes(agent.child.id(), key));
    drop(agent.client.get("/healthz").await.bytes().await);
    row("resident when idle, fresh", resident("VmRSS"), "");
    let secrets: Vec<String> = (0..20).map(|n| format!("secret-number-{n}-with-some-length")).collect();
    let envs = json!({"CI": "true"});
    agent.client.ok("/setup", &json!({ "secrets": secrets, "envs": envs })).await;
    let names: Vec<String> = (0..AT_ONCE).map(|n| format!("s{n}")).collect();
    let script = "for i in 1 2 3 4 5 6 7 8; do echo a line of output that is as long as most are; done; V=1";
    for batch in names.chunks(8) {
        join_all(batch.iter().map(async |name| agent.client.run(&step(name, script)).await)).await;
    }
    agent.client.run(&step("large", "yes a line of output | head -c 20000000")).await;
    let readers = (0..READERS).map(async |_| read(&bulk, "large", 20_000_000).await);
    join_all(readers).await;
    row(&format!("most resident, {READERS} readers of 20 MB"), resident("VmHWM"), "32.0 MB");
    // A stage's readers hang up before it is destroyed; each connection holds some 50 kB.
    drop(bulk);
    drop(agent.client.get("/healthz").await.bytes().await);
    agent.client.ok("/destroy", &json!({})).await;
    drop(agent.client.get("/healthz").await.bytes().await);
    row("resident when idle, after a stage", resident("VmRSS"), "8.0 MB");
    tokio::time::sleep(Duration::from_secs(11)).await;
    row("  and ten seconds later", resident("VmRSS"), "8.0 MB");
}

async fn timed(work: impl AsyncFnOnce()) -> Duration {
    let start = Instant::now();
    work().await;
    start.elapsed()
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn ratio(time: Duration, to: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() / to.as_secs_f64())
}

fn rate(time: Duration) -> String {
    format!("{:.0} MB/s", COPY_BYTES as f64 / MEGABYTE / time.as_secs_f64())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / MEGABYTE)
}

fn row(what: &str, value: String, limit: &str) {
    println!("{what:<50} {value:>10}  {limit:>16}");
}
