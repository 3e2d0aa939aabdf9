//! Runners in this process, over one database and one cloud, whose clock is turned by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kiln_driver::Driver;
use kiln_engine::{Assigned, Demand, Engine, Host, Parts, Store as _};
use kiln_pool::config::{Ages, Flavor, Launch, Tenant};
use kiln_pool::plan::Action;
use kiln_pool::request::Request;
use kiln_pool::{Code, Config, Instance, InstanceId, Pool, SiteId, Stage, StageState, State, Timing};
use kiln_runner::host::TokioHost;
use tokio::task::JoinHandle;

use crate::cloud::{Answers, Cloud};
use crate::faults::Faulty;

/// Limit of every wait. Nothing in these tests takes longer on a working runner.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Number of passes after which a runner that still plans will never settle.
const PASSES: usize = 200;

pub const SECOND_MS: i64 = 1_000;
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The parts that outlive a runner.
pub struct World {
    dir: tempfile::TempDir,
    pub cloud: Arc<Cloud>,
    pub agents: Arc<Answers>,
    ahead_ms: Arc<AtomicI64>,
}

/// The real host, with a clock that is ahead.
pub struct Turned {
    inner: TokioHost,
    ahead_ms: Arc<AtomicI64>,
    ahead_at_start_ms: i64,
    work: Mutex<Vec<JoinHandle<()>>>,
}

pub struct Runner {
    pub engine: Arc<Engine>,
    pub store: Arc<Faulty>,
    pub host: Arc<Turned>,
    ahead_ms: Arc<AtomicI64>,
}

impl Host for Turned {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms() + self.ahead_ms.load(Ordering::SeqCst)
    }

    fn uptime_ms(&self) -> i64 {
        self.inner.uptime_ms() + self.ahead_ms.load(Ordering::SeqCst) - self.ahead_at_start_ms
    }

    fn new_token(&self) -> String {
        self.inner.new_token()
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.work.lock().expect("lock").push(tokio::spawn(work));
    }

    fn signals(&self) -> u64 {
        self.inner.signals()
    }

    fn wait(&self, seen: u64, limit_ms: i64) -> BoxFuture<'static, ()> {
        self.inner.wait(seen, limit_ms)
    }

    fn signal(&self) {
        self.inner.signal();
    }
}

/// Returns a flavor of pool `p`.
pub fn flavor(key: &str, warm: u32) -> Flavor {
    let launch = Launch { image: "debian".into(), cpus: 1, memory_mib: 512, disk_gib: 8, ..Launch::default() };
    let variant = key.split_once('/').map(|(_, variant)| variant.to_owned());
    let tenant = key.split_once('@').map(|(_, id)| Tenant { id: id.to_owned(), accounts: vec![id.to_owned()] });
    Flavor {
        key: key.into(),
        resource_class: variant.clone(),
        variant,
        tenant,
        nested_virtualization: false,
        warm,
        limit: None,
        hibernate: false,
        places: Vec::new(),
        launch,
    }
}

/// Returns a configuration with one pool, `p`.
pub fn config(limit: u32, flavors: Vec<Flavor>) -> Config {
    let pool = Pool {
        name: "p".into(),
        driver: "fake".into(),
        site: SiteId::new("fake"),
        os: "linux".into(),
        arch: "amd64".into(),
        limit,
        flavors,
        schedules: Vec::new(),
        ages: Ages::default(),
        fallbacks: Vec::new(),
        imds: false,
        docker_socket: false,
    };
    Config { pools: BTreeMap::from([("p".to_owned(), pool)]), timing: Timing::default() }
}

/// Returns a request without special wishes.
pub fn plain() -> Request {
    Request { pool: "p".to_owned(), ..Request::default() }
}

