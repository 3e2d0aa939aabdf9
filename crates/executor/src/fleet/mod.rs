//! A fleet gives instances to stages and takes them back. The rest of the crate does not know where they come from.
//!
//! [`RunnerFleet`] asks a runner over its API. Whoever has the runner's engine in its own process brings a [`Fleet`] of its own,
//! so that this crate pulls in neither an HTTP server nor a database.

mod runner;

use std::time::Duration;

use futures::future::BoxFuture;
use kiln_agent_client::Agent;
use kiln_pipeline::plan::PoolRequest;
use kiln_wire::agent::SetupRequest;
use kiln_wire::reach::Reach;
use kiln_wire::run::Phase;

pub use runner::RunnerFleet;

/// Returns an error's message and those of all its sources, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// What a stage asks for.
#[derive(Debug, Clone)]
pub struct Want<'a> {
    /// The stage's id, unique among all runs.
    pub stage: String,
    /// The pool that the file names.
    pub pool: &'a PoolRequest,
    /// The image; empty where the pool decides.
    pub image: String,
    /// Time that the stage may run; none for as long as the pool allows.
    pub timeout: Option<Duration>,
    /// The request that prepares the agent.
    pub setup: SetupRequest,
}

/// An instance that one stage has.
pub struct Lease {
    /// The stage, as it was asked for.
    pub stage: String,
    /// The instance's id.
    pub id: String,
    /// Its agent.
    pub agent: Agent,
    /// Where its agent listens, when it can be reached from here.
    pub address: Option<Reach>,
    /// The phases of the wait for it, in their order.
    pub phases: Vec<Phase>,
}

/// Why there is no instance.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The fleet gives none.
    #[error("no instance could be had: {0}")]
    Refused(String),
    /// The runner does not answer, or its answer is malformed.
    #[error("the runner does not answer as it should")]
    Runner(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The instance's agent does not answer.
    #[error("the instance's agent cannot be reached")]
    Agent(#[from] kiln_agent_client::AgentError),
}

/// Gives instances to stages and takes them back.
pub trait Fleet: Send + Sync {
    /// Returns an instance for the stage, with its agent prepared. While the stage waits, `waiting` is told why, each time the
    /// reason changes; an empty one is none in particular. A stage whose wait is given up must be [abandoned](Fleet::abandon).
    ///
    /// # Errors
    /// When no instance can be had, or the runner or the agent does not answer.
    fn acquire<'a>(
        &'a self,
        want: &'a Want<'a>,
        waiting: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Lease, FleetError>>;
    /// Ends a stage's instance, and returns when it is gone or sure to go. Safe to repeat.
    ///
    /// # Errors
    /// When the runner does not answer. Its own rules end the instance then.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>>;
    /// Ends the instance that a stage may have got after its wait was given up.
    fn abandon<'a>(&'a self, stage: &'a str) -> BoxFuture<'a, ()>;
    /// Keeps the instance for `duration` after its release, and returns whether it does: an instance of the caller's own process is
    /// the caller's to keep.
    ///
    /// # Errors
    /// When the runner refuses, or does not answer.
    fn hold<'a>(&'a self, lease: &'a Lease, duration: Duration) -> BoxFuture<'a, Result<bool, FleetError>>;
    /// Returns when the instance ends by itself, with the evidence.
    fn ended<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, String>;
}
