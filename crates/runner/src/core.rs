//! The runner without its HTTP API: store, engine and agents, and the loops that drive them.
//!
//! `kiln run` uses it directly; `kiln runner` adds the HTTP API.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kiln_agent_client::Credentials;
use kiln_engine::{Drivers, Engine, Host, Parts, PassReport, Store as _, StoreError};
use kiln_pool::{Config, InstanceId};
use kiln_tls::Authority;
use tokio_util::sync::CancellationToken;

use crate::agents::{Leases, PooledAgents, ReadyWhen, StageAgents};
use crate::clock::{self, Jumps};
use crate::host::TokioHost;
use crate::stages::{PREPARED_WITHIN, Stages};

/// Time after which ended instances and stages are forgotten.
const HISTORY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Interval at which old rows are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Poll interval for other runners' changes, where they share the store.
const SHARED_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the core waits for running calls when it stops.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// The parts of a core.
pub struct CoreSettings {
    /// This runner's name; unique among those that share a database.
    pub name: String,
    /// `sqlite:PATH` or `postgres://…`.
    pub database: String,
    /// The pools.
    pub config: Config,
    /// Opens the drivers of sites.
    pub drivers: Arc<dyn Drivers>,
    /// The CA that instances trust.
    pub authority: Arc<Authority>,
    /// The runner's own certificate.
    pub credentials: Credentials,
    /// Time after which instances without calls power themselves off.
    pub leases: Leases,
    /// The condition under which an instance is ready.
    pub ready_when: ReadyWhen,
    /// Called with the outcome of each pass.
    pub note: Note,
}

/// A function that is called with the outcome of each pass.
pub type Note = Box<dyn Fn(&Result<PassReport, StoreError>) + Send + Sync>;

/// The reason why a core cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] kiln_store::OpenError),
    /// A call of the database failed.
    #[error(transparent)]
    Store(#[from] kiln_engine::StoreError),
    /// The runner has another CA than the database.
    #[error(
        "this runner's CA is not the one that the database's instances trust (fingerprint {ours}, recorded {recorded}); \
         give each runner of a database the same CA: copy the folder {dir} of the first one"
    )]
    OtherCa {
        /// The fingerprint of the runner's CA.
        ours: String,
        /// The fingerprint that was recorded first.
        recorded: String,
        /// The folder of the runner's CA.
        dir: PathBuf,
    },
}

/// A running core. Dropping it stops its loops; instances continue.
pub struct Core {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Connections to agents.
    pub agents: Arc<PooledAgents>,
    /// Clock and signals.
    pub host: Arc<TokioHost>,
    stop: CancellationToken,
    superseded: CancellationToken,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Core {
    /// Opens the database and starts the loops. `ca_dir` is named when the CA is the wrong one.
    ///
    /// # Errors
    /// When the database cannot be used, or belongs to another CA.
    pub async fn start(settings: CoreSettings, ca_dir: &std::path::Path) -> Result<Self, CoreError> {
        let opened = kiln_store::open(&settings.database).await?;
        let ours = settings.authority.fingerprint();
        let recorded = opened.store.remember("ca", &ours).await?;
        if recorded != ours {
            return Err(CoreError::OtherCa { ours, recorded, dir: ca_dir.to_owned() });
        }
        // Other runners change rows without a signal to this one.
        let shared = settings.database.starts_with("postgres");
        let epoch_ms = opened.store.anchor(&clock::boot_id(), clock::wall_ms() - clock::boot_ms()).await?;
        let host = Arc::new(TokioHost::with_epoch(epoch_ms));
        let dated_by = Arc::clone(&host);
        opened.store.date_by(move || dated_by.now_ms());
        let CoreSettings { authority, credentials, leases, ready_when, .. } = settings;
        let pools = settings.config.pools.values().filter(|pool| pool.docker_socket).map(|pool| pool.name.clone());
        let agents = PooledAgents::new(authority, credentials, leases, ready_when).showing_sockets_in(pools);
        let agents = Arc::new(agents);
        let engine = Engine::new(Parts {
            me: settings.name,
            process: uuid::Uuid::new_v4().to_string(),
            installation: opened.installation,
            store: opened.store,
            agents: Arc::clone(&agents) as Arc<dyn kiln_engine::Agents>,
            drivers: settings.drivers,
            host: Arc::clone(&host) as Arc<dyn Host>,
            config: settings.config,
        });
        let core = Self { engine, agents, host, stop: CancellationToken::new(), superseded: CancellationToken::new() };
        core.drive(shared, settings.note);
        Ok(core)
    }

    fn drive(&self, shared: bool, note: Note) {
        let stop = self.stop.clone();
        let (passes, superseded, loops) = (Arc::clone(&self.engine).run(note), self.superseded.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            passes.await;
            loops.cancel();
            superseded.cancel();
        }));
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&self.engine).probe_for_ever()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(watch_clock(Arc::clone(&self.host))));
        let forget = forget(Arc::clone(&self.engine), Arc::clone(&self.agents), Arc::clone(&self.host));
        tokio::spawn(stop.clone().run_until_cancelled_owned(forget));
        if shared {
            let host = Arc::clone(&self.host);
            tokio::spawn(stop.run_until_cancelled_owned(async move {
                loop {
                    tokio::time::sleep(SHARED_LOOK_EVERY).await;
                    host.signal();
                }
            }));
        }
    }

    /// Returns when a later process of this runner's name has started. By then the loops have stopped, and this process
    /// must end.
    pub async fn superseded(&self) {
        self.superseded.cancelled().await;
    }

    /// Returns the preparation of stages on this core's engine.
    #[must_use]
    pub fn stages(&self) -> Stages {
        Stages::new(Arc::clone(&self.engine), Arc::clone(&self.agents) as Arc<dyn StageAgents>, PREPARED_WITHIN)
    }

    /// Stops the loops and gives up the leases, so that another runner takes over at once. Instances continue.
    pub async fn stop(&self) {
        self.stop.cancel();
        // A running call writes down its outcome. The next runner takes up any call that does not end in time.
        drop(tokio::time::timeout(FINISH_WITHIN, self.engine.quiet()).await);
        if let Err(error) = self.engine.release_leases().await {
            tracing::warn!(%error, "the leases expire by themselves");
        }
    }
}

/// Logs when the wall clock is set. Nothing depends on it, but people compare it with the rows' times.
async fn watch_clock(host: Arc<TokioHost>) {
    let mut jumps = Jumps::since(clock::wall_ms(), host.now_ms());
    loop {
        tokio::time::sleep(clock::LOOK_EVERY).await;
        if let Some(by_ms) = jumps.look(clock::wall_ms(), host.now_ms()) {
            tracing::warn!(
                by_ms,
                "the wall clock was set; deadlines, ages and the times of rows still follow the clock of this boot"
            );
        }
    }
}

/// Forgets old rows, and connections to instances that are gone.
async fn forget(engine: Arc<Engine>, agents: Arc<PooledAgents>, host: Arc<TokioHost>) {
    loop {
        let before = host.now_ms() - i64::try_from(HISTORY.as_millis()).unwrap_or(i64::MAX);
        let forgotten = engine.store().prune(before).await;
        let live = engine.store().live_instances().await;
        match (forgotten, live) {
            (Ok(rows), Ok(live)) => {
                tracing::debug!(rows, "old rows were forgotten");
                let live: std::collections::BTreeSet<InstanceId> = live.into_iter().map(|i| i.id).collect();
                agents.keep_only(|id| live.contains(id));
            }
            (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "old rows could not be forgotten"),
        }
        tokio::time::sleep(FORGET_EVERY).await;
    }
}
