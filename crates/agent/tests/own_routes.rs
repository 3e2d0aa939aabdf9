//! Our own routes: output, list, claim.

mod rig;

use std::time::Duration;

use futures::StreamExt as _;
use kiln_wire::agent::Cause;
use kiln_wire::agent::kiln::{Identity, StepList, StepState};
use rig::{Client, NAME, Rig, pem, step, until};
use serde_json::json;

#[tokio::test]
async fn output_can_be_taken_from_any_offset_before_during_and_after() {
    let rig = Rig::start().await;
    let gate = rig.path("gate");
    let script = format!("printf 0123; while [ ! -e {gate} ]; do sleep 0.02; done; printf 456789");
    rig.client.ok("/start_step", &step("s1", &script)).await;
    let request = json!({"id": "s1", "offset": 1, "follow": true});
    until("the first output", async || (rig.agent.list().steps[0].output_bytes == 4).then_some(())).await;
    let answer = rig.client.send("/kiln/v1/output", &request).await;
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    assert_eq!((header("x-kiln-offset"), header("x-kiln-length")), ("1".into(), "4".into()));
    assert_eq!((header("x-kiln-ended"), header("x-kiln-cut")), ("false".into(), "false".into()));
    let mut body = answer.bytes_stream();
    assert_eq!(body.next().await.expect("a chunk").expect("bytes"), "123");
    // Without follow, what is there is all.
    let now = rig.client.send("/kiln/v1/output", &json!({"id": "s1"})).await;
    assert_eq!(now.text().await.expect("a body"), "0123");
    std::fs::write(gate, "").expect("a file");
    let mut rest = Vec::new();
    while let Some(chunk) = body.next().await {
        rest.extend(chunk.expect("bytes"));
    }
    assert_eq!(rest, b"456789");
    rig.client.poll("s1").await;
    assert_eq!(rig.client.output("s1", 9).await, "9");
    assert_eq!(rig.client.output("s1", 10).await, "");
    assert_eq!(rig.client.refused("/kiln/v1/output", &json!({"id": "s1", "offset": 11})).await.0, 416);
    assert_eq!(rig.client.refused("/kiln/v1/output", &json!({"id": "s2", "wait_ms": 1})).await.0, 404);
}

#[tokio::test]
async fn live_output_comes_at_once_with_secrets_in_the_set() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({"secrets": ["zebra-crossing"]})).await;
    let gate = rig.path("gate");
    let script = format!("printf 'Continue? '; while [ ! -e {gate} ]; do sleep 0.02; done");
    rig.client.ok("/start_step", &step("s1", &script)).await;
    let answer = rig.client.send("/kiln/v1/output", &json!({"id": "s1", "follow": true})).await;
    assert_eq!(answer.bytes_stream().next().await.expect("a chunk").expect("bytes"), "Continue? ");
    std::fs::write(gate, "").expect("a file");
    rig.client.poll("s1").await;
}

#[tokio::test]
async fn output_over_the_limit_is_cut_with_a_marker() {
    let rig = Rig::with(|settings| settings.step_output_limit_bytes = 1000).await;
    let end = rig.client.run(&step("s1", "yes 0123456789 | head -c 1000000; echo the end")).await;
    assert_eq!(end.exit_code, 0);
    let answer = rig.client.send("/kiln/v1/output", &json!({"id": "s1"})).await;
    assert_eq!(answer.headers()["x-kiln-cut"], "true");
    let text = answer.text().await.expect("a body");
    assert!(text.contains("\n[kiln: ") && text.ends_with("the end\n"), "{}", &text[990..1100]);
    assert!(text.len() < 100_000 && end.output_bytes == text.len() as u64);
}

#[tokio::test]
async fn steps_are_listed_with_their_states() {
    let rig = Rig::start().await;
    rig.client.run(&step("one", "echo x; exit 3")).await;
    rig.client.ok("/start_step", &step("two", "sleep 1000")).await;
    let list: StepList = rig.client.get("/kiln/v1/steps").await.json().await.expect("a list");
    let [one, two] = list.steps.as_slice() else { panic!("{list:?}") };
    assert_eq!((one.id.as_str(), one.state, one.exit_code, one.output_bytes), ("one", StepState::Ended, Some(3), 2));
    assert!(one.started_unix_ms > 0 && one.ended_unix_ms >= one.started_unix_ms);
    assert_eq!((two.id.as_str(), two.state, two.exit_code), ("two", StepState::Running, None));
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "two", "grace_ms": 0})).await;
    assert_eq!(rig.client.poll("two").await.signal, 9);
}

