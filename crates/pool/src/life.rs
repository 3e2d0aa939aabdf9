//! How an instance is, as its site shows it.

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Code, codes};

/// Where an instance is in its life, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Was asked for and does not run yet.
    Starting,
    /// Runs.
    Running,
    /// Goes to sleep.
    Stopping,
    /// Sleeps, and can be woken.
    Asleep,
    /// Is about to end, and nothing can stop that.
    Ending,
    /// Ended. Clouds go on showing it for about an hour; it costs nothing and is never an orphan.
    Ended(End),
    /// Does not run, and something of it is left that has to be removed, such as the files of a local VM.
    LeftOver,
}

impl Life {
    /// Whether it has ended or is about to.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Ending | Self::Ended(_) | Self::LeftOver => true,
            Self::Starting | Self::Running | Self::Stopping | Self::Asleep => false,
        }
    }

    /// Whether somebody has to end it when no row knows it.
    #[must_use]
    pub fn needs_an_end(&self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Stopping | Self::Asleep | Self::LeftOver => true,
            Self::Ending | Self::Ended(_) => false,
        }
    }

    /// How it ended, of one that is over.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self {
            Self::Ended(end) => Some(end.clone()),
            Self::Ending => Some(End::new(EndKind::Unknown, "its site shows it as ending")),
            Self::LeftOver => Some(End::new(EndKind::Unknown, "it does not run any more")),
            Self::Starting | Self::Running | Self::Stopping | Self::Asleep => None,
        }
    }
}

codes! {
    /// How an instance ended.
    pub enum EndKind {
        /// It powered itself off, or its process ended in order.
        PoweredOff = "powered_off",
        /// Its virtual machine, or the process that it is, broke or was killed from outside.
        Crashed = "crashed",
        /// Its site took it back, as clouds do with spot instances.
        Interrupted = "interrupted",
        /// The host ran out of disk and ended the instance that wrote most.
        DiskFull = "disk_full",
        /// It was ended by a call of its driver.
        Destroyed = "destroyed",
        /// Its site does not say.
        Unknown = "unknown",
    }
}

/// The end of an instance: its kind, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The kind.
    pub kind: EndKind,
    /// What was seen, for people: an exit status, the cloud's words, the last lines of the console.
    pub evidence: String,
}

impl End {
    /// An end.
    #[must_use]
    pub fn new(kind: EndKind, evidence: impl Into<String>) -> Self {
        Self { kind, evidence: evidence.into() }
    }

    /// Why an instance with this end ends, when nobody here asked for it: `otherwise` unless its kind says more.
    #[must_use]
    pub fn cause(&self, otherwise: Code) -> Cause {
        let code = match self.kind {
            EndKind::Interrupted => Code::Interrupted,
            EndKind::DiskFull => Code::DiskFull,
            EndKind::PoweredOff | EndKind::Crashed | EndKind::Destroyed | EndKind::Unknown => otherwise,
        };
        Cause::new(code, self.evidence.clone())
    }
}
