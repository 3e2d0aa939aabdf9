//! Warm claims through `/setup`, while the engine refills the pool.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use kiln_driver::{Driver, Labels};
use kiln_engine::world::{Limits, Store as _};
use kiln_engine::{Engine, Host, INSTALLATION_LABEL, POOL_LABEL, RUNNER_LABEL};
use kiln_pool::{Config, Instance, SiteId, State};
use kiln_runner::host::TokioHost;
use kiln_runner::http::{Api, Health, Metrics, Parts, Server, Settings};
use kiln_runner_client::Runner;
use kiln_store::{Opened, postgres_for_tests};
use kiln_wire::runner::{DESTROY, SETUP};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::numbers::{ms, per_second, percentile};
use crate::stub::{self, ADDRESS, ME, POOL, SITE, StubAgents, StubDriver};
use crate::{client, post};

/// Claims one after the other, and again by many clients.
const CLAIMS: usize = 1_000;
const CLIENTS: usize = 64;
/// Rows that are written concurrently before the measurement.
const FILLERS: usize = 64;
/// Time within which the pool must be full again.
const FULL_WITHIN: Duration = Duration::from_secs(300);

struct Bench {
    rows: usize,
    runner: Runner,
    engine: Arc<Engine>,
    stop: CancellationToken,
}

pub async fn run(store: &str, rows: &[usize]) -> anyhow::Result<()> {
    println!("# HTTP on loopback, driver and agents are stubs that answer at once, the engine runs; store: {store}");
    let server = match store {
        "postgres" => Some(postgres_for_tests::start().map_err(anyhow::Error::msg)?),
        "sqlite" => None,
        other => anyhow::bail!("--store {other}: sqlite or postgres"),
    };
    for rows in rows {
        let dir = stub::folder()?;
        let (fill, url) = match &server {
            Some(server) => {
                let url = server.database().map_err(anyhow::Error::msg)?;
                (url.clone(), url)
            }
            None => {
                let url = format!("sqlite:{}", dir.path().join("kiln.db").display());
                (format!("{url}?sync=off"), url)
            }
        };
        let warm = u32::try_from(*rows)?;
        let config = stub::config(warm, warm.saturating_mul(2) + 4096);
        let driver = Arc::new(StubDriver::default());
        fill_rows(&fill, *rows, &config, &driver).await?;
        let bench = Bench::start(*rows, &url, config, driver).await?;
        bench.measure().await?;
        bench.stop.cancel();
    }
    Ok(())
}

