//! Sends the logs of steps, line by line, to the log service of a stage, or writes them into files where it has none.
//!
//! ```text
//!  spool (disk) ──► Splitter ──► Lines: cut, hide patterns, JSON ──┬──► live: batches, while the step runs     ─┐
//!                   (any offset)                                   ├──► blob: the last 5 MiB, when it has ended ─┼─► Remote ──► service
//!                                                                  └──► a file below the engine directory        │   or a signed link
//! ```
//! The spool is the only buffer: whoever sends reads it from where the last success ended, so a service that is slow or
//! gone costs no memory, and what it did not take is sent again. A step never waits for its log, and never fails for
//! it: its result waits a moment for a service that is well ([`Pace::patience`]), and the end of the stage a little
//! longer for what is left.
//!
//! | limit of the service | what is done |
//! |---|---|
//! | a line has at most 70 KiB | it is cut there, with a mark at its end |
//! | a log has at most 5 MiB | its last lines are uploaded, after one that tells how many there were before |
//! | a log that the service itself stores has at most 5,000 lines | a line at its end tells how many there were |

mod backoff;
mod blob;
mod deliveries;
mod delivery;
mod folder;
mod line;
mod live;
mod patterns;
mod remote;
mod times;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiln_wire::agent::{LogConfig, StartStepRequest};
use tokio::sync::watch;

use crate::web::{IdentityError, Web};

pub(crate) use deliveries::{Delivered, Deliveries};
pub use folder::KeyError;
use line::Lines;
use patterns::{PatternError, Patterns};
use remote::Remote;

/// Times and time limits of calls to a log service. They follow from the protocol, so only tests change them.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How long new lines are gathered before they are sent together.
    pub gather: Duration,
    /// How long the opening of a stream may take.
    pub open_within: Duration,
    /// How long it may take to send a batch of lines, or to close a stream.
    pub write_within: Duration,
    /// How long it may take to get a signed link.
    pub link_within: Duration,
    /// How long an upload may take.
    pub upload_within: Duration,
    /// Pause after a first failure. It doubles with each further failure, up to `longest_pause`.
    pub first_pause: Duration,
    /// Longest pause between two tries.
    pub longest_pause: Duration,
    /// How long the agent tries to send the last lines of a step when an upload follows, which holds all of them.
    pub flush_within: Duration,
    /// How long the agent tries to deliver everything else of a log after its step has ended.
    pub finish_within: Duration,
    /// How long a step's result waits for its log, as long as no call to the service has failed.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            gather: seconds(1),
            open_within: seconds(30),
            write_within: seconds(15),
            link_within: seconds(10),
            upload_within: seconds(60),
            first_pause: Duration::from_millis(250),
            longest_pause: seconds(10),
            flush_within: seconds(5),
            finish_within: seconds(180),
            patience: seconds(5),
        }
    }
}

/// Why a configuration of logs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The address of the service is not one.
    #[error("log_config.url is {url:?}; it should be http://HOST or https://HOST, with a path or without")]
    Address {
        /// As given.
        url: String,
    },
    /// The token cannot be sent in a header.
    #[error("log_config.token has characters that no HTTP header can have")]
    Token,
    /// A pattern cannot be used.
    #[error("log_config.sanitize_config.sanitize_patterns_content: {0}")]
    Pattern(PatternError),
    /// The client certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Where the logs of a stage go.
#[derive(Debug)]
enum Destination {
    Service(Box<Remote>),
    /// Files in this folder.
    Files(PathBuf),
}

/// Logs of one stage.
#[derive(Debug)]
pub(crate) struct LogService {
    to: Destination,
    lines: Lines,
    pace: Pace,
    /// Free disk space that is left alone.
    disk_reserve_bytes: u64,
    /// Whether the latest call failed.
    failing: watch::Sender<bool>,
}

/// The log of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) key: String,
    /// Whether the agent opens the stream. If not, somebody else has opened it.
    pub(crate) opens: bool,
    /// Whether the agent closes the stream. If not, somebody else goes on with it.
    pub(crate) closes: bool,
}

impl Log {
    /// Returns the log of a step; none when it has none.
    pub(crate) fn of(request: &StartStepRequest) -> Option<Self> {
        let LogConfig { skip_opening_stream, skip_closing_stream, .. } = request.log_config;
        let log = Self { key: request.log_key.clone(), opens: !skip_opening_stream, closes: !skip_closing_stream };
        Some(log).filter(|log| !request.log_drone && !log.key.is_empty())
    }

    /// Returns a log that the agent both opens and closes.
    pub(crate) fn whole(key: &str) -> Self {
        Self { key: key.to_owned(), opens: true, closes: true }
    }

    /// Returns whether the agent knows the whole log, and so uploads it at its end. Otherwise the service stores what
    /// it was sent.
    fn uploads(&self) -> bool {
        self.opens && self.closes
    }
}

impl LogService {
    /// Makes the log service of a stage with this configuration.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(crate) fn new(
        config: &LogConfig,
        web: &Arc<Web>,
        engine_dir: &Path,
        disk_reserve_bytes: u64,
        pace: &Pace,
    ) -> Result<Self, LogError> {
        let patterns = Patterns::read(&config.sanitize_config.sanitize_patterns_content).map_err(LogError::Pattern)?;
        let to = match config.url.as_str() {
            "" => Destination::Files(engine_dir.to_owned()),
            _ => Destination::Service(Box::new(Remote::new(config, Arc::clone(web), pace)?)),
        };
        let lines = Lines { trim: config.trim_new_line_suffix, patterns };
        Ok(Self { to, lines, pace: pace.clone(), disk_reserve_bytes, failing: watch::Sender::new(false) })
    }

    /// Refuses a log that cannot be kept where it would go.
    ///
    /// # Errors
    /// When its key would lead out of the folder for logs.
    pub(crate) fn admit(&self, log: &Log) -> Result<(), KeyError> {
        match &self.to {
            Destination::Service(_) => Ok(()),
            Destination::Files(_) => folder::parts(&log.key).map(drop),
        }
    }

    /// Remembers how the latest call went.
    fn went<T, E>(&self, outcome: &Result<T, E>) {
        let failing = outcome.is_err();
        self.failing.send_if_modified(|before| std::mem::replace(before, failing) != failing);
    }
}
