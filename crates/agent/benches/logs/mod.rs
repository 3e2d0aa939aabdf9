//! Lines to a log service, and what it costs to look for secrets in them.

mod sink;

use std::time::Duration;

use serde_json::json;

use crate::program::{Program, memory_bytes, processor_time};
use crate::rig::step;
use crate::{LINE, agent, megabytes, ms, ratio, row, timed};
use sink::Sink;

/// Lines that a step prints.
const LINES: u64 = 1_000_000;
/// The two lines that tell the command are lines of the log as well.
const LINES_OF_BANNER: u64 = 2;
/// Numbers of secrets that output is searched for.
const SECRETS: [usize; 4] = [0, 1, 100, 1000];

/// What a run took.
struct Run {
    /// Until the step had ended,
    step: Duration,
    /// and until its log was delivered and the stage destroyed.
    stage: Duration,
    processor: Duration,
    most_resident_bytes: u64,
}

/// Lines to a log service, live and uploaded, beside the same output that is only kept; then with secrets that are
/// looked for.
pub async fn delivered(path: &str) {
    let kept = run(&agent(path), None, 0).await;
    row(&format!("{LINES} lines that are only kept"), per_second(kept.step), "");
    costs(&kept);
    for secrets in SECRETS {
        let sink = Sink::start().await;
        let run = run(&agent(path), Some(&sink), secrets).await;
        row(&format!("{LINES} lines to a log service, {secrets} secrets"), per_second(run.stage), "");
        row("  to the time of lines that are only kept", ratio(run.stage, kept.step), "");
        let counts = sink.counts();
        row("  live lines that were lost", (LINES + LINES_OF_BANNER - counts.live).to_string(), "0");
        row("  lines that were sent again", counts.again.to_string(), "");
        row("  batches, lines of the upload", format!("{}, {}", counts.batches, counts.uploaded), "");
        costs(&run);
    }
}

/// Lines that are only kept, while secrets are looked for that are not in them; then with one of the secrets in each
/// line.
pub async fn masked(path: &str) {
    for in_lines in [false, true] {
        for secrets in SECRETS {
            let agent = agent(path);
            let run = run_of(&agent, None, secrets, in_lines && secrets > 0).await;
            let what = if in_lines { "lines with a secret" } else { "lines" };
            row(&format!("{LINES} {what} to the spool, {secrets} secrets"), per_second(run.step), "");
            costs(&run);
        }
    }
}

async fn run(agent: &Program, to: Option<&Sink>, secrets: usize) -> Run {
    run_of(agent, to, secrets, false).await
}

/// Runs a step that prints the lines. The processor time is that of the agent alone, without what prints.
async fn run_of(agent: &Program, to: Option<&Sink>, secrets: usize, in_lines: bool) -> Run {
    let hidden: Vec<String> = (0..secrets).map(secret).collect();
    let url = to.map(|sink| sink.url.as_str()).unwrap_or_default();
    let log_config = json!({"url": url, "account_id": "a", "token": "t", "indirect_upload": true});
    agent.client.ok("/setup", &json!({"secrets": hidden, "log_config": log_config})).await;
    let line = if in_lines { format!("{LINE} {}", secret(secrets / 2)) } else { LINE.to_owned() };
    let mut print = step("lines", &format!("yes '{line}' | head -n {LINES}"));
    if to.is_some() {
        (print.log_drone, print.log_key) = (false, "k".into());
    }
    let before = processor_time(agent.child.id());
    let step = timed(async || assert_eq!(agent.client.run(&print).await.exit_code, 0)).await;
    let stage = step + timed(async || drop(agent.client.ok("/destroy", &json!({})).await)).await;
    let processor = processor_time(agent.child.id()) - before;
    Run { step, stage, processor, most_resident_bytes: memory_bytes(agent.child.id(), "VmHWM") }
}

fn secret(n: usize) -> String {
    format!("secret-number-{n}-with-some-length")
}

fn costs(run: &Run) {
    row("  processor time of the agent", ms(run.processor), "");
    row("  most resident", megabytes(run.most_resident_bytes), "32.0 MB");
}

fn per_second(time: Duration) -> String {
    format!("{:.0} /s", LINES as f64 / time.as_secs_f64())
}
