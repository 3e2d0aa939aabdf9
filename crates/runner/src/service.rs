//! A complete runner: the core and the HTTP API.
//!
//! ```text
//! start ─► listen ─► open the database ─► passes fill the pools        (healthz answers from the first moment on)
//! stop  ─► refuse new connections ─► open requests end, or are cut ─► what is under way writes its outcome down
//! ```
//! Instances and their steps continue whatever happens to this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agents::StageAgents;
use crate::core::{Core, CoreError, CoreSettings};
use crate::http::{Api, Exposed, Health, Metrics, Parts, Server, ServerError, Settings};

/// The parts of a runner.
pub struct ServiceSettings {
    /// The core. Its `note` is called after the health report is updated.
    pub core: CoreSettings,
    /// The CA's folder, for people.
    pub ca_dir: PathBuf,
    /// The API.
    pub http: Settings,
}

/// The reason why a runner cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The core.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The API.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The API and the pools do not go together.
    #[error(transparent)]
    Exposed(#[from] Exposed),
}

/// A running runner. Dropping it stops it at once; instances continue.
pub struct Service {
    /// The core.
    pub core: Core,
    /// The address that the API listens on.
    pub address: SocketAddr,
    drain: Duration,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.serving.abort();
    }
}

impl Service {
    /// Starts the core and the API.
    ///
    /// # Errors
    /// When the database or the address is not available, or everybody, or a step, could call the API.
    pub async fn start(settings: ServiceSettings) -> Result<Self, ServiceError> {
        Server::check(&settings.http)?;
        settings.http.check_pools(&settings.core.config)?;
        let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
        let mut core_settings = settings.core;
        let (told, counted, also) = (Arc::clone(&health), Arc::clone(&metrics), core_settings.note);
        core_settings.note = Box::new(move |passed| {
            match passed {
                Ok(report) => {
                    told.note_pass(crate::clock::wall_ms(), report);
                    counted.note_pass(report);
                }
                Err(error) => told.note_failed_pass(&error.to_string()),
            }
            also(passed);
        });
        let ca_pem = core_settings.authority.ca_pem().to_owned();
        let core = Core::start(core_settings, &settings.ca_dir).await?;
        let (shutdown, drain) = (CancellationToken::new(), settings.http.drain);
        let api = Api::new(Parts {
            engine: Arc::clone(&core.engine),
            host: Arc::clone(&core.host) as Arc<dyn kiln_engine::Host>,
            agents: Arc::clone(&core.agents) as Arc<dyn StageAgents>,
            ca_pem,
            health,
            metrics,
            settings: settings.http,
            shutdown: shutdown.clone(),
        });
        let server = Server::bind(api).await?;
        let address = server.address();
        let serving = tokio::spawn(server.serve());
        Ok(Self { core, address, drain, shutdown, serving })
    }

    /// Stops: refuses new connections and lets open requests end, until they have ended, their time is over, or `hurry`
    /// returns.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        self.shutdown.cancel();
        tracing::info!(
            drain_s = self.drain.as_secs(),
            "stopping: open requests may end; stages continue without this process"
        );
        tokio::select! {
            // The server cuts requests that take longer than the drain time.
            _ = &mut self.serving => {}
            () = hurry => tracing::info!("stopping at once"),
        }
        self.core.stop().await;
    }
}
