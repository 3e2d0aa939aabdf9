//! Commands that call a runner, and the one that checks its pool file.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueHint};

use super::{Format, duration};

/// The states of instances, in the order of an instance's life.
pub const STATES: [&str; 10] = [
    "intended",
    "launching",
    "booting",
    "ready",
    "hibernating",
    "hibernated",
    "resuming",
    "claimed",
    "terminating",
    "gone",
];

/// The way to a runner, and the output format of its answers.
#[derive(Debug, Clone, Args)]
pub struct Asking {
    /// Output format; `json` is the runner's own message
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// URL of the runner
    #[arg(
        long = "runner",
        value_name = "URL",
        env = "KILN_RUNNER",
        default_value = "http://127.0.0.1:3000",
        help_heading = "Runner"
    )]
    pub url: String,
    /// Credentials for the runner
    #[command(flatten)]
    pub access: Access,
}

/// Credentials for a runner, and the authority of its certificate.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// File with the runner's token [default: the token in the variable KILN_RUNNER_TOKEN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Runner")]
    pub token_file: Option<PathBuf>,
    /// Authority of an https runner's certificate, PEM [default: those that this machine trusts]
    #[arg(long, value_name = "FILE", env = "KILN_RUNNER_CA", value_hint = ValueHint::FilePath, help_heading = "Runner")]
    pub runner_ca: Option<PathBuf>,
    /// Client certificate for a runner that requires one, PEM
    #[arg(long, value_name = "FILE", env = "KILN_RUNNER_CERT", value_hint = ValueHint::FilePath, requires = "runner_key", help_heading = "Runner")]
    pub runner_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", env = "KILN_RUNNER_KEY", value_hint = ValueHint::FilePath, requires = "runner_cert", help_heading = "Runner")]
    pub runner_key: Option<PathBuf>,
}

/// `kiln pool`
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// List the pools of a runner: warm instances, waiting stages, failures
    List {
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Check pool files without running anything
    Check {
        /// Pool files; `-` is standard input
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// Output format of the findings
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Let a pool run empty: keep nothing warm and launch nothing; running stages continue
    Drain {
        /// Name of the pool
        name: String,
        /// End the drain
        #[arg(long)]
        undo: bool,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
}

/// `kiln instance`
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// List the instances of a runner
    List {
        /// Only instances of this pool
        #[arg(long)]
        pool: Option<String>,
        /// Only instances in this state
        #[arg(long, value_parser = PossibleValuesParser::new(STATES))]
        state: Option<String>,
        /// Also instances that are gone, as far as the runner remembers them
        #[arg(long)]
        all: bool,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Show an instance: how it booted, its stage, and why it ended
    Show {
        /// Id of the instance, or its beginning
        id: String,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Hold an instance for debugging: a warm one is not claimed, a busy one outlives its stage
    Hold {
        /// Id of the instance, or its beginning
        id: String,
        /// Duration of the hold
        #[arg(long = "for", value_name = "DURATION", default_value = "30m", value_parser = duration)]
        how_long: Duration,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// End a hold
    Release {
        /// Id of the instance, or its beginning
        id: String,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Destroy instances in any state, and the stages that they serve
    Destroy {
        /// Ids of the instances, or their beginnings
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
}

/// `kiln stage`
#[derive(Debug, Subcommand)]
pub enum StageCommand {
    /// List the stages of a runner, and why some of them wait
    List {
        /// Also ended stages, as far as the runner remembers them
        #[arg(long)]
        all: bool,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Show a stage: how long it waited, its instance, and why it ended
    Show {
        /// Id of the stage, or its beginning
        id: String,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// End stages and their instances
    Cancel {
        /// Ids of the stages, or their beginnings
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Reason, for clients that wait for the stage
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
}

/// `kiln events`
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Print changes from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// The runner
    #[command(flatten)]
    pub asking: Asking,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_are_those_of_pools() {
        let mut theirs: Vec<&str> = kiln_pool::State::ALL.iter().map(|state| state.as_str()).collect();
        let mut ours = STATES.to_vec();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
