//! Commands that ask a runner, and the one that checks its pool file.

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

/// Where the runner is, how it knows us, and how its answers are printed.
#[derive(Debug, Clone, Args)]
pub struct Asking {
    /// How it is printed; `json` is the runner's own message
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The runner
    #[arg(
        long = "runner",
        value_name = "URL",
        env = "KILN_RUNNER",
        default_value = "http://127.0.0.1:3000",
        help_heading = "Runner"
    )]
    pub url: String,
    /// How it knows us
    #[command(flatten)]
    pub access: Access,
}

/// How a runner knows us, and we it.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// File that holds the runner's token [default: the token in the variable KILN_RUNNER_TOKEN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Runner")]
    pub token_file: Option<PathBuf>,
    /// Authority of an https runner's certificate, PEM [default: those that this machine trusts]
    #[arg(long, value_name = "FILE", env = "KILN_RUNNER_CA", value_hint = ValueHint::FilePath, help_heading = "Runner")]
    pub runner_ca: Option<PathBuf>,
    /// Our certificate for a runner that wants one, PEM
    #[arg(long, value_name = "FILE", env = "KILN_RUNNER_CERT", value_hint = ValueHint::FilePath, requires = "runner_key", help_heading = "Runner")]
    pub runner_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", env = "KILN_RUNNER_KEY", value_hint = ValueHint::FilePath, requires = "runner_cert", help_heading = "Runner")]
    pub runner_key: Option<PathBuf>,
}

/// `kiln pool`
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// List the pools of a runner: what is warm, what waits, what fails
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
        /// How findings are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Let a pool run empty: nothing is kept warm, nothing new is made; stages that run go on
    Drain {
        /// Name of the pool
        name: String,
        /// End that
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
        /// Only those of this pool
        #[arg(long)]
        pool: Option<String>,
        /// Only those in this state
        #[arg(long, value_parser = PossibleValuesParser::new(STATES))]
        state: Option<String>,
        /// Those that are gone as well, as far as the runner remembers them
        #[arg(long)]
        all: bool,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Show an instance: how it booted, what it serves, why it ended
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Keep an instance for a look: a warm one is not claimed, a busy one outlives its stage
    Hold {
        /// Its id, or the beginning of it
        id: String,
        /// For how long
        #[arg(long = "for", value_name = "DURATION", default_value = "30m", value_parser = duration)]
        how_long: Duration,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// End a hold
    Release {
        /// Its id, or the beginning of it
        id: String,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Destroy instances, whatever they do, and with each the stage that it serves
    Destroy {
        /// Their ids, or the beginnings of them
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
    /// List the stages of a runner, and why those wait that do
    List {
        /// Those that ended as well, as far as the runner remembers them
        #[arg(long)]
        all: bool,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// Show a stage: how long it waited, its instance, why it ended
    Show {
        /// Its id, or the beginning of it
        id: String,
        /// The runner
        #[command(flatten)]
        asking: Asking,
    },
    /// End stages and their instances
    Cancel {
        /// Their ids, or the beginnings of them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Why, for those who wait for the stage
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
    /// Go on with what changes from now on, until Ctrl-C
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
