//! Cost of a claim as the number of rows grows: `cargo bench -p kiln-store --features testing`.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kiln_engine::world::{Limits, Store as _};
use kiln_pool::{Candidate, Instance, Stage, StageState, State};
use kiln_store::{SqlStore, postgres_for_tests};

type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Claims that are measured one after the other, and again concurrently.
const CLAIMS: usize = 1_000;
/// Reads of all live rows. The best one counts.
const READS: usize = 10;
/// Concurrent claimers.
const CLAIMERS: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    println!(
        "{:<22} {:>6} {:>8} {:>8} {:>12} {:>12}",
        "database", "rows", "p50 µs", "p99 µs", "claims/s ×64", "live read ms"
    );
    for rows in [10, 1_000, 10_000] {
        for options in ["", "?sync=off"] {
            // The folder is not below /tmp, which may be memory.
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            let url = format!("sqlite:{}/kiln.db{options}", folder.path().display());
            measure(&format!("sqlite{options}"), rows, &url).await?;
        }
    }
    let server = match postgres_for_tests::start() {
        Ok(server) => server,
        Err(error) => {
            println!("{error}");
            return Ok(());
        }
    };
    for rows in [10, 1_000, 10_000] {
        measure("postgres (fsync=off)", rows, &server.database()?).await?;
    }
    Ok(())
}

async fn measure(name: &str, rows: usize, url: &str) -> Result<(), Failure> {
    let store = kiln_store::open(url).await?.store;
    // Rows that are never claimed, and rows that are.
    let others = (0..rows).map(|n| instance(&format!("other-{n}"), "other"));
    let ready = (0..2 * CLAIMS).map(|n| instance(&format!("i-{n}"), "small"));
    let all: Vec<_> = others.chain(ready).collect();
    for chunk in all.chunks(CLAIMERS) {
        for done in join_all(chunk.iter().map(|row| insert(&store, row))).await {
            done?;
        }
    }
    let mut times = Vec::new();
    for n in 0..CLAIMS {
        let row = stage(&format!("s-{n}"));
        let start = Instant::now();
        let claimed = store.begin_stage(&row, 10).await?.1;
        times.push(start.elapsed());
        claimed.ok_or("nothing was claimed")?;
    }
    times.sort();
    let start = Instant::now();
    let work = (0..CLAIMERS).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for m in (n..CLAIMS).step_by(CLAIMERS) {
                let row = stage(&format!("t-{m}"));
                let mut claimed = store.begin_stage(&row, 10).await?.1;
                while claimed.is_none() {
                    claimed = store.claim(&row, 10).await?.map(|(_, instance)| instance);
                }
            }
            Ok::<_, Failure>(())
        })
    });
    for done in join_all(work).await {
        done??;
    }
    let per_second = f64::from(u32::try_from(CLAIMS)?) / start.elapsed().as_secs_f64();
    let mut live = Duration::MAX;
    for _ in 0..READS {
        let start = Instant::now();
        store.live_instances().await?;
        live = live.min(start.elapsed());
    }
    let us = |time: Duration| time.as_micros();
    println!(
        "{name:<22} {rows:>6} {:>8} {:>8} {per_second:>12.0} {:>12}",
        us(times[CLAIMS / 2]),
        us(times[CLAIMS * 99 / 100]),
        live.as_millis()
    );
    Ok(())
}

async fn insert(store: &SqlStore, row: &Instance) -> Result<(), Failure> {
    store.insert_instances(std::slice::from_ref(row), Limits { pool: u32::MAX, flavor: None }, "bench").await?;
    Ok(())
}

fn instance(id: &str, flavor: &str) -> Instance {
    Instance {
        id: id.into(),
        // There are many pools, because each insertion counts the rows of its pool.
        pool: format!("pool {}", id.len() + id.bytes().last().unwrap_or_default() as usize),
        flavor: flavor.to_owned(),
        site: "none".into(),
        place: String::new(),
        token: String::new(),
        batch_index: 0,
        batch_size: 1,
        image: "image".to_owned(),
        digest: "0123456789abcdef".to_owned(),
        state: State::Ready,
        generation: 1,
        runner: "r".to_owned(),
        stage: None,
        created_ms: 1,
        since_ms: 1,
        ready_ms: Some(1),
        claimed_ms: None,
        deadline_ms: None,
        hold_until_ms: None,
        retry_ms: None,
        attempts: 0,
        address: "10.0.0.1:9079".parse().ok(),
        server_name: None,
        needs_claim: false,
        cause: None,
    }
}

fn stage(id: &str) -> Stage {
    let candidate = Candidate { pool: "p".to_owned(), flavor: "small".to_owned(), image: "image".to_owned() };
    Stage {
        id: id.into(),
        pool: "p".to_owned(),
        candidates: vec![candidate],
        account: String::new(),
        state: StageState::Waiting,
        generation: 1,
        instance: None,
        created_ms: 1,
        wait_until_ms: 1_000,
        run_ms: 1_000,
        assigned_ms: None,
        set_up: false,
        attempts: 0,
        why: None,
        cause: None,
        ended_ms: None,
    }
}
