//! The suites that notice mistakes.

/// Seeds of the simulated world, or tests of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// Seeds of the simulated world, until one breaks an invariant.
    Simulation,
    /// A file or folder of a crate's `tests/`, by its name.
    Tests {
        /// Its name, which is unique among all crates' tests.
        program: &'static str,
        /// Only tests whose names contain this.
        word: &'static str,
    },
    /// The tests inside a crate.
    Unit {
        /// The crate's folder.
        of: &'static str,
        /// Only tests whose names contain this.
        word: &'static str,
    },
}

/// Tests of the contract of every store, on SQLite and on PostgreSQL.
pub const STORE: Suite = Suite::Tests { program: "backends", word: "keeps_the_contract" };
/// Tests of full disks and of breaking connections. The tests of full disks mount one, which takes root.
pub const STORE_BREAKAGE: Suite = Suite::Tests { program: "backends", word: "breakage::" };
/// Tests of writes that share transactions.
pub const STORE_GROUPS: Suite = Suite::Unit { of: "store", word: "grouped::" };
/// Tests of rows that cannot be read.
pub const STORE_ROWS: Suite = Suite::Unit { of: "store", word: "rows_that_cannot_be_read" };
/// Tests of a database's place and the way to it.
pub const STORE_PLACE: Suite = Suite::Unit { of: "store", word: "place::" };
/// Tests of callers that do not read their answers.
pub const RUNNER_READERS: Suite = Suite::Tests { program: "http_api", word: "callers::readers" };
/// Tests of the runner's authentication.
pub const RUNNER_GUARD: Suite = Suite::Tests { program: "http_api", word: "guard::" };
/// Tests of when an instance is ready.
pub const RUNNER_READY: Suite = Suite::Tests { program: "http_api", word: "ready::" };
/// Tests of the agent's self-test.
pub const AGENT_SELF_TEST: Suite = Suite::Tests { program: "self_test", word: "" };
/// Tests of the agent's output when it knows secrets.
pub const AGENT_SECRETS: Suite = Suite::Tests { program: "secrets", word: "" };
/// Tests of the agent's settings, and of those that steps see.
pub const AGENT_SETTINGS: Suite = Suite::Unit { of: "agent", word: "settings::" };
/// Tests of a restarted agent and the work of the one before.
pub const AGENT_RESTARTS: Suite = Suite::Tests { program: "at_most_once", word: "" };
/// Tests of which stage's calls the agent serves.
pub const AGENT_EPOCH: Suite = Suite::Tests { program: "epoch", word: "" };
/// Tests of steps that tamper with the agent.
pub const AGENT_TAMPERING: Suite = Suite::Tests { program: "tampering", word: "" };
/// Tests of steps of another user than the agent's, which take root.
pub const AGENT_STEP_USER: Suite = Suite::Tests { program: "step_user", word: "" };
/// Tests of a stage whose agent was restarted.
pub const RUNNER_RESTARTS: Suite = Suite::Tests { program: "http_api", word: "agent_restart::" };
/// Tests of a step's output on a disk with little room.
pub const AGENT_SPOOL: Suite = Suite::Unit { of: "agent", word: "spool::" };
/// Tests of masking.
pub const MASK: Suite = Suite::Unit { of: "mask", word: "" };
/// Tests of a run that loses agents, connections and instances.
pub const RUN_LOSS: Suite = Suite::Tests { program: "runs", word: "loss::" };
/// Tests of a cancelled run.
pub const RUN_CANCEL: Suite = Suite::Tests { program: "runs", word: "cancel::" };
/// Tests of Drone files in a run.
pub const RUN_DRONE: Suite = Suite::Tests { program: "runs", word: "drone::" };
/// Tests of the sources that are sent to a VM.
pub const SOURCES: Suite = Suite::Unit { of: "executor", word: "workspace::" };
/// Tests of the conversion of output to text.
pub const OUTPUT_TEXT: Suite = Suite::Unit { of: "executor", word: "text::" };
/// Tests of which test cases are kept.
pub const TALLY: Suite = Suite::Unit { of: "test-report", word: "tally::" };
/// Tests of a run's events when it knows secrets.
pub const RUN_SECRETS: Suite = Suite::Tests { program: "runs", word: "secrets::" };
/// Tests of the runner's health report. The tests of full disks mount one, which takes root.
pub const RUNNER_HEALTH: Suite = Suite::Tests { program: "http_api", word: "unwritten::" };
/// Tests of calls to an agent.
pub const AGENT_CLIENT: Suite = Suite::Unit { of: "agent-client", word: "" };
/// Tests of the runner without a caller.
pub const RUNNER: Suite = Suite::Unit { of: "runner", word: "" };
/// Tests of the local driver without a VM.
pub const DRIVER: Suite = Suite::Unit { of: "driver-qemu", word: "" };

impl Suite {
    /// Returns the crate whose inner tests these are.
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
