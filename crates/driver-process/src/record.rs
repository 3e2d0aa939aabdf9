//! The record of an instance, a file that every process with the same root reads.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kiln_driver::{Labels, Launched};
use serde::{Deserialize, Serialize};

use crate::error::ProcessError;
use crate::name::ProcessName;

/// The name in the certificate that every agent has before it gets its own.
pub const SERVER_NAME: &str = "process-agent";

const FILE: &str = "record.json";

/// An instance's record. It is written before anything runs, once there is a process, and once its port is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) labels: Labels,
    pub(crate) process: Option<ProcessName>,
    pub(crate) answer: Option<Answer>,
}

/// The answer to its launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) agent: SocketAddr,
    pub(crate) start: Duration,
}

impl Record {
    /// Returns the record of an instance that is about to be started.
    pub(crate) fn intent(labels: &Labels) -> Self {
        Self { labels: labels.clone(), process: None, answer: None }
    }

    /// Reads the record of a directory; none where there is none.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Replaces the record, whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), ProcessError> {
        let text = serde_json::to_vec(self).map_err(|e| ProcessError::Broken(e.to_string()))?;
        let (path, new) = (dir.join(FILE), dir.join(".record.json"));
        // It is not flushed: after a crash of the machine there is no process left for it to name.
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(ProcessError::io("write", &path))
    }

    /// Returns the launch's answer, which every listing repeats.
    pub(crate) fn launched(&self, id: &str) -> Option<Launched> {
        let answer = self.answer.as_ref()?;
        Some(Launched {
            id: id.to_owned(),
            reach: Some(answer.agent.into()),
            server_name: SERVER_NAME.to_owned(),
            needs_claim: true,
            phases: vec![("start", answer.start)],
        })
    }
}
