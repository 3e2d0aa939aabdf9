//! `kiln tests`.

use clap::{Args, Subcommand, ValueEnum};
use kiln_test_report::split::By;

/// `kiln tests`
#[derive(Debug, Subcommand)]
pub enum TestsCommand {
    /// Read test reports, JUnit or TRX, and show their results
    Show(ShowArgs),
    /// Print one share of a list of tests, for machines that share the work
    Split(SplitArgs),
}

/// `kiln tests show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Reports: files, or globs such as `build/**/TEST-*.xml`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ShowFormat::Text)]
    pub format: ShowFormat,
}

/// Output format of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// For people
    Text,
    /// For people, as Markdown for step summaries such as GitHub's
    Markdown,
    /// For programs: as `tests` in a run's events
    Json,
}

/// `kiln tests split`
#[derive(Debug, Args)]
#[command(after_help = SPLIT_HELP)]
pub struct SplitArgs {
    /// Number of the share, from 0
    #[arg(long, value_name = "I", env = "HARNESS_NODE_INDEX")]
    pub index: usize,
    /// Number of shares
    #[arg(long, value_name = "N", env = "HARNESS_NODE_TOTAL")]
    pub total: usize,
    /// Measure by which the shares are equal [default: time with --times, else count]
    #[arg(long, value_enum)]
    pub by: Option<SplitBy>,
    /// Earlier reports with the times of the tests: JUnit, TRX or the lines of `kiln run --json-file`; a file or glob, may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    pub times: Vec<String>,
    /// Files to split, instead of names from standard input; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub glob: Vec<String>,
    /// Files to leave out of `--glob`; may be repeated
    #[arg(long, value_name = "GLOB", requires = "glob")]
    pub exclude_glob: Vec<String>,
}

const SPLIT_HELP: &str = "Names of tests, classes or files come from standard input, one per line. Each machine makes the same split and \
                          prints its own share, so all must see the same names and the same reports. A step of `kiln run` with a \
                          parallelism, repeat or matrix strategy has HARNESS_NODE_INDEX and HARNESS_NODE_TOTAL set.";

/// The measure by which shares are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitBy {
    /// Time of the tests
    Time,
    /// Time, with all tests of a class in one share
    Class,
    /// Number of tests
    Count,
}

impl From<SplitBy> for By {
    fn from(by: SplitBy) -> Self {
        match by {
            SplitBy::Time => Self::Time,
            SplitBy::Class => Self::Class,
            SplitBy::Count => Self::Count,
        }
    }
}