impl World {
    pub fn new() -> Self {
        let ahead_ms: Arc<AtomicI64> = Arc::default();
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, cloud: Arc::new(Cloud::new(Arc::clone(&ahead_ms))), agents: Arc::default(), ahead_ms }
    }

    pub async fn open(&self) -> kiln_store::Opened {
        let url = format!("sqlite:{}?sync=off", self.dir.path().join("kiln.db").display());
        kiln_store::open(&url).await.expect("a database")
    }

    pub async fn runner(&self, name: &str, config: &Config) -> Runner {
        let opened = self.open().await;
        let store = Arc::new(Faulty::new(opened.store));
        let ahead_ms = Arc::clone(&self.ahead_ms);
        let host = Arc::new(Turned {
            inner: TokioHost::default(),
            ahead_at_start_ms: ahead_ms.load(Ordering::SeqCst),
            ahead_ms: Arc::clone(&ahead_ms),
            work: Mutex::default(),
        });
        let engine = Engine::new(Parts {
            me: name.into(),
            process: host.new_token(),
            installation: opened.installation,
            store: Arc::clone(&store) as Arc<dyn kiln_engine::Store>,
            agents: Arc::clone(&self.agents) as Arc<dyn kiln_engine::Agents>,
            drivers: Arc::new(BTreeMap::from([(SiteId::new("fake"), Arc::clone(&self.cloud) as Arc<dyn Driver>)])),
            host: Arc::clone(&host) as Arc<dyn Host>,
            config: config.clone(),
        });
        engine.look_at_sites().await;
        Runner { engine, store, host, ahead_ms }
    }
}

impl Runner {
    /// Kills the runner as `kill -9` does: no work continues, and no lease is given up.
    pub fn kill(self) {
        for work in self.host.work.lock().expect("lock").drain(..) {
            work.abort();
        }
    }

    pub fn turn_clock(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Runs passes until there is nothing to do.
    pub async fn settle(&self) {
        let mut last = Vec::new();
        for _ in 0..PASSES {
            self.engine.look_at_sites().await;
            last = self.engine.pass().await.expect("a pass").planned;
            tokio::time::timeout(PATIENCE, self.engine.quiet()).await.expect("what was begun ends");
            if last.iter().all(|planned| matches!(planned.action, Action::Explain { .. })) {
                return;
            }
        }
        panic!("after {PASSES} passes there is still something to do: {last:#?}");
    }

    /// Lets time pass, and settles after each part of it.
    pub async fn go_through(&self, time_ms: i64, part_ms: i64) {
        for _ in 0..time_ms / part_ms {
            self.turn_clock(part_ms);
            self.settle().await;
        }
    }

    /// Makes a demand whose caller leaves, settles, and returns the stage's row.
    pub async fn ask(&self, stage: &str, request: Request) -> Stage {
        let (engine, demand) = (Arc::clone(&self.engine), demand(stage, request));
        let caller = tokio::spawn(async move { engine.acquire(&demand).await.map(drop) });
        until("the demand", async || self.stage(stage).await).await;
        self.settle().await;
        caller.abort();
        self.stage(stage).await.expect("a stage")
    }

    /// Returns the instance that a stage gets from a runner whose passes run elsewhere.
    pub async fn acquire(&self, stage: &str) -> Assigned {
        let demand = demand(stage, plain());
        let acquired = tokio::time::timeout(PATIENCE, self.engine.acquire(&demand)).await;
        acquired.expect("an instance in time").expect("an instance")
    }

    /// Gives a stage an instance, and prepares it as a client does.
    pub async fn serve(&self, stage: &str) -> Instance {
        let row = self.ask(stage, plain()).await;
        assert_eq!(row.state, StageState::Assigned, "{row:?}");
        self.engine.note_set_up(&row).await.expect("a database");
        self.instance(row.instance.as_ref().expect("an instance").as_str()).await
    }

    /// Ends a stage as its caller does.
    pub async fn end(&self, stage: &str) {
        let ended = self.engine.end_stage(&stage.into(), Code::Destroyed, "").await;
        assert!(ended.expect("a database"), "there is a stage {stage}");
    }

    pub async fn stage(&self, id: &str) -> Option<Stage> {
        self.store.stage(&id.into()).await.expect("a database")
    }

    pub async fn instance(&self, id: &str) -> Instance {
        self.store.instance(&InstanceId::new(id)).await.expect("a database").expect("an instance")
    }

    pub async fn live(&self) -> Vec<Instance> {
        self.store.live_instances().await.expect("a database")
    }

    /// Returns the number of warm instances of a flavor.
    pub async fn warm(&self, flavor: &str) -> usize {
        self.live().await.iter().filter(|i| i.flavor == flavor && i.state == State::Ready).count()
    }

    pub async fn live_ids(&self) -> BTreeSet<String> {
        self.live().await.into_iter().map(|instance| instance.id.to_string()).collect()
    }
}

fn demand(stage: &str, request: Request) -> Demand {
    Demand { id: stage.into(), request, wait_ms: 30 * MINUTE_MS, run_ms: 0 }
}

/// Waits until a value is there.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
