//! The lines of a journal: one JSON object each, with one key that says of what it tells.

use serde_json::{Value, json};

/// Version of the form. The first line keeps its form in all versions.
const VERSION: u64 = 1;

/// The first line: who writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The kernel's boot.
    pub(crate) boot: String,
    /// With what the marks of this process's steps begin.
    pub(crate) mark: String,
    /// When the machine's age began to count, by the clock that counts from the boot, in milliseconds.
    pub(crate) born_ms: u64,
}

/// Any other line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The machine becomes somebody of its own.
    Claim {
        /// Who.
        id: String,
        /// The limits that the claim brings, as it brings them.
        lease_s: i64,
        max_age_s: i64,
        /// When, by the clock that counts from the boot, in milliseconds.
        at_ms: u64,
    },
    /// A stage is set up.
    Setup {
        /// As its caller names it; empty when it does not.
        epoch: String,
    },
    /// A step is started.
    Start {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// Its mark, which is also the name of its output.
        mark: String,
        /// When, in milliseconds since 1970.
        at_unix_ms: i64,
    },
    /// A step was started.
    Runs {
        /// Its mark.
        mark: String,
        /// What it is found by, as its runtime names it.
        handle: String,
    },
}

impl Begin {
    pub(super) fn line(&self) -> String {
        let Self { boot, mark, born_ms } = self;
        format!("{}\n", json!({"journal": VERSION, "boot": boot, "mark": mark, "born_ms": born_ms}))
    }

    /// Reads a first line; none when it is none.
    pub(super) fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| value[name].as_u64();
        number("journal")?;
        Some(Self { boot: text(&value, "boot")?, mark: text(&value, "mark")?, born_ms: number("born_ms")? })
    }
}

impl Record {
    pub(super) fn line(&self) -> String {
        let value = match self {
            Self::Claim { id, lease_s, max_age_s, at_ms } => {
                json!({"claim": {"id": id, "lease_s": lease_s, "max_age_s": max_age_s, "at_ms": at_ms}})
            }
            Self::Setup { epoch } => json!({"setup": {"epoch": epoch}}),
            Self::Start { id, name, mark, at_unix_ms } => {
                json!({"start": {"id": id, "name": name, "mark": mark, "at_unix_ms": at_unix_ms}})
            }
            Self::Runs { mark, handle } => json!({"runs": {"mark": mark, "handle": handle}}),
        };
        format!("{value}\n")
    }

    /// Reads a line; none when it is broken, or of a version that tells of more.
    pub(super) fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let (kind, told) = value.as_object()?.iter().next()?;
        let (text, number) = (|name: &str| text(told, name), |name: &str| told[name].as_i64());
        Some(match kind.as_str() {
            "claim" => Self::Claim {
                id: text("id")?,
                lease_s: number("lease_s")?,
                max_age_s: number("max_age_s")?,
                at_ms: told["at_ms"].as_u64()?,
            },
            "setup" => Self::Setup { epoch: text("epoch")? },
            "start" => Self::Start {
                id: text("id")?,
                name: text("name")?,
                mark: text("mark")?,
                at_unix_ms: number("at_unix_ms")?,
            },
            "runs" => Self::Runs { mark: text("mark")?, handle: text("handle")? },
            _ => return None,
        })
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(ToOwned::to_owned)
}
