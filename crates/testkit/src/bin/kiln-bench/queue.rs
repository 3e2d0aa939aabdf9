//! Time from an instance's readiness until its stage's caller has it, while many stages wait and the site is slow to
//! list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::{join_all, try_join_all};
use kiln_driver::Driver;
use kiln_engine::{Demand, Engine, Host};
use kiln_pool::{Code, Request, SiteId, StageId};
use kiln_runner::host::TokioHost;
use tokio_util::sync::CancellationToken;

use crate::numbers::{ms, percentile};
use crate::stub::{self, StubAgents, StubDriver};

/// Stages that wait at any time.
const WAITING: usize = 100;
/// Stages of each caller, one after the other.
const ROUNDS: usize = 5;
/// Most concurrent instances. Those that are not claimed yet are booting.
const LIMIT: u32 = 128;
/// Instances that become ready per second.
const READY_PER_S: u32 = 20;
/// Duration of a listing.
const LIST_TAKES: Duration = Duration::from_secs(2);

pub async fn run() -> anyhow::Result<()> {
    println!(
        "# {WAITING} stages wait, {READY_PER_S} instances become ready a second, `list` takes {} s; SQLite on disk",
        LIST_TAKES.as_secs()
    );
    let folder = stub::folder()?;
    let opened = kiln_store::open(&format!("sqlite:{}", folder.path().join("kiln.db").display())).await?;
    let driver = Arc::new(StubDriver::listing_within(LIST_TAKES));
    let agents = Arc::new(StubAgents::start().await?.booting_every(Duration::from_secs(1) / READY_PER_S));
    let host = Arc::new(TokioHost::default());
    let engine = Engine::new(kiln_engine::Parts {
        me: stub::ME.to_owned(),
        process: host.new_token(),
        installation: opened.installation,
        store: opened.store,
        agents: Arc::clone(&agents) as Arc<dyn kiln_engine::Agents>,
        drivers: Arc::new(BTreeMap::from([(SiteId::new(stub::SITE), driver as Arc<dyn Driver>)])),
        host,
        config: stub::config(0, LIMIT),
    });
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&engine).run(|_| {})));
    let callers = (0..WAITING).map(|caller| tokio::spawn(serve(Arc::clone(&engine), Arc::clone(&agents), caller)));
    let served = join_all(callers).await.into_iter().map(|served| served.context("a caller")?);
    let mut times: Vec<Duration> = try_join_all(served.map(std::future::ready)).await?.into_iter().flatten().collect();
    stop.cancel();
    println!(
        "stages={} ready_to_acquired_p50_ms={} p90_ms={} p99_ms={} most_ms={}",
        times.len(),
        ms(percentile(&mut times, 50)),
        ms(percentile(&mut times, 90)),
        ms(percentile(&mut times, 99)),
        ms(percentile(&mut times, 100)),
    );
    Ok(())
}

/// Serves some stages one after the other, and returns how long after its instance's readiness each was served.
async fn serve(engine: Arc<Engine>, agents: Arc<StubAgents>, caller: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let id = StageId::new(format!("stage-{caller}-{round}"));
        let request = Request { pool: stub::POOL.to_owned(), ..Request::default() };
        let demand = Demand { id: id.clone(), request, wait_ms: 600_000, run_ms: 600_000 };
        let assigned = engine.acquire(&demand).await?;
        let acquired = Instant::now();
        let ready = agents.ready_at(&assigned.instance.id).context("it was never ready")?;
        times.push(acquired.duration_since(ready));
        engine.end_stage(&id, Code::Destroyed, "the benchmark has measured it").await?;
    }
    Ok(times)
}
