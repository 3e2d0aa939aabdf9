//! A database that takes no writes.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::rig::{Runner, World, until};

/// What `/healthz` answers; the second one as a stranger.
async fn healthz(runner: &Runner, stranger: bool) -> (u16, String) {
    let mut request = runner.http.get(runner.url("/healthz"));
    if stranger {
        request = request.header("host", "stranger.example");
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// It said OK for as long as the process ran, while every write failed.
#[tokio::test]
async fn health_is_red_while_nothing_can_be_written_and_green_again_afterwards() {
    let world = World::new();
    let runner = Runner::with(&world, |settings| settings.unwritten_for = Duration::from_millis(100)).await;
    until("the first pass", async || runner.health.report().ready.then_some(())).await;
    assert_eq!(healthz(&runner, false).await, (200, "OK".to_owned()));
    // Somebody else writes, and does not end.
    let file = format!("sqlite:{}", world.dir.path().join("kiln.db").display());
    let mut other = SqliteConnection::connect(&file).await.expect("the database");
    other.execute("BEGIN IMMEDIATE").await.expect("a transaction");
    let (status, text) = until("a red answer", async || {
        let (status, text) = healthz(&runner, false).await;
        (status != 200).then_some((status, text))
    })
    .await;
    assert_eq!(status, 503, "{text}");
    assert!(text.starts_with("nothing could be written down for ") && text.contains("locked"), "{text}");
    let (status, text) = healthz(&runner, true).await;
    assert!(status == 503 && !text.contains("locked"), "strangers are told no more than that: {text}");
    let verbose = runner.send("GET", "/healthz?verbose", "").await;
    assert_eq!(verbose.status().as_u16(), 503);
    assert!(verbose.text().await.expect("a body").contains("\"ready\":false"));
    other.execute("ROLLBACK").await.expect("the end of the transaction");
    until("a green answer", async || (healthz(&runner, false).await == (200, "OK".to_owned())).then_some(())).await;
    runner.end().await;
}
