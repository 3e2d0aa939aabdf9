//! Supervising a step: its limits, its stop, its output, what it hands over, its result.
//!
//! ```text
//!  Job ──► Runtime::start ──► Running::ended ─────────────────┬─► the pump finishes ─► what it hands over ─► result
//!             │                  └─ time limit, wish ─► end ──┘
//!             └─ output ──► pump ──► mask ──► spool
//! ```
//! What is supervised is behind `Runtime`: the host's processes, or a container. Nothing here knows which.

mod crew;
mod hand_over;
mod pace;
mod prelude;
mod pump;
mod result;
mod run;
mod secrets_file;
#[cfg(test)]
mod tests;

pub(crate) use hand_over::HandOver;
pub(crate) use prelude::Prelude;
pub(crate) use result::over;
pub(crate) use run::Annotate;
pub use run::{Job, run};

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::path::Path;

use futures::future::BoxFuture;
use kiln_wire::agent::StartStepRequest;

use crate::ending::{Exit, Wish};
use crate::os::output::{CommandRuns, Output};
use crate::os::terminal::Keyboard;

/// What steps run in: the host itself, or containers.
pub(crate) trait Runtime: Debug + Send + Sync {
    /// Starts a step. When the future is dropped before it is ready, nothing is left of what it started.
    fn start<'a>(&'a self, order: &'a Order<'a>) -> BoxFuture<'a, Result<Started, StartError>>;

    /// Ends all that steps started here, also what outlived its step.
    fn end_all(&self, wish: Wish) -> BoxFuture<'_, ()>;

    /// Ends what the steps of an earlier process of the agent started, and nothing of this one.
    fn end_left<'a>(&'a self, left: &'a Left<'a>, wish: Wish) -> BoxFuture<'a, ()>;
}

/// What an earlier process of the agent left.
#[derive(Debug)]
pub(crate) struct Left<'a> {
    /// With what the marks of its steps begin; none when that is not known.
    pub(crate) mark: Option<&'a str>,
    /// What its steps are found by, see [`Running::handle`].
    pub(crate) handles: Vec<&'a str>,
    /// Whether all steps on this machine are the agent's, whatever their marks.
    pub(crate) alone: bool,
}

/// A step that was started. What it occupies outside of this process goes with the value.
pub(crate) trait Running: Send {
    /// Waits for the end of the step's command. The future may be dropped and asked for again.
    fn ended(&mut self) -> BoxFuture<'_, io::Result<Exit>>;

    /// Ends the command and all that it started: it asks, waits as long as the wish allows, which may become shorter
    /// meanwhile, and then uses force. Called at most once, and not after [`Self::ended`] was ready.
    fn end(&mut self, wish: Wish) -> BoxFuture<'_, io::Result<Exit>>;

    /// What it is found by when this agent has ended; none when that is not known.
    fn handle(&self) -> Option<String>;

    /// Whether something in the step was ended because memory ran out.
    fn memory_ran_out(&self) -> bool;
}

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// The request.
    pub(crate) request: &'a StartStepRequest,
    /// Unique on this machine, also among steps of one id.
    pub(crate) mark: &'a str,
    /// Environment of the agent, of the stage, and what earlier steps exported, in rising rank.
    pub(crate) envs: &'a [BTreeMap<String, String>],
    /// Where steps exchange files with the agent.
    pub(crate) engine_dir: &'a Path,
    /// What the step is to hand over there.
    pub(crate) hand_over: &'a HandOver,
    /// Where the progress of the start is told.
    pub(crate) prelude: &'a Prelude,
}

/// What a [`Runtime`] gives for an [`Order`].
pub(crate) struct Started {
    /// The step.
    pub(crate) running: Box<dyn Running>,
    /// What it prints.
    pub(crate) output: (Output, CommandRuns),
    /// Where input is typed in, if it has a terminal.
    pub(crate) keyboard: Option<Keyboard>,
    /// Output that stands before the step's own.
    pub(crate) banner: String,
}

/// Why a step could not be started. It is for people; nothing depends on what it says.
pub(crate) type StartError = Box<dyn Error + Send + Sync>;
