//! Taking over what the last process of a named owner left, wherever between two lines it was killed.
//!
//! ```text
//! directory ─► intent ─► sign of life locked ─► QEMU ─► vm.json names it ─► loaded ─► vm.json tells the answer
//! └──────────────────────── half-started: ended and removed ───────────────────────┘ └─ runs: adopted ──┘
//! ```
//! QEMU holds the lock of its sign of life itself, from before it is QEMU: as long as anything of an instance lives, the
//! lock is taken, and when it is free, nothing does. Which process it is, /proc tells by the command line.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clone::record::Record;
use crate::error::QemuError;
use crate::host::lock;
use crate::host::proc;
use crate::host::unix::PidFd;
use crate::vm::machine;
use crate::vm::qemu::{self, Vm};

const SIGN_FILE: &str = "process.lock";
/// A killed process is gone within this, unless the host itself hangs.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// An instance that runs, started by an earlier owner.
#[derive(Debug)]
pub(crate) struct Survivor {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) record: Record,
    pub(crate) vm: Vm,
}

/// Makes and takes the lock that a VM is to hold while it lives.
pub(crate) fn sign_of_life(instance: &Path) -> Result<OwnedFd, QemuError> {
    let path = instance.join(SIGN_FILE);
    let file = File::create(&path).map_err(QemuError::io("create", &path))?;
    file.try_lock().map_err(|e| QemuError::io("lock", &path)(e.into()))?;
    Ok(OwnedFd::from(file))
}

/// Tells whether a process of the instance lives.
pub(crate) fn lives(instance: &Path) -> bool {
    lock::take_existing(&instance.join(SIGN_FILE)).is_err()
}

/// Takes over all that runs below an owner's directory, and ends and removes everything else there. The caller holds the
/// owner's lock.
pub(crate) fn survivors(owner: &Path) -> Result<Vec<Survivor>, QemuError> {
    let entries = std::fs::read_dir(owner).map_err(QemuError::io("read", owner))?;
    let mut ids: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    // Somebody may have removed the files of a VM that runs.
    ids.extend(processes(owner).into_iter().map(|(id, _)| id));
    ids.sort();
    ids.dedup();
    let mut found = Vec::new();
    for id in ids {
        if let Some(survivor) = survivor(owner, &id)? {
            tracing::info!(instance = id, pid = survivor.vm.name().pid, "took over a VM");
            found.push(survivor);
            continue;
        }
        let words = qemu::last_words(&owner.join(&id));
        match end(owner, &id) {
            Ok(()) => tracing::info!(instance = id, words, "removed what was left of an instance that does not run"),
            // It stays listed, and can be destroyed.
            Err(error) => tracing::warn!(instance = id, %error, "an instance is left over"),
        }
    }
    Ok(found)
}

fn survivor(owner: &Path, id: &str) -> Result<Option<Survivor>, QemuError> {
    let dir = owner.join(id);
    let Some(record) = Record::read(&dir).filter(|record| record.answer.is_some()) else { return Ok(None) };
    let Some(name) = &record.process else { return Ok(None) };
    let ours = machine::instance_of(&proc::command_line(name.pid), owner).as_deref() == Some(id);
    let vm = if ours { Vm::adopt(id, name, &dir)? } else { None };
    Ok(vm.map(|vm| Survivor { id: id.to_owned(), dir, record, vm }))
}

