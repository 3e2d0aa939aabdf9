//! Steps in containers, by the machine's container engine.
//!
//! ```text
//!  setup ──► network, volumes of the stage
//!                    │
//!  start ─► engine ──┴─► pull ─► create ─► attach ─► start ─► [Container]: wait, stop, kill
//!          (is waited for)                    │
//!                               engine ─► relay ─► pipe ─► supervision: mask, spool
//!  destroy, or the next process of the agent ─► all that carries the agent's label is removed
//! ```
//! A container is removed as soon as its step has ended; what is left of an agent is found by a label with its mark, which is
//! written down before the first step starts.

mod attach;
mod config;
mod demux;
mod engine;
mod error;
mod image;
mod labels;
mod pull;
mod running;
mod stage;
mod start;
mod sweep;

pub use error::{ContainerError, EngineError};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use kiln_wire::agent::SetupRequest;

use crate::ending::Wish;
use crate::lock::lock;
use crate::settings::Settings;
use crate::supervise::{Left, Order, Runtime, StartError, Started};
use engine::Engine;
use stage::Stage;

/// How long a setup waits for an engine. One that is still being started is waited for by the first step that needs it.
const SETUP_WITHIN: Duration = Duration::from_secs(2);
/// How long an engine that is to remove something is waited for.
const SWEEP_WITHIN: Duration = Duration::from_secs(2);

/// The containers of an agent's steps.
#[derive(Debug)]
pub(crate) struct Containers {
    engine: Engine,
    /// Prefix of the marks of its steps.
    mark: String,
    stage: Mutex<Stage>,
    /// Whether the network and the volumes of the stage are there. Held while they are made.
    made: tokio::sync::Mutex<bool>,
    /// Whether something was made in the engine that may still be there.
    used: AtomicBool,
    /// Whether containers may see the engine's socket.
    socket: AtomicBool,
    /// Where the socket lies at which steps ask for tokens of their identities.
    mint_dir: PathBuf,
}

impl Containers {
    /// The containers of steps whose marks begin with `mark`.
    pub(crate) fn new(mark: &str, settings: &Settings) -> Self {
        Self {
            engine: Engine::new(settings),
            mark: mark.into(),
            stage: Mutex::default(),
            made: tokio::sync::Mutex::default(),
            used: AtomicBool::new(false),
            socket: AtomicBool::new(settings.docker_socket),
            mint_dir: settings.mint_socket.parent().unwrap_or(Path::new("/")).to_owned(),
        }
    }

    /// A runner of ours has claimed the machine, and says whether containers may see the engine's socket.
    pub(crate) fn claimed(&self, socket: bool) {
        self.socket.store(socket, Ordering::Release);
    }

    /// Takes over the part of a setup that concerns containers. Its network and volumes are made if the engine answers now, and
    /// else before the first step that needs them: a stage whose steps all run on the host needs no engine.
    pub(crate) async fn set_up(&self, request: &SetupRequest) -> Result<(), ContainerError> {
        let stage = Stage::of(request);
        let now = stage.needs_something() && stage.mount_docker_socket != Some(false);
        let mut made = self.made.lock().await;
        *made = false;
        *lock(&self.stage) = stage.clone();
        if now && let Some(docker) = self.engine.at_once(SETUP_WITHIN).await {
            self.used.store(true, Ordering::Release);
            stage.make(&docker, &self.mark).await?;
            *made = true;
        }
        Ok(())
    }

    /// Removes the containers that have exited and carry all of these labels; without labels those of this agent alone, because a
    /// machine may have others. Without an engine there are none.
    pub(crate) async fn suspend(&self, wanted: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let Some(docker) = self.engine.at_once(SETUP_WITHIN).await else { return Ok(()) };
        let given = wanted.iter().map(|(name, value)| format!("{name}={value}"));
        let own = wanted.is_empty().then(|| labels::owned_by(Some(&self.mark)));
        sweep::exited(&docker, given.chain(own)).await
    }

    async fn remove_all(&self) {
        let mut made = self.made.lock().await;
        if !self.used.load(Ordering::Acquire) {
            return;
        }
        let Some(docker) = self.engine.at_once(SWEEP_WITHIN).await else {
            tracing::warn!("the container engine does not answer, so what steps left there is not removed");
            return;
        };
        sweep::all(&docker, Some(&self.mark)).await;
        *made = false;
        self.used.store(false, Ordering::Release);
    }
}

impl Runtime for Containers {
    fn start<'a>(&'a self, order: &'a Order<'a>) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(async move { self.begin(order).await.map_err(Into::into) })
    }

    /// The supervision of each step has ended its container by now, as the wish says; the rest is removed.
    fn end_all(&self, _wish: Wish) -> BoxFuture<'_, ()> {
        Box::pin(self.remove_all())
    }

    fn end_left<'a>(&'a self, left: &'a Left<'a>, _wish: Wish) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // Without a mark only a machine of its own can tell that they are its.
            if left.mark.is_none() && !left.alone {
                return;
            }
            if let Some(docker) = self.engine.at_once(SWEEP_WITHIN).await {
                sweep::all(&docker, left.mark).await;
            }
        })
    }
}
