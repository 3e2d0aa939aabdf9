//! What came of the checks.

use std::time::Duration;

use reqwest::Url;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent keeps it.
    Passed,
    /// It does not, and this is what was seen.
    Failed(String),
    /// The check says nothing about this agent or its machine, for this reason.
    Skipped(String),
    /// Agents need not do it yet, for this reason.
    NotYet(String),
}

/// A check and what came of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Name of the check.
    pub name: &'static str,
    /// Section of the protocol's description that it stands for.
    pub section: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Report {
    agent: Url,
    version: String,
    /// In the order in which they were made.
    pub verdicts: Vec<Verdict>,
}

impl Outcome {
    /// Its word in reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
            Self::NotYet(_) => "not_yet",
        }
    }

    /// What was seen, or why nothing was.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(text) | Self::Skipped(text) | Self::NotYet(text) => Some(text),
        }
    }
}

impl Report {
    pub(crate) fn new(agent: &Url, version: &str) -> Self {
        Self { agent: agent.clone(), version: version.to_owned(), verdicts: Vec::new() }
    }

    /// Number of checks with that word for an outcome.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.outcome.word() == word).count()
    }

    /// Whether the agent was held to something, and kept all of it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.count("failed") == 0 && self.count("passed") > 0
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Failed(_)))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed(_) => "FAILED",
            Outcome::Skipped(_) => "skipped",
            Outcome::NotYet(_) => "not yet",
        };
        write!(f, "{word:<8} {:<16} {} ({} ms)", self.section, self.name, self.took.as_millis())?;
        if let Some(detail) = self.outcome.detail() {
            write!(f, "\n         {}", detail.replace('\n', "\n         "))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { agent, version, .. } = self;
        write!(
            f,
            "{agent} (version {version}): {} passed, {} failed, {} skipped, {} not yet",
            self.count("passed"),
            self.count("failed"),
            self.count("skipped"),
            self.count("not_yet")
        )
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("section", self.section)?;
        map.serialize_entry("outcome", self.outcome.word())?;
        if let Some(detail) = self.outcome.detail() {
            map.serialize_entry("detail", detail)?;
        }
        map.serialize_entry("duration_ms", &u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX))?;
        map.end()
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("agent", self.agent.as_str())?;
        map.serialize_entry("version", &self.version)?;
        for word in ["passed", "failed", "skipped", "not_yet"] {
            map.serialize_entry(word, &self.count(word))?;
        }
        map.serialize_entry("checks", &self.verdicts)?;
        map.end()
    }
}