/// Requests, also ones that wait for hours, are contact; the lease counts from the end of the last.
#[tokio::test]
async fn the_watchdogs_lease_is_kept_by_open_requests() {
    let lease = Duration::from_millis(300);
    let rig = Rig::with(|settings| settings.lease = Some(lease)).await;
    rig.client.ok("/start_step", &step("s1", "sleep 1000")).await;
    let waiting = tokio::spawn({
        let client = rig.client.clone();
        async move { client.poll("s1").await }
    });
    let answer = rig.client.send("/kiln/v1/output", &json!({"id": "s1", "follow": true})).await;
    assert!(tokio::time::timeout(lease * 5, rig.agent.contact.expired()).await.is_err());
    rig.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
    assert_eq!(waiting.await.expect("the poll").cause, Cause::Cancelled);
    assert_eq!(answer.text().await.expect("a body"), "");
    let why = tokio::time::timeout(rig::PATIENCE, rig.agent.contact.expired()).await;
    assert_eq!(why, Ok("no contact for the lease"));
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit() {
    let rig = Rig::start().await;
    let end = rig.client.run(&step("s1", "kill -SEGV $$")).await;
    assert_eq!((end.exit_code, end.signal, end.cause), (-1, 11, Cause::Signal));
    let end = rig.client.run(&step("s2", "exit 139")).await;
    assert_eq!((end.exit_code, end.signal, end.cause), (139, 0, Cause::Exited));
}

#[tokio::test]
async fn a_claim_gives_a_new_identity_to_new_connections() {
    let rig = Rig::start().await;
    let name = "clone-7";
    let server = rig.authority.issue_server(name).expect("a certificate");
    let claim = json!({
        "id": name, "hostname": name, "unix_time_ns": 1, "entropy": "AAECAwQFBgcICQoLDA0ODw==",
        "cert_pem": server.cert_pem, "key_pem": server.key_pem.as_str(),
    });
    let before: Identity = rig.client.get("/kiln/v1/identity").await.json().await.expect("an identity");
    assert_eq!((before.id.as_str(), before.in_use), ("", false));
    let identity: Identity =
        serde_json::from_value(rig.client.ok("/kiln/v1/claim", &claim).await).expect("an identity");
    assert_eq!((identity.id.as_str(), identity.hostname.as_str(), identity.shortfalls.len()), (name, name, 0));
    assert_eq!(identity.machine_id.len(), 32);
    let hosts = std::fs::read_to_string(rig.path("root/etc/hosts")).expect("a file");
    assert_eq!(hosts, "127.0.1.1 clone-7\n");

    // The old connection is closed, so the old name is not served any more; the new one is.
    until("the old identity to be gone", async || {
        rig.client.http.get(format!("{}/healthz", rig.client.base)).send().await.is_err().then_some(())
    })
    .await;
    let runner = pem(&rig.authority, &rig.authority.issue_client("runner").expect("a certificate"));
    let client = Client::new(rig.address, name, &runner);
    let again: Identity = serde_json::from_value(client.ok("/kiln/v1/claim", &claim).await).expect("an identity");
    assert_eq!(again.machine_id, identity.machine_id);
    let other = client.refused("/kiln/v1/claim", &json!({"id": "clone-8"})).await;
    assert_eq!(
        other,
        (409, "this machine serves \"clone-7\" already and cannot become \"clone-8\"; take a fresh one".into())
    );
}

#[tokio::test]
async fn a_claim_is_refused_once_a_stage_was_set_up() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({})).await;
    let (status, message) = rig.client.refused("/kiln/v1/claim", &json!({"id": "late"})).await;
    assert_eq!(status, 409, "{message}");
}

#[tokio::test]
async fn a_claim_that_cannot_be_carried_out_changes_nothing() {
    let rig = Rig::start().await;
    for wrong in [
        json!({}),
        json!({"id": "a", "entropy": "?"}),
        json!({"id": "a", "cert_pem": "x"}),
        json!({"id": "a", "cert_pem": "x", "key_pem": "y"}),
    ] {
        let (status, message) = rig.client.refused("/kiln/v1/claim", &wrong).await;
        assert_eq!(status, 400, "{message}");
    }
    let identity: Identity = rig.client.get("/kiln/v1/identity").await.json().await.expect("an identity");
    assert_eq!((identity.id.as_str(), identity.machine_id.as_str()), ("", ""));
    assert!(rig.client.base.contains(NAME));
    rig.client.ok("/kiln/v1/claim", &json!({"id": "a"})).await;
}

#[tokio::test]
async fn two_machines_of_one_snapshot_become_different_ones() {
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..4 {
        let rig = Rig::start().await;
        let claim = json!({"id": format!("clone-{n}"), "hostname": format!("clone-{n}")});
        let identity: Identity =
            serde_json::from_value(rig.client.ok("/kiln/v1/claim", &claim).await).expect("an identity");
        ids.insert(identity.machine_id);
    }
    assert_eq!(ids.len(), 4);
}
