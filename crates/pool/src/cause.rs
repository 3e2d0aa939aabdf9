//! Causes of the ends of instances and stages. Every end has one.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the word for the value in the API, the database and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the value with that word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// The kinds of ends.
    pub enum Code {
        /// The caller destroyed the stage.
        Destroyed = "destroyed",
        /// The stage was cancelled.
        Cancelled = "cancelled",
        /// The stage's time ran out.
        StageDeadline = "stage_deadline",
        /// The stage's agent could not be set up.
        SetupFailed = "setup_failed",
        /// Nobody came back for the stage after it got its instance.
        Unattended = "unattended",
        /// No instance was available before the stage's waiting time ran out.
        NoCapacity = "no_capacity",
        /// No pool of the configuration can ever serve the stage.
        NoPool = "no_pool",
        /// The cloud refused to make the instance.
        LaunchFailed = "launch_failed",
        /// The cloud or the host had no room for the instance, or a quota was reached.
        NoRoom = "no_room",
        /// It did not become known in time whether the cloud made the instance.
        LaunchTimeout = "launch_timeout",
        /// The instance's agent never answered.
        BootTimeout = "boot_timeout",
        /// The instance went away while it started.
        DiedBooting = "died_booting",
        /// The cloud reports that the instance ended, and nobody here asked for that.
        Died = "died",
        /// The instance's site took it back, as clouds do with spot instances.
        Interrupted = "interrupted",
        /// The host ran out of disk, and this instance wrote the most.
        DiskFull = "disk_full",
        /// The instance is in no listing and does not answer.
        Vanished = "vanished",
        /// The instance runs, but its agent did not answer for too long.
        Unreachable = "unreachable",
        /// The instance's agent was started again, which ended its steps.
        AgentRestarted = "agent_restarted",
        /// A step changed files that the agent needs to report on steps truthfully.
        AgentTampered = "agent_tampered",
        /// Nobody claimed the instance for so long that it is replaced.
        FreeMaxAge = "free_max_age",
        /// The instance reached the greatest age of any instance.
        MaxAge = "max_age",
        /// More instances are warm than are wanted.
        Surplus = "surplus",
        /// The instance gave its place to a stage that needs another kind.
        MadeRoom = "made_room",
        /// The pool file describes another kind of instance by now.
        Outdated = "outdated",
        /// The pool is drained or no longer in the pool file.
        Drained = "drained",
        /// An operator ended the instance.
        Operator = "operator",
        /// The instance could not be put to sleep or woken.
        HibernateFailed = "hibernate_failed",
        /// No row of ours had the instance.
        Orphan = "orphan",
    }
}

/// An end: its kind and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The kind.
    pub code: Code,
    /// Evidence, such as the cloud's words, the end of the console, or the time of the last answer. At most
    /// [`MAX_EVIDENCE_BYTES`].
    pub evidence: String,
}

/// Greatest length of evidence, in bytes. Longer evidence is cut.
pub const MAX_EVIDENCE_BYTES: usize = 8 * 1024;

impl Cause {
    /// Returns a cause. Of long evidence the end is kept.
    #[must_use]
    pub fn new(code: Code, evidence: impl Into<String>) -> Self {
        let mut evidence: String = evidence.into();
        if evidence.len() > MAX_EVIDENCE_BYTES {
            let mut cut = evidence.len() - MAX_EVIDENCE_BYTES;
            while !evidence.is_char_boundary(cut) {
                cut += 1;
            }
            evidence = format!("…{}", &evidence[cut..]);
        }
        Self { code, evidence }
    }

    /// Tells whether an instance that was up was lost without anybody asking for it.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(
            self.code,
            Code::Died
                | Code::Interrupted
                | Code::DiskFull
                | Code::Vanished
                | Code::Unreachable
                | Code::AgentRestarted
                | Code::AgentTampered
        )
    }

    /// Tells whether the end shows that new instances of this kind do not come up.
    #[must_use]
    pub fn is_failed_start(&self) -> bool {
        matches!(
            self.code,
            Code::LaunchFailed
                | Code::NoRoom
                | Code::LaunchTimeout
                | Code::BootTimeout
                | Code::DiedBooting
                | Code::HibernateFailed
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.evidence.is_empty() {
            write!(f, "{}", self.code)
        } else {
            write!(f, "{}: {}", self.code, self.evidence)
        }
    }
}