/// Ends whatever process of an instance lives, and removes its files. Safe to repeat.
pub(crate) fn end(owner: &Path, id: &str) -> Result<(), QemuError> {
    let dir = owner.join(id);
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let pids: Vec<u32> = processes(owner).into_iter().filter(|(i, _)| i == id).map(|(_, pid)| pid).collect();
        for &pid in &pids {
            // One that is gone by now needs no end. What the descriptor means is looked at again: pids come back.
            let Ok(process) = PidFd::open(pid) else { continue };
            if machine::instance_of(&proc::command_line(pid), owner).as_deref() == Some(id) {
                process.kill().map_err(QemuError::io("end the VM of", &dir))?;
            }
        }
        // A child that is not QEMU yet has the lock, but no command line of its own.
        if pids.is_empty() && !lives(&dir) {
            return lock::remove_tree(&dir);
        }
        if Instant::now() > deadline {
            return Err(QemuError::Invalid(format!(
                "the VM of {} does not end within {KILL_LIMIT:?} (processes {pids:?}): end it by hand",
                dir.display()
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Lists the processes that are instances below an owner's directory. A zombie has no command line.
fn processes(owner: &Path) -> Vec<(String, u32)> {
    proc::processes().filter_map(|pid| Some((machine::instance_of(&proc::command_line(pid), owner)?, pid))).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use kiln_driver::{Labels, LaunchRequest};

    use super::*;
    use crate::clone::record::Answer;
    use crate::host::files::private_dir;
    use crate::host::proc::ProcessName;
    use crate::host::unix;

    struct Case {
        _dir: tempfile::TempDir,
        owner: PathBuf,
        record: Record,
        processes: Vec<Child>,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let owner = dir.path().canonicalize().expect("a path").join("named-x");
            private_dir(&owner.join("i-1")).expect("create");
            let request = LaunchRequest {
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
            };
            Self { _dir: dir, owner, record: Record::intent(&request, "key"), processes: Vec::new() }
        }

        fn instance(&self) -> PathBuf {
            self.owner.join("i-1")
        }

        /// A process with the lock and the command line of the VM, or what will have it in a moment. It ends by itself when
        /// its input does.
        fn spawn(&mut self, begins_as_child: bool) -> ProcessName {
            let disk = format!("fd=0,set=0,opaque={}", self.instance().join(machine::OVERLAY).display());
            let mut command = Command::new("sh");
            if begins_as_child {
                let exec = "sleep 0.1; exec sh -c 'read line; exit' -name i-1 -add-fd \"$DISK\"";
                command.args(["-c", exec]).env("DISK", disk);
            } else {
                command.args(["-c", "read line; exit", "-name", "i-1", "-add-fd", &disk]);
            }
            command.stdin(Stdio::piped());
            let sign = sign_of_life(&self.instance()).expect("a sign");
            let child = unix::spawn_lasting(command, vec![sign]).expect("sh");
            let name = ProcessName::of(child.id());
            self.processes.push(child);
            name
        }

        fn write(&mut self, process: Option<ProcessName>, answered: bool) {
            self.record.process = process;
            self.record.answer = answered.then(|| Answer {
                agent: std::net::SocketAddr::from(([127, 0, 0, 1], 9079)).into(),
                server_name: "golden".to_owned(),
                needs_claim: true,
                phases: [Duration::ZERO; 2],
            });
            self.record.write(&self.instance()).expect("write");
        }

        /// Nothing is taken over, and nothing remains.
        fn leaves_nothing(mut self) {
            let found = survivors(&self.owner).expect("a look");
            assert!(found.is_empty(), "{found:?}");
            assert!(!self.instance().exists());
            for process in &mut self.processes {
                let status = process.wait().expect("wait");
                assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
            }
        }
    }

    #[test]
    fn a_start_is_undone_wherever_it_was_broken_off() {
        Case::new().leaves_nothing();
        let check = |spawned: Option<bool>, recorded: bool, answered: bool| {
            let mut case = Case::new();
            case.write(None, false);
            let name = spawned.map(|begins_as_child| case.spawn(begins_as_child));
            case.write(name.filter(|_| recorded), answered);
            case.leaves_nothing();
        };
        check(None, false, false);
        check(Some(true), false, false);
        check(Some(false), false, false);
        check(Some(false), true, false);
    }

    #[test]
    fn a_record_that_is_torn_or_gone_does_not_hide_a_process() {
        for text in [Some("{\"labels"), None] {
            let mut case = Case::new();
            case.spawn(false);
            if let Some(text) = text {
                std::fs::write(case.instance().join("vm.json"), text).expect("write");
            }
            case.leaves_nothing();
        }
        let mut case = Case::new();
        case.spawn(false);
        std::fs::remove_dir_all(case.instance()).expect("remove");
        case.leaves_nothing();
    }

    #[tokio::test]
    async fn what_runs_is_taken_over_until_it_ends() {
        let mut case = Case::new();
        let name = case.spawn(false);
        case.write(Some(name.clone()), true);
        let found = survivors(&case.owner).expect("a look");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].id, &found[0].record), ("i-1", &case.record));
        assert!(found[0].vm.is_running() && lives(&case.instance()));
        drop(found);
        assert!(name.lives(), "letting go of an adopted VM ends it");
        let again = survivors(&case.owner).expect("a look").pop().expect("it is taken over again");
        again.vm.end().await;
        assert!(!lives(&case.instance()));
        assert_eq!(again.vm.evidence().lines().count(), 1, "{}", again.vm.evidence());
        case.leaves_nothing();
    }

    #[test]
    fn what_ended_meanwhile_is_removed_and_strangers_are_left_alone() {
        let mut ended = Case::new();
        let name = ended.spawn(false);
        ended.write(Some(name), true);
        let process = PidFd::open(ended.processes[0].id()).expect("it lives");
        process.kill().expect("kill");
        process.ended_within(None).expect("its end");
        ended.leaves_nothing();

        let mut case = Case::new();
        case.write(None, false);
        let file = case.instance().join("vm.json");
        let mut stranger = Command::new("tail").arg("-f").arg(file).stdout(Stdio::piped()).spawn().expect("tail");
        // From its first byte on it has the file open.
        stranger.stdout.as_mut().expect("its output").read_exact(&mut [0]).expect("a byte");
        case.write(Some(ProcessName::of(stranger.id())), true);
        case.leaves_nothing();
        assert!(stranger.try_wait().expect("wait").is_none(), "the stranger was ended");
        stranger.kill().expect("kill");
        stranger.wait().expect("wait");
    }
}
