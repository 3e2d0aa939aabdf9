//! A driver and agents that answer at once and do nothing, so that only the runner is measured.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_agent_client::{Agent, AgentError};
use kiln_driver::{Driver, DriverError, Labels, LaunchRequest, Launched, Listed};
use kiln_engine::Agents;
use kiln_pool::{Cause, Config, End, Instance, InstanceId, Life};
use kiln_runner::http::StageAgents;
use tokio::sync::Mutex as Turns;
use tokio::time::Interval;

/// The runner's name.
pub const ME: &str = "bench";
/// The only site.
pub const SITE: &str = "stub";
/// The only pool, and its only flavor.
pub const POOL: &str = "pool";

/// Returns a configuration with one pool at the only site.
pub fn config(warm: u32, limit: u32) -> Config {
    let pool = kiln_testkit::sim::setting::pool(POOL, SITE, limit, warm);
    Config { pools: BTreeMap::from([(POOL.to_owned(), pool)]), ..Config::default() }
}

/// Creates a folder for a database. It is not below /tmp, which may be memory.
pub fn folder() -> anyhow::Result<tempfile::TempDir> {
    let beside = std::env::current_exe()?;
    Ok(tempfile::tempdir_in(beside.parent().context("no directory")?)?)
}

/// Instances that exist only as names.
#[derive(Default)]
pub struct StubDriver {
    live: Mutex<BTreeMap<String, Labels>>,
    list_takes: Duration,
}

/// The address of all agents.
pub const ADDRESS: &str = "127.0.0.1:9079";

impl StubDriver {
    /// Creates a driver whose listings take this long.
    pub fn listing_within(list_takes: Duration) -> Self {
        Self { list_takes, ..Self::default() }
    }

    pub fn add(&self, id: &str, labels: Labels) {
        self.live().insert(id.to_owned(), labels);
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<String, Labels>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn launched(id: &str) -> Launched {
    let reach = Some(SocketAddr::from(([127, 0, 0, 1], 9079)).into());
    Launched { id: id.to_owned(), reach, server_name: id.to_owned(), needs_claim: false, phases: Vec::new() }
}

impl Driver for StubDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        for id in request.ids() {
            self.add(&id, request.labels.clone());
        }
        async move { Ok(request.ids().map(|id| launched(&id)).collect()) }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        let live = self.live();
        let listed = live.iter().map(|(id, labels)| {
            let (id, labels, launched) = (id.clone(), labels.clone(), Some(launched(id)));
            Listed { id, life: Life::Running, labels, launched }
        });
        let listed = listed.collect();
        async move {
            tokio::time::sleep(self.list_takes).await;
            Ok(listed)
        }
        .boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.live().remove(id);
        async { Ok(()) }.boxed()
    }

    fn ended<'a>(&'a self, _: &'a str) -> BoxFuture<'a, End> {
        std::future::pending().boxed()
    }

    fn console_tail<'a>(&'a self, _: &'a str) -> BoxFuture<'a, String> {
        async { String::new() }.boxed()
    }
}

/// Agents that are all the same HTTP server of this process, which accepts every request.
pub struct StubAgents {
    agent: Agent,
    /// Ticks at which the agents boot one after the other; none if all boot at once.
    boots: Option<Turns<Interval>>,
    ready: Mutex<BTreeMap<InstanceId, Instant>>,
}

impl StubAgents {
    /// Starts agents that boot at once.
    pub async fn start() -> anyhow::Result<Self> {
        let yes = axum::Router::new().fallback(|| async { ([("content-type", "application/json")], "{}") });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, yes).await });
        // It answers to the paths that a runner would relay.
        let agent = crate::client(&format!("http://{address}"))?.agent("any");
        Ok(Self { agent, boots: None, ready: Mutex::default() })
    }

    /// Returns the same agents, but they boot one after the other with this pause.
    pub fn booting_every(self, pause: Duration) -> Self {
        Self { boots: Some(Turns::new(tokio::time::interval(pause))), ..self }
    }

    /// Returns when the agent of an instance had booted.
    pub fn ready_at(&self, id: &InstanceId) -> Option<Instant> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }
}

impl StageAgents for StubAgents {
    fn agent(&self, _: &Instance) -> Result<Agent, AgentError> {
        Ok(self.agent.clone())
    }
}

impl Agents for StubAgents {
    fn boot<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>> {
        async move {
            if let Some(boots) = &self.boots {
                boots.lock().await.tick().await;
            }
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.entry(instance.id.clone()).or_insert_with(Instant::now);
            Ok(())
        }
        .boxed()
    }

    fn health<'a>(&'a self, _: &'a Instance) -> BoxFuture<'a, Result<Option<Cause>, String>> {
        async { Ok(None) }.boxed()
    }
}
