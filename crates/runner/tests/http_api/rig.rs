//! A runner in this process on a free port, and agents in place of machines.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kiln_agent_client::Credentials;
use kiln_driver::fake::FakeDriver;
use kiln_driver::{Driver, DriverError, ErrorClass, LaunchRequest, Launched, Listed};
use kiln_engine::{Engine, Host, Parts};
use kiln_pool::config::{Ages, Flavor, Launch};
use kiln_pool::{Config, End, Pool, SiteId, Timing};
use kiln_runner::agents::{Leases, PooledAgents, ReadyWhen};
use kiln_runner::host::TokioHost;
use kiln_runner::http::{self, Api, Health, Metrics, Server, Settings};
use kiln_tls::Authority;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Limit of every wait. Nothing in these tests takes longer on a working runner.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The name of machines before they get their own.
const GOLDEN: &str = "golden";

/// The parts that outlive a runner: machines, database, CA.
pub struct World {
    pub dir: tempfile::TempDir,
    pub driver: FakeDriver,
    pub authority: Arc<Authority>,
    /// Number of further calls of destroy that fail.
    pub failing_destroys: Arc<AtomicU32>,
    machines: Mutex<Vec<Machine>>,
}

/// The fake driver, with calls of destroy that fail on demand.
pub struct Stubborn {
    inner: FakeDriver,
    failures: Arc<AtomicU32>,
}

impl Driver for Stubborn {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        self.inner.launch(request)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        self.inner.list()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let message = format!("the cloud does not end {id} now");
            return Box::pin(async { Err(DriverError { class: ErrorClass::Transient, message, source: None }) });
        }
        self.inner.destroy(id)
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End> {
        self.inner.ended(id)
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        self.inner.console_tail(id)
    }
}

struct Machine {
    address: SocketAddr,
    agent: Arc<kiln_agent::agent::Agent>,
    serving: tokio::task::JoinHandle<()>,
    settings: kiln_agent::settings::Settings,
    _dir: tempfile::TempDir,
}

pub struct Runner {
    pub world: Arc<World>,
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    pub http: reqwest::Client,
    pub stop: CancellationToken,
    pub health: Arc<Health>,
    loops: Vec<tokio::task::JoinHandle<()>>,
}

fn pool(name: &str, image: &str) -> Pool {
    let launch = Launch { image: image.into(), cpus: 1, memory_mib: 512, disk_gib: 8, ..Launch::default() };
    let flavor = |key: &str, variant: Option<&str>, class: Option<&str>| Flavor {
        key: key.into(),
        variant: variant.map(Into::into),
        tenant: None,
        resource_class: class.map(Into::into),
        nested_virtualization: false,
        warm: 0,
        limit: None,
        hibernate: false,
        places: Vec::new(),
        launch: launch.clone(),
    };
    Pool {
        name: name.into(),
        driver: "fake".into(),
        site: SiteId::new("fake"),
        os: "linux".into(),
        arch: "amd64".into(),
        limit: 3,
        flavors: vec![flavor(name, None, None), flavor(&format!("{name}/large"), Some("large"), Some("large"))],
        schedules: Vec::new(),
        ages: Ages::default(),
        fallbacks: Vec::new(),
        imds: false,
        docker_socket: false,
    }
}

/// Returns two pools that work, and one whose image no driver has.
pub fn config() -> Config {
    let pools = [pool("ubuntu", "debian"), pool("other", "debian"), pool("broken", "missing")];
    Config { pools: pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect(), timing: Timing::default() }
}

impl World {
    pub fn new() -> Arc<Self> {
        Self::below(&std::env::temp_dir())
    }

    /// Creates a world whose database is somewhere below this folder.
    pub fn below(folder: &std::path::Path) -> Arc<Self> {
        kiln_tls::install_provider();
        Arc::new(Self {
            dir: tempfile::tempdir_in(folder).expect("a directory"),
            driver: FakeDriver::new(&["debian"], true),
            authority: Arc::new(Authority::create().expect("a CA")),
            failing_destroys: Arc::default(),
            machines: Mutex::default(),
        })
    }

    /// Opens a second connection to the database.
    pub async fn database(&self) -> sqlx::SqliteConnection {
        let file = format!("sqlite:{}", self.dir.path().join("kiln.db").display());
        <sqlx::SqliteConnection as sqlx::Connection>::connect(&file).await.expect("the database")
    }

    fn stubborn(&self) -> Arc<dyn Driver> {
        Arc::new(Stubborn { inner: self.driver.clone(), failures: Arc::clone(&self.failing_destroys) })
    }

