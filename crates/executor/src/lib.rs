//! Carries out a plan on instances: order, conditions, retries, output, results.
//!
//! ```text
//! Run ── walks the stages ──► StageRun ── one lease from the Fleet ──► walks the steps ──► attempt at the agent
//!  └── Context: results so far,  └── StageContext: the instance's        └── kinds        └── output, outcome, reports
//!      secrets, who is told          end, cancel, reports
//! ```
//! A part uses the contexts and the parts to its right, and no part to its left.
//!
//! Everything of one run happens in one task: futures share what they need by reference, and dropping the task ends the
//! run. The agent says how a step ended, and `pipeline` decides what follows from it. This crate prints nothing: it hands each
//! [`Event`](kiln_wire::run::Event) to the caller's sink.

mod again;
mod attempt;
mod caches;
mod collect;
mod context;
mod environment;
mod fleet;
mod gone;
mod kinds;
mod loops;
mod nest;
mod node;
mod outcome;
mod patience;
mod pieces;
mod run;
mod setup;
mod sink;
mod sources;
mod stage;
mod stage_context;
mod status;
mod step;
mod text;
pub mod wait;
mod walk;
mod why;
pub mod workspace;

pub use context::{Images, Options};
pub use fleet::{Fleet, FleetError, Lease, RunnerFleet, Want};
pub use kinds::{Login, logins};
pub use patience::Patience;
pub use run::Run;
pub use sink::Sink;
