//! Many concurrent stages on real agents: how long each waits, and whether all are stored.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::future::try_join_all;
use kiln_wire::runner::kiln::{INSTANCES, InstanceList, STAGES, StageList};
use kiln_wire::runner::{DESTROY, SETUP};
use serde_json::{Value, json};

use crate::numbers::{ms, percentile};
use crate::real::{Place, Runner};
use crate::{bare, local, post};

/// Number of callers. Each serves one stage after the other.
const CALLERS: usize = 10;
/// Number of stages that all callers serve together.
const CALLED: usize = 30;
/// Number of warm instances for the callers.
const WARM: usize = 10;
/// Stages on an empty pool.
const COLD: usize = 20;
/// Most concurrent instances for the crowd.
const PLACES: usize = 5;
/// Stages that are requested per second while instances boot.
const FLOOD_PER_S: u32 = 25;
/// Duration of these requests.
const FLOOD_FOR_S: u32 = 8;
/// Time after the last request within which all stages must be stored.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// Idle time of a ready instance, while stages wait, above which it is listed.
const LATE: Duration = Duration::from_millis(100);

/// The pool of a runner whose agents are processes.
const POOL: &str = "pool";

/// Measures on processes, and with a program also those parts on local VMs that need no second pool.
pub async fn run(crowd: usize, program: Option<&Path>) -> anyhow::Result<()> {
    println!("# agents are real processes on this machine; SQLite on disk");
    callers().await?;
    cold().await?;
    let place = Place::new()?;
    self::crowd(&Runner::start(&place, "crowd", 0, PLACES, &[]).await?, POOL, crowd).await?;
    let place = Place::new()?;
    flood(&Runner::start(&place, "flood", 0, PLACES, &[]).await?, POOL).await?;
    let Some(program) = program else { return Ok(()) };
    println!("# agents are in VMs of {} on this machine", local::IMAGE);
    let folder = local::Folder::new()?;
    let runner = folder.start(program, 1, u32::try_from(PLACES)?).await?;
    // Its golden VM exists by then.
    runner.wait(|pool| pool.ready == 1).await?;
    self::crowd(&runner, local::POOL, crowd).await?;
    flood(&runner, local::POOL).await
}

fn setup(pool: &str, stage: &str) -> Value {
    json!({"id": stage, "pool_id": pool, "setup_request": {"envs": {"A": "b"}}})
}

fn end(stage: &str) -> Value {
    json!({"id": stage})
}

/// Callers that end each stage as soon as it is served.
async fn callers() -> anyhow::Result<()> {
    let place = Place::new()?;
    let runner = Runner::start(&place, "bench", WARM, CALLED, &[]).await?;
    runner.wait(|pool| pool.ready as usize == WARM).await?;
    let stages = (0..CALLED).map(|n| {
        let (api, stage) = (&runner.api, format!("called-{n}"));
        async move {
            let began = Instant::now();
            post(api, SETUP, &setup(POOL, &stage)).await?;
            let took = began.elapsed();
            post(api, DESTROY, &end(&stage)).await?;
            anyhow::Ok(took)
        }
    });
    let served: Vec<_> = futures::stream::iter(stages).buffer_unordered(CALLERS).collect().await;
    let mut times = served.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    println!(
        "callers={CALLERS} stages={CALLED} warm={WARM} setup_p50_ms={} p90_ms={} most_ms={}",
        ms(percentile(&mut times, 50)),
        ms(percentile(&mut times, 90)),
        ms(percentile(&mut times, 100)),
    );
    Ok(())
}

/// Stages on an empty pool, compared with launches without an engine.
async fn cold() -> anyhow::Result<()> {
    let bare = bare::launches(COLD).await?;
    let place = Place::new()?;
    let runner = Runner::start(&place, "bench", 0, COLD, &[]).await?;
    let began = Instant::now();
    let bodies: Vec<Value> = (0..COLD).map(|n| setup(POOL, &format!("cold-{n}"))).collect();
    try_join_all(bodies.iter().map(|body| post(&runner.api, SETUP, body))).await?;
    let took = began.elapsed();
    let again = bare::launches(COLD).await?;
    let bare = (bare + again) / 2;
    println!(
        "cold={COLD} all_set_up_ms={} bare_launches_ms={} ratio={:.2}",
        ms(took),
        ms(bare),
        took.as_secs_f64() / bare.as_secs_f64()
    );
    Ok(())
}

/// A crowd of stages for few instances: how long an instance is ready before it serves one of them.
async fn crowd(runner: &Runner, pool: &str, stages: usize) -> anyhow::Result<()> {
    let (began, began_at) = (Instant::now(), SystemTime::now());
    let served = (0..stages).map(|n| {
        let (api, stage) = (runner.api.clone(), format!("crowd-{n}"));
        async move {
            post(&api, SETUP, &setup(pool, &stage)).await?;
            post(&api, DESTROY, &end(&stage)).await
        }
    });
    try_join_all(served).await?;
    let took = began.elapsed();
    let list = runner.api.get::<InstanceList>(INSTANCES, &[("all", "true")]).await?.message;
    let began_unix_ms = i64::try_from(began_at.duration_since(UNIX_EPOCH)?.as_millis())?;
    let ready = |instance: &kiln_wire::runner::kiln::Instance| {
        let ready_unix_ms = instance.ready_unix_ms?;
        let waited = u64::try_from(instance.claimed_unix_ms? - ready_unix_ms).ok()?;
        Some((Duration::from_millis(waited), ready_unix_ms - began_unix_ms))
    };
    let seen: Vec<(Duration, i64)> = list.instances.iter().filter_map(ready).collect();
    let mut times: Vec<Duration> = seen.iter().map(|(waited, _)| *waited).collect();
    println!(
        "crowd={stages} places={PLACES} seen={} ready_to_assigned_p50_ms={} p99_ms={} most_ms={} stages_per_s={:.1}",
        times.len(),
        ms(percentile(&mut times, 50)),
        ms(percentile(&mut times, 99)),
        ms(percentile(&mut times, 100)),
        crate::numbers::per_second(stages, took),
    );
    let mut late: Vec<_> = seen.into_iter().filter(|(waited, _)| *waited > LATE).collect();
    late.sort_unstable_by_key(|(_, at_ms)| *at_ms);
    for (waited, at_ms) in late {
        println!("late: ready {at_ms} ms after the first was asked for, assigned {} ms later", ms(waited));
    }
    Ok(())
}

/// New stages at a steady pace, while the machine is busy booting instances.
async fn flood(runner: &Runner, pool: &str) -> anyhow::Result<()> {
    let asked = FLOOD_PER_S * FLOOD_FOR_S;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / FLOOD_PER_S);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..asked {
        pace.tick().await;
        let (api, pool) = (runner.api.clone(), pool.to_owned());
        calls.spawn(async move { post(&api, SETUP, &setup(&pool, &format!("flood-{n}"))).await });
    }
    let deadline = Instant::now() + STORED_WITHIN;
    let stored = loop {
        let list = runner.api.get::<StageList>(STAGES, &[("all", "true")]).await?.message;
        let stored = list.stages.iter().filter(|stage| stage.id.starts_with("flood-")).count();
        if stored == asked as usize || Instant::now() > deadline {
            break stored;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut refused = 0;
    while let Some(call) = calls.try_join_next() {
        refused += usize::from(call.context("a caller")?.is_err());
    }
    println!("flood_per_s={FLOOD_PER_S} asked={asked} stored={stored} refused={refused}");
    anyhow::ensure!(stored == asked as usize && refused == 0, "not all stages were stored");
    Ok(())
}
