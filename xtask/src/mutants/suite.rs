//! What is to notice a mistake.

/// Seeds of the simulated world, or tests of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Seeds of the simulated world, until one breaks an invariant.
    Simulation,
    /// A file or folder of a crate's `tests/`, by its name.
    Tests {
        /// The name, which no other crate's tests have.
        program: &'static str,
        /// Only those whose names contain it.
        word: &'static str,
    },
    /// The tests inside a crate.
    Unit {
        /// The crate's folder.
        of: &'static str,
        /// Only those whose names contain it.
        word: &'static str,
    },
}

/// What every store has to do, on SQLite and on PostgreSQL.
pub const STORE: Suite = Suite::Tests { program: "backends", word: "keeps_the_contract" };
/// What a database does that is full or whose connections break. The tests of full disks mount one, which takes root.
pub const STORE_BREAKAGE: Suite = Suite::Tests { program: "backends", word: "breakage::" };
/// How writes of one kind share transactions.
pub const STORE_GROUPS: Suite = Suite::Unit { of: "store", word: "grouped::" };
/// What becomes of rows that cannot be read.
pub const STORE_ROWS: Suite = Suite::Unit { of: "store", word: "rows_that_cannot_be_read" };
/// Where a database is, and how it is reached.
pub const STORE_PLACE: Suite = Suite::Unit { of: "store", word: "place::" };
/// Callers that do not read what they asked for.
pub const RUNNER_READERS: Suite = Suite::Tests { program: "http_api", word: "callers::readers" };
/// Who may call the runner.
pub const RUNNER_GUARD: Suite = Suite::Tests { program: "http_api", word: "guard::" };
/// When the runner takes an instance for ready.
pub const RUNNER_READY: Suite = Suite::Tests { program: "http_api", word: "ready::" };
/// How the agent tests its machine.
pub const AGENT_SELF_TEST: Suite = Suite::Tests { program: "self_test", word: "" };
/// What the agent says when it knows secrets.
pub const AGENT_SECRETS: Suite = Suite::Tests { program: "secrets", word: "" };
/// The agent's settings, and what of them steps see.
pub const AGENT_SETTINGS: Suite = Suite::Unit { of: "agent", word: "settings::" };
/// What an agent that is started again does with the work of the one before.
pub const AGENT_RESTARTS: Suite = Suite::Tests { program: "at_most_once", word: "" };
/// Which stage's calls the agent serves.
pub const AGENT_EPOCH: Suite = Suite::Tests { program: "epoch", word: "" };
/// What becomes of a stage whose steps tamper with the agent.
pub const AGENT_TAMPERING: Suite = Suite::Tests { program: "tampering", word: "" };
/// Steps of another user than the agent's, which takes root.
pub const AGENT_STEP_USER: Suite = Suite::Tests { program: "step_user", word: "" };
/// What becomes of a stage whose agent was started again.
pub const RUNNER_RESTARTS: Suite = Suite::Tests { program: "http_api", word: "agent_restart::" };
/// What becomes of a step's output on a disk with little room.
pub const AGENT_SPOOL: Suite = Suite::Unit { of: "agent", word: "spool::" };
/// What is hidden of a text.
pub const MASK: Suite = Suite::Unit { of: "mask", word: "" };
/// What becomes of a run whose agents, connections and instances are lost.
pub const RUN_LOSS: Suite = Suite::Tests { program: "runs", word: "loss::" };
/// What becomes of a run that is cancelled.
pub const RUN_CANCEL: Suite = Suite::Tests { program: "runs", word: "cancel::" };
/// What Drone files mean while they run.
pub const RUN_DRONE: Suite = Suite::Tests { program: "runs", word: "drone::" };
/// What of the sources enters a VM.
pub const SOURCES: Suite = Suite::Unit { of: "executor", word: "workspace::" };
/// How output becomes text.
pub const OUTPUT_TEXT: Suite = Suite::Unit { of: "executor", word: "text::" };
/// Which test cases are kept.
pub const TALLY: Suite = Suite::Unit { of: "test-report", word: "tally::" };
/// What a run tells when it knows secrets.
pub const RUN_SECRETS: Suite = Suite::Tests { program: "runs", word: "secrets::" };
/// Whether the runner says that it is well. The tests of full disks mount one, which takes root.
pub const RUNNER_HEALTH: Suite = Suite::Tests { program: "http_api", word: "unwritten::" };
/// What becomes of calls to an agent.
pub const AGENT_CLIENT: Suite = Suite::Unit { of: "agent-client", word: "" };
/// What the runner does without a caller.
pub const RUNNER: Suite = Suite::Unit { of: "runner", word: "" };
/// What the local driver does without a VM.
pub const DRIVER: Suite = Suite::Unit { of: "driver-qemu", word: "" };

impl Suite {
    /// The crate whose inner tests these are.
    pub fn of_crate(self) -> Option<&'static str> {
        match self {
            Self::Unit { of, .. } => Some(of),
            Self::Tests { .. } | Self::Simulation => None,
        }
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Simulation => write!(f, "simulation"),
            Self::Tests { program, word } => write!(f, "--test {program} {word}"),
            Self::Unit { of, word } => write!(f, "--package kiln-{of} --lib {word}"),
        }
    }
}
