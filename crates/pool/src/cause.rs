//! Why an instance or a stage ended. Every end has one.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it in the API, the database and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The code of that word.
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
        /// The stage's time was up.
        StageDeadline = "stage_deadline",
        /// The stage's agent set-up failed.
        SetupFailed = "setup_failed",
        /// Nobody came back for the stage after it got its instance.
        Unattended = "unattended",
        /// No instance could be had until the stage's waiting time was up.
        NoCapacity = "no_capacity",
        /// No pool of the configuration can ever serve the stage.
        NoPool = "no_pool",
        /// The cloud would not make the instance.
        LaunchFailed = "launch_failed",
        /// The cloud or the host had no room for it, or a quota was reached.
        NoRoom = "no_room",
        /// Whether the cloud made the instance could not be found out in time.
        LaunchTimeout = "launch_timeout",
        /// Its agent never answered.
        BootTimeout = "boot_timeout",
        /// It went away while it started.
        DiedBooting = "died_booting",
        /// The cloud says that it ended, and nobody here asked for that.
        Died = "died",
        /// Its site took it back, as clouds do with spot instances.
        Interrupted = "interrupted",
        /// The host ran out of disk, and of all instances it wrote most.
        DiskFull = "disk_full",
        /// It is in no listing and does not answer.
        Vanished = "vanished",
        /// It runs, but its agent did not answer for too long.
        Unreachable = "unreachable",
        /// Its agent was started again, so that what ran in it was ended.
        AgentRestarted = "agent_restarted",
        /// A step changed what its agent needs to tell the truth about steps.
        AgentTampered = "agent_tampered",
        /// Nobody claimed it for so long that it is replaced.
        FreeMaxAge = "free_max_age",
        /// It reached the greatest age of any instance.
        MaxAge = "max_age",
        /// More are warm than are wanted.
        Surplus = "surplus",
        /// It gave its place to a stage that needs another kind.
        MadeRoom = "made_room",
        /// The pool file asks for something else now.
        Outdated = "outdated",
        /// The pool is drained or no longer in the pool file.
        Drained = "drained",
        /// An operator ended it.
        Operator = "operator",
        /// It could not be put to sleep or woken.
        HibernateFailed = "hibernate_failed",
        /// No row of ours knew it.
        Orphan = "orphan",
    }
}

/// An end: its kind and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The kind.
    pub code: Code,
    /// What was seen: the cloud's words, the end of the console, when it was last heard of. At most
    /// [`MAX_EVIDENCE_BYTES`].
    pub evidence: String,
}

/// Longer evidence is cut.
pub const MAX_EVIDENCE_BYTES: usize = 8 * 1024;

impl Cause {
    /// A cause; the end of long evidence is kept.
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

    /// Whether an instance that was up was lost, and nobody asked for that.
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

    /// Whether it shows that new instances of this kind do not come up.
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