    /// Makes the next launched instance a new machine with an agent.
    pub async fn offer(&self) {
        self.offer_with(|_| {}).await;
    }

    /// The same, with other settings of the agent.
    pub async fn offer_with(&self, change: impl FnOnce(&mut kiln_agent::settings::Settings)) {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let identity = self.authority.issue_server(GOLDEN).expect("a certificate");
        let files =
            [("ca.pem", self.authority.ca_pem()), ("cert.pem", &identity.cert_pem), ("key.pem", &identity.key_pem)];
        for (name, text) in files {
            std::fs::write(at(name), text).expect("a file");
        }
        let mut settings = kiln_agent::settings::Settings {
            // No program of this machine calls from this address, so an agent that is restarted finds its port free.
            bind: "127.0.0.2:0".parse().expect("an address"),
            ca_file: at("ca.pem"),
            cert_file: at("cert.pem"),
            key_file: at("key.pem"),
            engine_dir: at("engine"),
            state_dir: at("state"),
            root_dir: at("root"),
            change_kernel: false,
            cgroups: false,
            kill_grace: Duration::from_millis(500),
            base_env: std::env::vars().filter(|(k, _)| ["PATH", "HOME"].contains(&k.as_str())).collect(),
            ..kiln_agent::settings::Settings::default()
        };
        std::fs::create_dir_all(&settings.engine_dir).expect("a directory");
        change(&mut settings);
        let server = kiln_agent::server::Server::bind(settings.clone()).await.expect("an agent");
        let address = server.address().expect("an address");
        self.driver.offer_agent(address, GOLDEN);
        let agent = server.agent();
        let serving = tokio::spawn(server.serve(std::future::pending()));
        self.machines.lock().expect("lock").push(Machine { address, agent, serving, settings, _dir: dir });
    }

    /// Ends a machine's agent as a crash does, and starts another one in its place. `before` gets the state directory
    /// first.
    pub async fn restart_agent(&self, machine: usize, before: impl FnOnce(&std::path::Path)) {
        let (settings, serving) = {
            let mut machines = self.machines.lock().expect("lock");
            let machine = &mut machines[machine];
            let settings = kiln_agent::settings::Settings { bind: machine.address, ..machine.settings.clone() };
            (settings, std::mem::replace(&mut machine.serving, tokio::spawn(std::future::ready(()))))
        };
        serving.abort();
        drop(serving.await);
        before(&settings.state_dir);
        let server = kiln_agent::server::Server::bind(settings).await.expect("an agent");
        let mut machines = self.machines.lock().expect("lock");
        machines[machine].agent = server.agent();
        machines[machine].serving = tokio::spawn(server.serve(std::future::pending()));
    }

    /// Silences the agents. The machines continue.
    pub fn silence(&self) {
        for machine in self.machines.lock().expect("lock").iter() {
            machine.serving.abort();
        }
    }

    /// Silences the agents, and makes the driver report that the instance ended.
    pub fn crash(&self, instance: &str, evidence: &str) {
        self.silence();
        self.driver.crash(instance, evidence);
    }

    /// Ends processes that steps left running.
    pub async fn clean(&self) {
        let machines = std::mem::take(&mut *self.machines.lock().expect("lock"));
        for machine in machines {
            machine.agent.end_steps().await;
            machine.serving.abort();
        }
    }

    /// Returns the address of a machine's agent.
    pub fn address(&self, machine: usize) -> SocketAddr {
        self.machines.lock().expect("lock")[machine].address
    }

    /// Returns the folder of a machine's agent with its journal.
    pub fn state_of(&self, machine: usize) -> std::path::PathBuf {
        self.machines.lock().expect("lock")[machine].settings.state_dir.clone()
    }

    /// Tells whether a machine's agent was prepared for a stage.
    pub fn is_in_use(&self, machine: usize) -> bool {
        self.machines.lock().expect("lock")[machine].agent.in_use()
    }

    /// Returns the steps that a machine was told to start.
    pub fn steps_on(&self, machine: usize) -> Vec<String> {
        let agent = Arc::clone(&self.machines.lock().expect("lock")[machine].agent);
        agent.list().steps.into_iter().map(|step| step.id).collect()
    }
}

impl Runner {
    pub async fn start() -> Self {
        Self::with(&World::new(), |_| {}).await
    }

    /// Starts a runner that gets this many machines.
    pub async fn with_machines(machines: usize) -> Self {
        let world = World::new();
        for _ in 0..machines {
            world.offer().await;
        }
        Self::with(&world, |_| {}).await
    }