fn labels(installation: &str) -> Labels {
    let labels = [(INSTALLATION_LABEL, installation), (POOL_LABEL, POOL), (RUNNER_LABEL, ME)];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

async fn fill_rows(url: &str, rows: usize, config: &Config, driver: &StubDriver) -> anyhow::Result<()> {
    let Opened { store, installation } = kiln_store::open(url).await?;
    let now = TokioHost::default().now_ms();
    let flavor = config.flavor(POOL).context("the pool")?.1;
    let row = |n: usize| Instance {
        id: format!("kiln-bench-{n}").as_str().into(),
        pool: POOL.to_owned(),
        flavor: flavor.key.clone(),
        site: SITE.into(),
        place: String::new(),
        token: String::new(),
        batch_index: 0,
        batch_size: 1,
        image: flavor.launch.image.clone(),
        digest: flavor.launch.digest(),
        state: State::Ready,
        generation: 1,
        runner: ME.to_owned(),
        stage: None,
        created_ms: now,
        since_ms: now,
        ready_ms: Some(now),
        claimed_ms: None,
        deadline_ms: None,
        hold_until_ms: None,
        retry_ms: None,
        attempts: 0,
        address: ADDRESS.parse().ok(),
        server_name: Some(format!("kiln-bench-{n}")),
        needs_claim: false,
        cause: None,
    };
    let limits = Limits { pool: u32::MAX, flavor: None };
    let mut written = futures::stream::iter(0..rows)
        .map(|n| {
            let (row, store) = (row(n), Arc::clone(&store));
            driver.add(row.id.as_str(), labels(&installation));
            async move { store.insert_instances(&[row], limits, "bench").await }
        })
        .buffer_unordered(FILLERS);
    while let Some(done) = written.next().await {
        anyhow::ensure!(done?, "a row was not written");
    }
    drop(written);
    store.close().await;
    Ok(())
}

impl Bench {
    async fn start(rows: usize, url: &str, config: Config, driver: Arc<StubDriver>) -> anyhow::Result<Self> {
        let opened = kiln_store::open(url).await?;
        let (host, agents) = (Arc::new(TokioHost::default()), Arc::new(StubAgents::start().await?));
        let engine = Engine::new(kiln_engine::Parts {
            me: ME.to_owned(),
            process: host.new_token(),
            installation: opened.installation,
            store: opened.store,
            agents: Arc::clone(&agents) as Arc<dyn kiln_engine::Agents>,
            drivers: Arc::new(BTreeMap::from([(SiteId::new(SITE), driver as Arc<dyn Driver>)])),
            host: Arc::clone(&host) as Arc<dyn Host>,
            config,
        });
        let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
        let (stop, bind) = (CancellationToken::new(), SocketAddr::from(([127, 0, 0, 1], 0)));
        let api = Api::new(Parts {
            engine: Arc::clone(&engine),
            host,
            agents,
            ca_pem: String::new(),
            health,
            metrics,
            settings: Settings { bind, ..Settings::default() },
            shutdown: stop.clone(),
        });
        let server = Server::bind(api).await?;
        let runner = client(&format!("http://{}", server.address()))?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(server.serve()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&engine).run(|_| {})));
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&engine).probe_for_ever()));
        Ok(Self { rows, runner, engine, stop })
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let mut times = Vec::new();
        while times.len() < CLAIMS {
            self.full().await?;
            let wave = (self.rows / 2).min(CLAIMS - times.len());
            let first = times.len();
            for n in first..first + wave {
                times.push(self.claim(&format!("one-{n}")).await?);
            }
            self.end("one", first..first + wave).await?;
        }
        let clients = CLIENTS.min(self.rows / 2);
        let (mut claimed, mut took) = (0, Duration::ZERO);
        while claimed < CLAIMS {
            self.full().await?;
            let wave = (self.rows / 2).min(CLAIMS - claimed);
            let began = Instant::now();
            let calls = futures::stream::iter(claimed..claimed + wave);
            let done: Vec<_> = calls
                .map(|n| async move { self.claim(&format!("many-{n}")).await })
                .buffer_unordered(clients)
                .collect()
                .await;
            took += began.elapsed();
            done.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
            self.end("many", claimed..claimed + wave).await?;
            claimed += wave;
        }
        println!(
            "rows={} p50_ms={} p99_ms={} claims_per_s={:.0} clients={clients}",
            self.rows,
            ms(percentile(&mut times, 50)),
            ms(percentile(&mut times, 99)),
            per_second(claimed, took)
        );
        Ok(())
    }

    async fn claim(&self, stage: &str) -> anyhow::Result<Duration> {
        let body = json!({"id": stage, "pool_id": POOL, "setup_request": {"envs": {"A": "b"}}});
        let began = Instant::now();
        post(&self.runner, SETUP, &body).await?;
        Ok(began.elapsed())
    }

    async fn end(&self, name: &str, which: std::ops::Range<usize>) -> anyhow::Result<()> {
        let ends = futures::stream::iter(which).map(|n| {
            let body = json!({"id": format!("{name}-{n}")});
            async move { post(&self.runner, DESTROY, &body).await }
        });
        let done: Vec<_> = ends.buffer_unordered(CLIENTS).collect().await;
        done.into_iter().collect::<anyhow::Result<Vec<_>>>().map(drop)
    }

    /// Waits until the pool is full again.
    async fn full(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + FULL_WITHIN;
        loop {
            let live = self.engine.store().live_instances().await?;
            let ready = live.iter().filter(|row| row.state == State::Ready).count();
            if ready >= self.rows && live.len() == ready {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{ready} of {} rows are ready", self.rows);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
