//! Measures the agent over mTLS on loopback and prints a table: `cargo bench -p kiln-agent`.
//!
//! The program runs as a process of its own, so that its memory can be read. `KILN_AGENT_PROGRAM` names another build
//! of it, for instance the static one.

#[path = "../tests/rig/program.rs"]
mod program;
#[path = "../tests/rig/mod.rs"]
mod rig;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use program::{Program, memory_bytes};
use rig::step;
use serde_json::json;

const ROUNDS: usize = 1000;
const GIGABYTE: u64 = 1_000_000_000;

#[tokio::main]
async fn main() {
    let path = std::env::var("KILN_AGENT_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kiln-agent").into());
    let agent = Program::start(&path, "--env-file");
    let pid = agent.child.id();
    row("resident when idle", format!("{:.1} MB", megabytes(pid, "VmRSS")));

    let times = sample(async || drop(agent.client.get("/healthz").await.bytes().await)).await;
    row("/healthz, one connection", percentiles(&times));

    let mut n = 0;
    let times = sample(async || {
        n += 1;
        let end = agent.client.run(&step(&format!("true-{n}"), "true")).await;
        assert_eq!(end.exit_code, 0, "{}", end.error);
    })
    .await;
    row("start to result of `true`", percentiles(&times));

    throughput(&agent, "plain", 2 * GIGABYTE).await;
    row("most resident after 2 GB of output", format!("{:.1} MB", megabytes(pid, "VmHWM")));

    let secrets: Vec<String> = (0..20).map(|n| format!("secret-number-{n}-with-some-length")).collect();
    agent.client.ok("/setup", &json!({ "secrets": secrets })).await;
    throughput(&agent, "masked", GIGABYTE).await;
    row("most resident in all", format!("{:.1} MB", megabytes(pid, "VmHWM")));
    agent.client.ok("/destroy", &json!({})).await;
}

async fn throughput(agent: &Program, name: &str, bytes: u64) {
    let line = "2026-11-23T22:00:00Z INFO compiling crate number 12345 of the tree, please wait";
    let start = Instant::now();
    let end = agent.client.run(&step(name, &format!("yes '{line}' | head -c {bytes}"))).await;
    assert_eq!(end.output_bytes, bytes);
    row(&format!("output to the spool, {name}"), rate(bytes, start.elapsed()));

    let start = Instant::now();
    let answer = agent.client.send("/kiln/v1/output", &json!({"id": name, "follow": true})).await;
    let mut body = answer.bytes_stream();
    let mut read = 0;
    while let Some(chunk) = body.next().await {
        read += chunk.expect("bytes").len() as u64;
    }
    assert_eq!(read, bytes);
    row(&format!("output to a late reader, {name}"), rate(bytes, start.elapsed()));
}

async fn sample(mut work: impl AsyncFnMut()) -> Vec<Duration> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work().await;
        times.push(start.elapsed());
    }
    times.sort();
    times
}

fn percentiles(times: &[Duration]) -> String {
    let ms = |at: usize| times[at].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms", ms(times.len() / 2), ms(times.len() * 99 / 100))
}

fn rate(bytes: u64, time: Duration) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / time.as_secs_f64())
}

fn megabytes(pid: u32, key: &str) -> f64 {
    memory_bytes(pid, key) as f64 / 1e6
}

fn row(what: &str, value: String) {
    println!("{what:<38} {value}");
}
