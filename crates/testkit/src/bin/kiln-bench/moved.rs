//! Several runners of one PostgreSQL: when one is killed, the others take over its work.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Context as _;
use futures::future::{join_all, try_join_all};
use kiln_store::postgres_for_tests;
use kiln_wire::runner::{DESTROY, SETUP};
use serde_json::{Value, json};

use crate::post;
use crate::real::{Place, Runner};

/// Most concurrent instances. Further stages have to wait.
const LIMIT: usize = 8;
const STAGES: usize = 24;

pub async fn run(runners: usize) -> anyhow::Result<()> {
    println!(
        "# {runners} runners of one PostgreSQL; agents are real processes; the one with the pool's lease is killed"
    );
    anyhow::ensure!(runners > 1, "one runner has nobody to leave its work to");
    let server = postgres_for_tests::start().map_err(anyhow::Error::msg)?;
    let database = server.database().map_err(anyhow::Error::msg)?;
    let place = Place::new()?;
    let mut running = Vec::new();
    for n in 0..runners {
        running.push(Runner::start(&place, &format!("runner-{n}"), 2, LIMIT, &["--database", &database]).await?);
        if n == 0 {
            // The first runner has the leases.
            running[0].wait(|pool| pool.ready > 0).await?;
        }
    }
    let setup =
        |n: usize| json!({"id": format!("stage-{n}"), "pool_id": "pool", "setup_request": {"envs": {"A": "b"}}});
    let first = running.remove(0);
    // All requests go to the first runner, so that all wait there when it is killed.
    let asked = (0..STAGES).map(|n| {
        let (api, body) = (first.api.clone(), setup(n));
        tokio::spawn(async move { post(&api, SETUP, &body).await })
    });
    let asked: Vec<_> = asked.collect();
    first.wait(|pool| pool.claimed as usize == LIMIT && pool.waiting as usize == STAGES - LIMIT).await?;
    let began = Instant::now();
    drop(first);
    let answered = join_all(asked).await.into_iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
    // Their callers turn to the others, and end each served stage, which makes room for the next.
    let stages = (0..STAGES).map(|n| {
        let (api, body) = (&running[n % running.len()].api, setup(n));
        async move {
            let got: Value = post(api, SETUP, &body).await?;
            post(api, DESTROY, &json!({"id": format!("stage-{n}")})).await?;
            got["instance_id"].as_str().map(str::to_owned).context("no instance")
        }
    });
    let got = try_join_all(stages).await?;
    let took = began.elapsed();
    let distinct = got.iter().collect::<BTreeSet<_>>().len();
    println!(
        "runners={runners} stages={STAGES} answered_before={answered} moved={} double={} served_after_kill_s={:.1}",
        STAGES - answered,
        STAGES - distinct,
        took.as_secs_f64()
    );
    Ok(())
}
