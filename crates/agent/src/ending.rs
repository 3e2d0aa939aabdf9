//! How an end is asked for, and how one came about.

use std::time::Duration;

use kiln_wire::agent::Cause;
use tokio::sync::watch;

/// Why and how a step is to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Timeout, cancel or destroy.
    pub cause: Cause,
    /// For people.
    pub reason: String,
    /// Time between the request to end and the end by force.
    pub grace: Duration,
}

/// The wish that something ends. It comes at any time, and may be hastened afterwards.
pub type Wish = watch::Receiver<Option<Stop>>;

/// How the command of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By the signal of this number.
    Signal(i32),
}

impl Exit {
    /// The end by force.
    pub const KILLED: Self = Self::Signal(9);
}
