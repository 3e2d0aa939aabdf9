//! How a self-test fails.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::HostError;

/// Why a machine cannot carry out a step.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The machine cannot be prepared.
    #[error("it could not be prepared: {0}")]
    Setup(HostError),
    /// A request was read otherwise than it was written.
    #[error("a request was read otherwise than it was written; this is a defect of the agent: {0}")]
    Request(String),
    /// The step could not be started, or ended otherwise than it should.
    #[error("its step failed: {error}{output}")]
    Step {
        /// How it ended, or why it did not start.
        error: String,
        /// What it printed, in words; empty when it printed nothing.
        output: String,
    },
    /// The step took too long.
    #[error("its step did not end within {} ms, and was ended{output}", within.as_millis())]
    TimedOut {
        /// Time that the step may take.
        within: Duration,
        /// What it printed, in words; empty when it printed nothing.
        output: String,
    },
    /// The file for the output cannot be made.
    #[error("its output cannot be kept in {dir}: {source}; free or make that directory")]
    NoOutput {
        /// Where output is kept.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Output is dropped.
    #[error(
        "its output could not be kept in {dir}: beside a reserve of {reserve_mib} MiB that disk has no room left, or it \
         takes no writes"
    )]
    OutputDropped {
        /// Where output is kept.
        dir: PathBuf,
        /// Space that output never uses up there, in MiB.
        reserve_mib: u64,
    },
    /// The output cannot be read.
    #[error("its output in {dir} cannot be read: {source}")]
    OutputUnread {
        /// Where output is kept.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something else came back than what the step printed.
    #[error("it printed {wanted:?}, and what came back is {got:?}")]
    Output {
        /// Text that the step printed, masked.
        wanted: String,
        /// What came back.
        got: String,
    },
    /// Something else came back than what the step handed over.
    #[error("it handed over {wanted:?} by a file in {dir}, and what came back is {got:?}; is that disk full?")]
    HandOver {
        /// Where steps exchange files with the agent.
        dir: PathBuf,
        /// Value that the step handed over.
        wanted: String,
        /// What came back.
        got: String,
    },
}
