//! A real runner that is killed at random moments, with stages in flight all the time.
//!
//! ```text
//! clients (here) ── /setup /step /output /destroy, repeated with the same ids ──► runner (a process) ──► instances
//! killer  (here) ── SIGKILL, start again ───────────────────────────────────────────┘
//! ```
//! In the end every stage must have got its result, every byte of output must have arrived once, no step may have run twice or
//! in two places, and no instance may be left that no row knows.

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

/// What is to happen.
pub struct Plan {
    /// Decides when the runner is killed and what stages do.
    pub seed: u64,
    /// How often the runner is killed.
    pub kills: u32,
    /// Stages at a time.
    pub in_flight: usize,
    /// The pool that stages ask for.
    pub pool: String,
    /// The command that starts the runner, whose API is to listen there.
    pub runner: Box<dyn Fn(SocketAddr) -> Command + Send + Sync>,
    /// What exists of instances in the world, whatever the runner knows.
    pub world: Box<dyn Fn() -> Left + Send + Sync>,
    /// Where steps on this machine write down what they do; none for instances that cannot reach its files.
    pub trace: Option<PathBuf>,
    /// The runner is killed at most this long after it started or something happened.
    pub latest_kill: Duration,
    /// A kill that follows events waits for at most so many, so that stages get on although kills follow each other closely.
    pub events_between: u64,
    /// A stage that is not done after this is lost.
    pub stage_within: Duration,
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// How often the runner was killed,
    pub kills: u32,
    /// and how often of these before it answered anything.
    pub kills_before_answer: u32,
    /// Fewest stages in flight at a kill.
    pub least_in_flight: usize,
    /// Stages.
    pub stages: u64,
    /// Calls that broke and were repeated.
    pub repeats: u64,
    /// Stages without their result, or that ran twice, each with what happened.
    pub lost: Vec<String>,
    /// Instances that were left, or missing, in the end.
    pub leaked: Vec<String>,
    /// Bytes that steps wrote.
    pub output_bytes: u64,
    /// Bytes that did not arrive, or arrived twice or changed.
    pub missing: u64,
}

impl Tally {
    /// Whether everything was as it has to be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.leaked.is_empty() && self.missing == 0
    }

    /// In one line.
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

/// What killer and clients share.
struct Shared {
    plan: Plan,
    runner: Runner,
    /// Counts what clients were answered.
    events: watch::Sender<u64>,
    over: AtomicBool,
    in_flight: AtomicU64,
    repeats: AtomicU64,
    tally: Mutex<Tally>,
    /// Which stage an instance served.
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

/// Carries it out.
///
/// # Errors
/// When the runner cannot be started, or does not come to rest in the end.
pub async fn run(plan: Plan) -> anyhow::Result<Tally> {
    kiln_tls::install_provider();
    // The port stays the same over all its lives, as that of an installed runner does.
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).context("no free port")?;
    let (in_flight, seed) = (plan.in_flight, plan.seed);
    // A stage that takes longer is lost whatever its client does.
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
