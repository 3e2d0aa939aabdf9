//! `kiln cache`, and where a run keeps caches.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Format;

/// Where caches are kept, and how much of them.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// Where caches are kept: a directory, or `s3://BUCKET/PREFIX?endpoint=URL` with credentials from the environment or AWS_PROFILE
    /// [default: kiln/cache in the user's cache folder]
    #[arg(long, value_name = "DIR|URL", env = "KILN_CACHE_STORE", help_heading = "Caches")]
    pub cache_store: Option<String>,
    /// Most that a directory of caches may hold, in MiB; the least recently used ones go
    #[arg(long, value_name = "MIB", default_value_t = 20480, env = "KILN_CACHE_LIMIT_MIB", help_heading = "Caches")]
    pub cache_limit: u64,
}

/// `kiln cache`
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what is kept, the latest used first
    List {
        /// Where it is kept
        #[command(flatten)]
        store: StoreArgs,
        /// How it is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Remove what is beyond the limit, and what is left of archives that were never finished
    Prune {
        /// Where it is kept
        #[command(flatten)]
        store: StoreArgs,
        /// Also remove what was not used for so long (`12h`, `30d`); in a bucket, what was saved before that
        #[arg(long, value_name = "DURATION", value_parser = super::duration)]
        unused_for: Option<Duration>,
        /// How it is told
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Remove caches by their keys
    Rm {
        /// Where they are kept
        #[command(flatten)]
        store: StoreArgs,
        /// Only those of this owner: a repository or a directory, as `kiln cache list` shows it
        #[arg(long)]
        owner: Option<String>,
        /// Keys
        #[arg(required = true)]
        keys: Vec<String>,
    },
}
