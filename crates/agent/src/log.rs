//! The agent's own log: one line per event on standard error.
//!
//! ```text
//! 2026-11-23T22:00:00.123Z INFO step ended step=s1 exit_code=0
//! ```
//! Secrets are masked in it as in everything that leaves, and what a panic says goes through it too.
//!
//! A subscriber of our own, because the usual one is a twentieth of the agent's size and the agent has no spans, no
//! filters and one place to write to.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_mask::Secrets;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::moment;

/// Writes events up to a level.
struct Lines {
    most: Level,
}

/// What is masked; nothing before [`hide`].
static SECRETS: OnceLock<Arc<Secrets>> = OnceLock::new();
static NO_SECRETS: LazyLock<Arc<Secrets>> = LazyLock::new(Arc::default);

/// Masks these in all lines from now on, and those that come to be known later. A second call changes nothing.
pub fn hide(secrets: &Arc<Secrets>) {
    // An error means that they are set already, as in a process with several agents.
    drop(SECRETS.set(Arc::clone(secrets)));
}

/// Starts to log. A second call changes nothing.
pub fn start(debug: bool) {
    let most = if debug { Level::DEBUG } else { Level::INFO };
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "defect")));
    // An error means that a log is set up already, as in a test that runs several agents.
    drop(tracing::subscriber::set_global_default(Lines { most }));
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries tell much that only concerns themselves.
        let ours = metadata.target().starts_with("kiln");
        metadata.is_event() && *metadata.level() <= if ours { self.most } else { Level::WARN }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = Line { text: format!("{} {}", moment::with_milliseconds(now), event.metadata().level()) };
        event.record(&mut line);
        line.text.push('\n');
        let text = SECRETS.get().unwrap_or(&NO_SECRETS).mask(line.text);
        // In one write, so that lines of several threads do not mix. There is nowhere to tell of a failure.
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    }
}

struct Line {
    text: String,
}

impl Line {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // A message comes first, whatever the order of the fields in the source: `tracing` puts it there.
        let written = match field.name() {
            "message" => write!(self.text, " {value}"),
            name => write!(self.text, " {name}={value}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}
