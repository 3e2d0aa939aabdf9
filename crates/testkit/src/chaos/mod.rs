//! A real runner that is killed at random moments, always with stages in flight.
//!
//! ```text
//! clients (here) ── /setup /step /output /destroy, repeated with the same ids ──► runner (a process) ──► instances
//! killer  (here) ── SIGKILL, start again ───────────────────────────────────────────┘
//! ```
//! At the end every stage must have its result, every byte of output must have arrived exactly once, no step may have
//! run twice or in two places, and every remaining instance must have a row.

mod client;
mod killer;
mod plans;
mod script;
mod settle;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use kiln_runner_client::{Access, Patience, Runner};
use tokio::sync::watch;

use crate::sim::rng::Rng;
pub use settle::Left;

/// The plan of a chaos run.
pub struct Plan {
    /// Decides when the runner is killed and what the stages do.
    pub seed: u64,
    /// Number of kills.
    pub kills: u32,
    /// Number of concurrent stages.
    pub in_flight: usize,
    /// The pool that stages ask for.
    pub pool: String,
    /// Returns the command that starts the runner with its API at this address.
    pub runner: Box<dyn Fn(SocketAddr) -> Command + Send + Sync>,
    /// Returns the instances that really exist, whatever the runner knows.
    pub world: Box<dyn Fn() -> Left + Send + Sync>,
    /// Folder where steps on this machine record their work; none for instances that cannot reach its files.
    pub trace: Option<PathBuf>,
    /// Longest delay of a kill after a start or an event.
    pub latest_kill: Duration,
    /// Most events that a kill waits for, so that stages progress although kills follow each other closely.
    pub events_between: u64,
    /// Time after which an unfinished stage counts as lost.
    pub stage_within: Duration,
}

/// The result of a chaos run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Number of kills.
    pub kills: u32,
    /// Number of kills before the runner answered anything.
    pub kills_before_answer: u32,
    /// Fewest stages in flight at a kill.
    pub least_in_flight: usize,
    /// Number of stages.
    pub stages: u64,
    /// Number of calls that broke and were repeated.
    pub repeats: u64,
    /// Stages without their result, or that ran twice, each with a description.
    pub lost: Vec<String>,
    /// Instances that remained, or were missing, at the end.
    pub leaked: Vec<String>,
    /// Bytes that the steps wrote.
    pub output_bytes: u64,
    /// Bytes that did not arrive, arrived twice, or were changed.
    pub missing: u64,
}

impl Tally {
    /// Tells whether everything is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.leaked.is_empty() && self.missing == 0
    }

    /// Returns the result in one line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "kills={} stages={} lost={} leaked={} output_bytes={} missing={} repeats={} least_in_flight={}",
            self.kills,
            self.stages,
            self.lost.len(),
            self.leaked.len(),
            self.output_bytes,
            self.missing,
            self.repeats,
            self.least_in_flight
        )
    }
}

/// The state that killer and clients share.
struct Shared {
    plan: Plan,
    runner: Runner,
    /// Number of answers to clients.
    events: watch::Sender<u64>,
    over: AtomicBool,
    in_flight: AtomicU64,
    repeats: AtomicU64,
    tally: Mutex<Tally>,
    /// The stage of each instance.
    served: Mutex<BTreeMap<String, String>>,
}

impl Shared {
    fn tally(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn happened(&self) {
        self.events.send_modify(|count| *count += 1);
    }
}

/// Carries out the plan.
///
/// # Errors
/// When the runner cannot be started, or does not settle at the end.
pub async fn run(plan: Plan) -> anyhow::Result<Tally> {
    kiln_tls::install_provider();
    // The port stays the same for all its lives, like that of an installed runner.
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("no free port")?;
    let (in_flight, seed) = (plan.in_flight, plan.seed);
    // A stage that takes longer is lost, whatever its client does.
    let patience = Patience { unreachable_for: plan.stage_within, pause: client::REPEAT_PAUSE };
    let shared = Arc::new(Shared {
        runner: Runner::new(&format!("http://{address}"), &Access::default())?.with_patience(patience),
        plan,
        events: watch::Sender::new(0),
        over: AtomicBool::new(false),
        in_flight: AtomicU64::new(0),
        repeats: AtomicU64::new(0),
        tally: Mutex::default(),
        served: Mutex::default(),
    });
    shared.tally(|tally| tally.least_in_flight = in_flight);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..in_flight {
        let rng = Rng::new(seed.wrapping_mul(1000).wrapping_add(n as u64));
        clients.spawn(client::stages(Arc::clone(&shared), n, rng));
    }
    let mut runner = killer::kill(&shared, address, Rng::new(seed)).await?;
    shared.over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.context("a client broke")?;
    }
    let leaked = settle::settle(&shared).await;
    let ended = runner.terminate().await;
    let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tally.repeats = shared.repeats.load(Ordering::Relaxed) + shared.runner.repeats();
    tally.leaked = leaked?;
    ended?;
    Ok(tally)
}
