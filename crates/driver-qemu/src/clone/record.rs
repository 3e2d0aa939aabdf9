//! What is written down about an instance, in its directory: enough to end it, and to take it over, without having made it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_driver::{Labels, LaunchRequest, Launched};
use kiln_wire::reach::Reach;
use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::host::proc::ProcessName;
use crate::host::room::{Policy, Promised};

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
    pub(crate) agent: Reach,
    pub(crate) server_name: String,
    pub(crate) needs_claim: bool,
    /// How long each of [`PHASES`] took.
    pub(crate) phases: [Duration; PHASES.len()],
}

impl Answer {
    pub(crate) fn launched(&self, id: &str) -> Launched {
        Launched {
            id: id.to_owned(),
            reach: Some(self.agent.clone()),
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

/// Adds what the instances of other owners below `vms` were promised. Owners that are dead have been reaped or keep their VMs.
///
/// Two processes that launch at the same moment do not see each other's; the watch over the free disk catches that.
pub(crate) fn add_promised_to_others(promised: &mut Promised, policy: &Policy, vms: &Path, own: &Path) {
    let subfolders = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let others = subfolders(vms).into_iter().filter(|owner| !owner.ends_with(own.file_name().unwrap_or_default()));
    for record in others.flat_map(|owner| subfolders(&owner)).filter_map(|instance| Record::read(&instance)) {
        match &record.process {
            Some(process) if process.lives() => promised.add_running(policy, record.memory_mib, 0),
            Some(_) => {}
            None => promised.add_starting(policy, record.memory_mib),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_owners_run_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = ProcessName { pid: 1, start_time: Some(0), boot_id: String::new() };
        let own_process = ProcessName::of(std::process::id());
        for (owner, id, process) in [
            ("named-x", "i-1", Some(own_process)),
            ("named-x", "i-2", Some(gone)),
            ("1-1-0", "i-3", None),
            ("named-us", "i-4", None),
        ] {
            let instance = dir.path().join(owner).join(id);
            std::fs::create_dir_all(&instance).expect("create");
            Record { process, ..Record::intent(&request(), "key") }.write(&instance).expect("write");
        }
        let policy = Policy { disk_reserve_bytes: 7, memory_overcommit: 1.0 };
        let mut promised = Promised::default();
        add_promised_to_others(&mut promised, &policy, dir.path(), &dir.path().join("named-us"));
        assert_eq!(promised, Promised { declared_mib: 1024, starting_mib: 512, owed_bytes: 14 });
    }

    fn request() -> LaunchRequest {
        LaunchRequest {
            token: "i-1".to_owned(),
            count: 1,
            place: String::new(),
            spec: serde_json::Value::Null,
            network: kiln_pool::Network::default(),
            image: "debian".to_owned(),
            cpus: 1,
            memory_mib: 512,
            disk_gib: 8,
            labels: Labels::from([("stage".to_owned(), "s-1".to_owned())]),
        }
    }

    #[test]
    fn a_record_reads_back_and_a_half_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Record::read(dir.path()), None);
        let mut record = Record::intent(&request(), "key");
        record.process = Some(ProcessName::of(std::process::id()));
        record.answer = Some(Answer {
            agent: Reach::Unix(dir.path().join("agent.sock")),
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
