//! Carries out a plan on instances: order, conditions, retries, output, results.
//!
//! ```text
//! Run ── walks the stages ──► StageRun ── one lease from the Fleet ──► walks the steps ──► attempt at the agent
//!   └── Book: results so far, for expressions          └── Gone, cancel          └── output, outcome, reports
//! ```
//!
//! Everything of one run happens in one task: futures share what they need by reference, and ending the task ends the
//! run. What a step's end means is decided by `pipeline`; how it ended, by the agent. Nothing here prints: an
//! [`Event`] is handed to the caller's sink.

mod attempt;
mod collect;
mod environment;
mod event;
mod fleet;
mod gone;
pub mod junit;
mod outcome;
mod report;
mod request;
mod run;
mod stage;
mod step;
mod walk;
mod workspace;

pub use event::{Event, Phase, Sink};
pub use fleet::{Fleet, FleetError, Lease, RunnerFleet, Want};
pub use junit::Tests;
pub use report::{Cause, RunReport, StageReport, Status, StepReport};
pub use run::{Images, Options, Run};
