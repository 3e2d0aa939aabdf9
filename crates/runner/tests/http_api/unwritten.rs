//! A database that cannot be written.

use std::time::Duration;

use kiln_e2e::SmallDisk;
use serde_json::json;
use sqlx::Executor as _;

use crate::rig::{Runner, World, setup, until};

/// Short, so that tests need not wait long.
const UNWRITTEN_FOR: Duration = Duration::from_millis(100);

/// Returns the answer of `/healthz`; with `stranger`, the one for unauthenticated callers.
async fn healthz(runner: &Runner, stranger: bool) -> (u16, String) {
    let mut request = runner.http.get(runner.url("/healthz"));
    if stranger {
        request = request.header("host", "stranger.example");
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// It once said OK for as long as the process ran, while every write failed.
#[tokio::test]
async fn health_is_red_while_nothing_can_be_written_and_green_again_afterwards() {
    let world = World::new();
    let runner = Runner::with(&world, |settings| settings.unwritten_for = UNWRITTEN_FOR).await;
    until("the first pass", async || runner.health.report().ready.then_some(())).await;
    assert_eq!(healthz(&runner, false).await, (200, "OK".to_owned()));
    // Another connection holds a write transaction open.
    let mut other = world.database().await;
    other.execute("BEGIN IMMEDIATE").await.expect("a transaction");
    let (status, text) = until("a red answer", async || {
        let (status, text) = healthz(&runner, false).await;
        (status != 200).then_some((status, text))
    })
    .await;
    assert_eq!(status, 503, "{text}");
    assert!(text.starts_with("nothing could be written to the database for ") && text.contains("locked"), "{text}");
    let (status, text) = healthz(&runner, true).await;
    assert!(status == 503 && !text.contains("locked"), "strangers are told no more than that: {text}");
    let verbose = runner.send("GET", "/healthz?verbose", "").await;
    assert_eq!(verbose.status().as_u16(), 503);
    assert!(verbose.text().await.expect("a body").contains("\"ready\":false"));
    other.execute("ROLLBACK").await.expect("the end of the transaction");
    until("a green answer", async || (healthz(&runner, false).await == (200, "OK".to_owned())).then_some(())).await;
    runner.end().await;
}

/// It once said OK, because leases are written into the room reserved for ends, while every new stage was refused.
#[tokio::test]
async fn health_is_red_while_a_full_disk_takes_nothing_but_ends() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let world = World::below(disk.path());
    world.offer().await;
    let runner = Runner::with(&world, |settings| settings.unwritten_for = UNWRITTEN_FOR).await;
    runner.set_up("first").await;
    // The room that the database frees by emptying its log is taken again.
    let healthz = async || {
        disk.fill();
        healthz(&runner, false).await
    };
    let (status, text) =
        until("a red answer", async || Some(healthz().await).filter(|(status, _)| *status != 200)).await;
    assert!(status == 503 && text.contains("full; free some room"), "{status} {text}");
    let passes = runner.health.report().last_pass_unix_ms;
    runner.ok("POST", "/destroy", &json!({"id": "first"})).await;
    let (status, answer) = runner.json("POST", "/setup", &setup("second")).await;
    assert!(status >= 500 && answer.to_string().contains("full"), "{status} {answer}");
    until("a pass", async || (runner.health.report().last_pass_unix_ms > passes).then_some(())).await;
    assert_eq!(healthz().await.0, 503, "a pass that is finished is no sign that all is well");
    let report = runner.json("GET", "/healthz?verbose", &json!(null)).await.1;
    assert!(report["ready"] == false && report["unwritten"].to_string().contains("full"), "{report}");
    disk.free();
    until("a green answer", async || (self::healthz(&runner, false).await == (200, "OK".to_owned())).then_some(()))
        .await;
    world.offer().await;
    runner.set_up("second").await;
    runner.end().await;
}
