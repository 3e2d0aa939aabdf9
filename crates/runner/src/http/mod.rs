//! The HTTP API: the incumbent's routes, field for field, and our own under `/kiln/v1/`.
//!
//! ```text
//! request ─► guard (host, token) ─► handler ─► flight (work that goes on without its caller) ─► engine, agent
//! ```
//! A handler only waits, for a row, a step in a VM, or a task of ours that the next caller with the same id joins. So a
//! caller that disconnects loses nothing, and one that repeats a call starts nothing twice.

mod archive;
mod auth;
mod connection;
mod demand;
mod events;
mod exports;
mod flight;
mod health;
mod lifecycle;
mod lookup;
mod metrics;
mod openapi;
mod operator;
mod origin;
mod place;
mod proxy;
mod reply;
mod routes;
mod server;
mod settings;
mod setup;
mod step;
mod views;

use std::sync::Arc;

use kiln_engine::{Assigned, Engine, Host};
use kiln_wire::agent::PollStepResponse;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use crate::agents::StageAgents;
pub use auth::Token;
pub use health::Health;
pub use metrics::Metrics;
pub use openapi::document as openapi;
pub use routes::list as route_list;
pub use server::{Server, ServerError};
pub use settings::{Exposed, Settings, Tls};

use connection::Open;
use exports::Exports;
use flight::Flights;
use reply::Refusal;

use crate::stages::Stages;

/// Greatest number of open event streams.
const EVENT_STREAMS: usize = 64;

/// The parts of an API.
pub struct Parts {
    /// The engine behind the API.
    pub engine: Arc<Engine>,
    /// The engine's clock and signals.
    pub host: Arc<dyn Host>,
    /// The agents.
    pub agents: Arc<dyn StageAgents>,
    /// PEM of the authority that signed the agents' certificates, for callers.
    pub ca_pem: String,
    /// The state of the runner's parts.
    pub health: Arc<Health>,
    /// The metrics. The engine's driver counts there too.
    pub metrics: Arc<Metrics>,
    /// The settings of the API.
    pub settings: Settings,
    /// When cancelled, the server stops.
    pub shutdown: CancellationToken,
}

/// The state that the handlers share.
pub struct Api {
    engine: Arc<Engine>,
    host: Arc<dyn Host>,
    agents: Arc<dyn StageAgents>,
    ca_pem: String,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    settings: Settings,
    shutdown: CancellationToken,
    set_ups: Flights<Result<Assigned, Refusal>>,
    steps: Flights<Result<PollStepResponse, Refusal>>,
    exports: Exports,
    streams: Arc<Semaphore>,
    stages: Stages,
    connections: Arc<Open>,
}

impl Api {
    /// Creates an API. [`Server`] serves it.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { engine, host, agents, ca_pem, health, metrics, settings, shutdown } = parts;
        let stages = Stages::new(Arc::clone(&engine), Arc::clone(&agents), settings.setup_within);
        Arc::new(Self {
            engine,
            host,
            agents,
            ca_pem,
            health,
            metrics,
            settings,
            shutdown,
            set_ups: Flights::default(),
            steps: Flights::default(),
            exports: Exports::default(),
            streams: Arc::new(Semaphore::new(EVENT_STREAMS)),
            stages,
            connections: Arc::default(),
        })
    }
}