    pub async fn with(world: &Arc<World>, change: impl FnOnce(&mut Settings)) -> Self {
        let url = format!("sqlite:{}?sync=off", world.dir.path().join("kiln.db").display());
        let opened = kiln_store::open(&url).await.expect("a database");
        let client = world.authority.issue_client("runner").expect("a certificate");
        let credentials = Credentials { ca_pem: world.authority.ca_pem().to_owned(), client };
        let leases = Leases { lease_s: 0, max_age_s: 0 };
        let proven = ReadyWhen::Proven;
        let agents = Arc::new(PooledAgents::new(Arc::clone(&world.authority), credentials, leases, proven));
        let (host, health) = (Arc::new(TokioHost::default()), Arc::new(Health::default()));
        let engine = Engine::new(Parts {
            me: "runner-1".into(),
            process: host.new_token(),
            installation: opened.installation,
            store: opened.store,
            agents: Arc::clone(&agents) as Arc<dyn kiln_engine::Agents>,
            drivers: Arc::new(BTreeMap::from([(SiteId::new("fake"), world.stubborn())])),
            host: Arc::clone(&host) as Arc<dyn Host>,
            config: config(),
        });
        let mut settings = Settings { bind: "127.0.0.1:0".parse().expect("an address"), ..Settings::default() };
        settings.unreachable_for = PATIENCE * 2;
        settings.drain = Duration::from_millis(200);
        change(&mut settings);
        let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::default()));
        let api = Api::new(http::Parts {
            engine: Arc::clone(&engine),
            host: Arc::clone(&host) as Arc<dyn Host>,
            agents,
            ca_pem: world.authority.ca_pem().to_owned(),
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
            settings,
            shutdown: stop.clone(),
        });
        let server = Server::bind(api).await.expect("a server");
        let address = server.address();
        let (noted, clock) = (Arc::clone(&health), Arc::clone(&host));
        let run = Arc::clone(&engine).run(move |passed| match passed {
            Ok(report) => {
                metrics.note_pass(report);
                noted.note_pass(clock.now_ms(), report);
            }
            Err(error) => noted.note_failed_pass(&error.to_string()),
        });
        let loops = vec![tokio::spawn(server.serve()), tokio::spawn(run)];
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { world: Arc::clone(world), engine, address, http, stop, health, loops }
    }

    /// Ends this runner and starts another one on the same world.
    pub async fn restart(self) -> Self {
        let world = Arc::clone(&self.world);
        self.end().await;
        Self::with(&world, |_| {}).await
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        let run = self.loops.pop().expect("the engine");
        run.abort();
        for serving in self.loops.drain(..) {
            tokio::time::timeout(PATIENCE, serving).await.expect("the server to stop").expect("no panic");
        }
        self.engine.release_leases().await.expect("a database");
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn send(&self, verb: &str, path: &str, body: &str) -> reqwest::Response {
        let verb = reqwest::Method::from_bytes(verb.as_bytes()).expect("a verb");
        let sent = self.http.request(verb, self.url(path)).body(body.to_owned()).send();
        tokio::time::timeout(PATIENCE, sent).await.expect("an answer in time").expect("an answer")
    }

    /// Returns status and JSON.
    pub async fn json(&self, verb: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(verb, path, &body).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Returns the JSON of a success.
    pub async fn ok(&self, verb: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.json(verb, path, body).await;
        assert_eq!(status, 200, "{verb} {path}: {answer}");
        answer
    }

    /// Sets up a stage and returns its instance.
    pub async fn set_up(&self, stage: &str) -> String {
        let answer = self.ok("POST", "/setup", &setup(stage)).await;
        answer["instance_id"].as_str().expect("an id").to_owned()
    }

    /// Sends a request beside the test.
    pub fn spawn(&self, path: &str, body: Value) -> tokio::task::JoinHandle<(u16, Value)> {
        let sent = self.http.post(self.url(path)).body(body.to_string()).send();
        tokio::spawn(async move {
            let answer = sent.await.expect("an answer");
            (answer.status().as_u16(), answer.json().await.expect("JSON"))
        })
    }
}

pub fn setup(stage: &str) -> Value {
    json!({"id": stage, "pool_id": "ubuntu", "setup_request": {"envs": {"FROM_SETUP": "yes"}}})
}

/// Returns a step that runs a script.
pub fn step(stage: &str, id: &str, script: &str) -> Value {
    json!({"stage_runtime_id": stage, "start_step_request": {
        "id": id, "log_drone": true, "run": {"entrypoint": ["sh", "-c"], "commands": [script]}
    }})
}

/// Waits until a value is there.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
