//! An instance as its site shows it.

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Code, codes};

/// Where an instance is in its life, according to a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It was requested and does not run yet.
    Starting,
    /// It runs.
    Running,
    /// It is being put to sleep.
    Stopping,
    /// It sleeps and can be woken.
    Asleep,
    /// It is about to end, and nothing can stop that.
    Ending,
    /// It has ended. Clouds still show such an instance for about an hour. It costs nothing and is never an orphan.
    Ended(End),
    /// It does not run, but something of it has to be removed, such as the files of a local VM.
    LeftOver,
}

impl Life {
    /// Tells whether the instance has ended or is about to.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Ending | Self::Ended(_) | Self::LeftOver => true,
            Self::Starting | Self::Running | Self::Stopping | Self::Asleep => false,
        }
    }

    /// Tells whether the instance has to be ended when it has no row.
    #[must_use]
    pub fn needs_an_end(&self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Stopping | Self::Asleep | Self::LeftOver => true,
            Self::Ending | Self::Ended(_) => false,
        }
    }

    /// Returns the end of an instance that is over.
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
    /// The kinds of ends that a driver reports.
    pub enum EndKind {
        /// The instance powered itself off, or its process ended in order.
        PoweredOff = "powered_off",
        /// Its virtual machine or its process broke, or was killed from outside.
        Crashed = "crashed",
        /// Its site took it back, as clouds do with spot instances.
        Interrupted = "interrupted",
        /// The host ran out of disk and ended the instance that wrote the most.
        DiskFull = "disk_full",
        /// A call of its driver ended it.
        Destroyed = "destroyed",
        /// Its site does not say.
        Unknown = "unknown",
    }
}

/// The end of an instance: its kind and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The kind.
    pub kind: EndKind,
    /// Evidence for people: an exit status, the cloud's words, the last lines of the console.
    pub evidence: String,
}

impl End {
    /// Creates an end.
    #[must_use]
    pub fn new(kind: EndKind, evidence: impl Into<String>) -> Self {
        Self { kind, evidence: evidence.into() }
    }

    /// Returns the cause of an end that nobody here asked for: `otherwise` unless its kind says more.
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
