//! Failures of a self-test.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::HostError;

/// Why a machine cannot carry out a step.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The machine cannot be prepared.
    #[error("it could not be prepared: {0}")]
    Setup(HostError),
    /// The agent read a request differently from how it was written.
    #[error("a request was read otherwise than it was written; this is a defect of the agent: {0}")]
    Request(String),
    /// The step could not be started, or did not end as it should.
    #[error("its step failed: {error}{output}")]
    Step {
        /// How the step ended, or why it did not start.
        error: String,
        /// The step's output, in words; empty if there was none.
        output: String,
    },
    /// The step took too long.
    #[error("its step did not end within {} ms, and was ended{output}", within.as_millis())]
    TimedOut {
        /// Time that the step may take.
        within: Duration,
        /// The step's output, in words; empty if there was none.
        output: String,
    },
    /// The file for the output cannot be made.
    #[error("its output cannot be kept in {dir}: {source}; free or make that directory")]
    NoOutput {
        /// Directory of the output.
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
        /// Directory of the output.
        dir: PathBuf,
        /// Space that output never uses up there, in MiB.
        reserve_mib: u64,
    },
    /// The output cannot be read.
    #[error("its output in {dir} cannot be read: {source}")]
    OutputUnread {
        /// Directory of the output.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text that came back is not the one that the step printed.
    #[error("it printed {wanted:?}, and what came back is {got:?}")]
    Output {
        /// Text that the step printed, masked.
        wanted: String,
        /// Text that came back.
        got: String,
    },
    /// The value that came back is not the one that the step handed over.
    #[error("it handed over {wanted:?} by a file in {dir}, and what came back is {got:?}; is that disk full?")]
    HandOver {
        /// Directory in which steps exchange files with the agent.
        dir: PathBuf,
        /// Value that the step handed over.
        wanted: String,
        /// Text that came back.
        got: String,
    },
}
