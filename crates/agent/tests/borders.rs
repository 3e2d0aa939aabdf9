//! Numbers at the ends of their ranges, on every route that takes one: each is answered, and the agent goes on.

mod rig;

use std::time::Duration;

use rig::{Rig, step};
use serde_json::{Value, json};

const MOST: u64 = u64::MAX;
const HIGHEST: i64 = i64::MAX;
const LOWEST: i64 = i64::MIN;

/// Sends a request, wants this status, and wants the agent to run a step afterwards and its watch to go on.
async fn check(route: &str, body: Value, status: u16) {
    let rig = Rig::start().await;
    rig.client.ok("/start_step", &step("s1", "echo one")).await;
    rig.client.poll("s1").await;
    let answer = rig.client.send(route, &body).await;
    assert_eq!(answer.status().as_u16(), status, "{route} {body}: {}", answer.text().await.unwrap_or_default());
    let watch = tokio::time::timeout(Duration::from_millis(1), rig.agent.contact.expired()).await;
    assert!(watch.is_err(), "{route} {body}: the machine would go because of {watch:?}");
    assert_eq!(rig.client.run(&step("s2", "exit 3")).await.exit_code, 3, "{route} {body}");
}

#[tokio::test]
async fn every_route_takes_numbers_at_the_ends_of_their_ranges() {
    for number in [HIGHEST, LOWEST] {
        let claim = json!({"id": "c1", "lease_s": number, "max_age_s": number, "unix_time_ns": number});
        check("/kiln/v1/claim", claim, 200).await;
        check("/setup", json!({"timeout": number}), 200).await;
        let terms = json!({"kill_process_max_sigterm_attempts": number, "kill_process_retry_interval_secs": number});
        let run = json!({"entrypoint": ["true"]});
        check("/start_step", json!({"id": "s", "timeout": number, "process_config": terms, "run": run}), 200).await;
    }
    check("/kiln/v1/cancel", json!({"id": "s1", "grace_ms": MOST}), 200).await;
    check("/kiln/v1/output", json!({"id": "s1", "wait_ms": MOST, "follow": true}), 200).await;
    check("/kiln/v1/output", json!({"id": "s1", "offset": MOST}), 416).await;
    check("/kiln/v1/files", json!({"base": "/", "paths": ["no-such-file"], "max_bytes": MOST}), 200).await;
    check("/stream_output", json!({"id": "s1", "offset": HIGHEST}), 500).await;
    check("/stream_output", json!({"id": "s1", "offset": LOWEST}), 400).await;
    let terminal = json!({"rows": u32::MAX, "cols": u32::MAX});
    check("/start_step", json!({"id": "t", "run": {"entrypoint": ["true"]}, "kiln_terminal": terminal}), 200).await;
}

#[tokio::test]
async fn a_step_with_the_longest_times_can_be_timed_out_and_cancelled() {
    let rig = Rig::start().await;
    for timeout in [HIGHEST, LOWEST] {
        let mut request = step(&format!("s{timeout}"), "sleep 1000");
        request.timeout = timeout;
        rig.client.ok("/start_step", &request).await;
        rig.client.ok("/kiln/v1/cancel", &json!({"id": request.id, "grace_ms": MOST})).await;
        assert_eq!(rig.client.poll(&request.id).await.signal, 15);
    }
}
