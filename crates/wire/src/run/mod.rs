//! What a run tells while it goes on, and how it ended: the lines of `kiln run --output json`.
//!
//! Each line is one [`Event`]. What is written can be read again. A reader skips fields that it does not know, and reads an event
//! or a cause that it does not know as `Unknown`, so that it understands a newer Kiln as far as it can.

mod cases;
mod event;
mod report;

pub use cases::{ReportProblem, TestCase, TestResult, Tests};
pub use event::{Event, LINE_MAX_BYTES, Phase};
pub use report::{Cause, RunReport, StageReport, Status, StepReport};
