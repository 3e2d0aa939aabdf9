//! What is written down about an instance.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kiln_driver::{Labels, Launched};
use serde::{Deserialize, Serialize};

use super::error::ProcessError;
use super::{SERVER_NAME, kernel};

const FILE: &str = "record.json";

/// A process, named so that another one with the same pid is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessName {
    pub(super) pid: u32,
    /// In clock ticks since the boot of the machine.
    pub(super) start_time: u64,
    pub(super) boot_id: String,
}

impl ProcessName {
    /// The process that has this pid now; none when it ended.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_time: kernel::start_time(pid)?, boot_id: kernel::boot_id() })
    }

    /// Whether this very process lives.
    pub(super) fn lives(&self) -> bool {
        kernel::start_time(self.pid) == Some(self.start_time) && kernel::boot_id() == self.boot_id
    }
}

/// An instance. It is written before anything runs, when there is a process, and when its port is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) labels: Labels,
    pub(super) process: Option<ProcessName>,
    pub(super) answer: Option<Answer>,
}

/// What its launch was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) agent: SocketAddr,
    pub(super) start: Duration,
}

impl Record {
    /// That an instance is about to be started.
    pub(super) fn intent(labels: &Labels) -> Self {
        Self { labels: labels.clone(), process: None, answer: None }
    }

    /// None where none lies.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Replaces what is written, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), ProcessError> {
        let text = serde_json::to_vec(self).map_err(|e| ProcessError::Broken(e.to_string()))?;
        let (path, new) = (dir.join(FILE), dir.join(".record.json"));
        // Not written through: after a crash of the machine no process is left that it could name.
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(ProcessError::io("write", &path))
    }

    pub(super) fn launched(&self, id: &str) -> Option<Launched> {
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
