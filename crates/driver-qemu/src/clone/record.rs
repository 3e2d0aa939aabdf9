//! What is written down about an instance, in its directory: enough to end it, and to take it over, without having made it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_driver::{Labels, LaunchRequest, Launched};
use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::host::proc::ProcessName;

const VM_FILE: &str = "vm.json";
/// The phases of a start, in order; a launch tells how long each took.
const PHASES: [&str; 2] = ["spawn", "load"];

/// An instance. It is written three times: before its process is started, when there is one, and when the agent's address
/// is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) labels: Labels,
    pub(crate) memory_mib: u32,
    /// Key of the golden VM that it is a clone of.
    pub(crate) golden: String,
    /// When its launch began, in seconds since 1970.
    pub(crate) launch_began_unix_s: u64,
    pub(crate) process: Option<ProcessName>,
    pub(crate) answer: Option<Answer>,
}

/// What its launch was answered, but the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) agent: SocketAddr,
    pub(crate) server_name: String,
    pub(crate) needs_claim: bool,
    /// How long each of [`PHASES`] took.
    pub(crate) phases: [Duration; PHASES.len()],
}

impl Answer {
    pub(crate) fn launched(&self, id: &str) -> Launched {
        Launched {
            id: id.to_owned(),
            agent: self.agent,
            server_name: self.server_name.clone(),
            needs_claim: self.needs_claim,
            phases: PHASES.into_iter().zip(self.phases).collect(),
        }
    }
}

impl Record {
    /// That an instance is about to be started.
    pub(crate) fn intent(request: &LaunchRequest, golden: &str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            labels: request.labels.clone(),
            memory_mib: request.memory_mib,
            golden: golden.to_owned(),
            launch_began_unix_s: now.as_secs(),
            process: None,
            answer: None,
        }
    }

    /// None where none lies, or nothing that can be read as one.
    pub(crate) fn read(instance: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(instance.join(VM_FILE)).ok()?).ok()
    }

    /// Replaces what is written, whole or not at all.
    pub(crate) fn write(&self, instance: &Path) -> Result<(), QemuError> {
        let text = serde_json::to_vec(self).map_err(|e| QemuError::Invalid(e.to_string()))?;
        let path = instance.join(VM_FILE);
        let new = instance.join(".vm.json");
        // Not written through: after a crash of the host no process is left that it could name.
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path)).map_err(QemuError::io("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_half_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Record::read(dir.path()), None);
        let request = LaunchRequest {
            id: "i-1".to_owned(),
            image: "debian".to_owned(),
            cpus: 1,
            memory_mib: 512,
            disk_gib: 8,
            labels: Labels::from([("stage".to_owned(), "s-1".to_owned())]),
        };
        let mut record = Record::intent(&request, "key");
        record.process = Some(ProcessName::of(std::process::id()));
        record.answer = Some(Answer {
            agent: ([127, 0, 0, 1], 9079).into(),
            server_name: "golden".to_owned(),
            needs_claim: true,
            phases: [Duration::from_millis(7), Duration::from_millis(90)],
        });
        record.write(dir.path()).expect("write");
        assert_eq!(Record::read(dir.path()), Some(record));
        let text = std::fs::read(dir.path().join(VM_FILE)).expect("read");
        std::fs::write(dir.path().join(VM_FILE), &text[..text.len() / 2]).expect("write");
        assert_eq!(Record::read(dir.path()), None);
    }
}
