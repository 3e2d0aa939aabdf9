//! Who owns which VM on this host, so that the leftovers of a killed owner are found and removed.
//!
//! Each owner has a directory with a locked file. The kernel releases the lock when the owner dies, however it dies; then
//! the next owner to start takes the lock, ends what still runs, and removes the directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::paths::{Layout, private_dir};
use crate::{host, lock, unix};

const LOCK_FILE: &str = "owner.lock";
const VM_FILE: &str = "vm.json";
/// A killed process is gone within this, unless the host itself hangs.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A process, named so that another one with the same pid is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pub(crate) pid: u32,
    pub(crate) start_time: Option<u64>,
    pub(crate) boot_id: String,
}

impl ProcessName {
    pub(crate) fn new(pid: u32, start_time: Option<u64>) -> Self {
        Self { pid, start_time, boot_id: host::boot_id() }
    }

    /// Whether this very process lives. In doubt, no: then it is not killed either.
    pub(crate) fn lives(&self) -> bool {
        self.start_time.is_some() && host::start_time(self.pid) == self.start_time && host::boot_id() == self.boot_id
    }
}

/// Our own directory, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Owner {
    dir: PathBuf,
    _lock: File,
}

impl Owner {
    /// Removes what dead owners left, and makes a directory of our own.
    pub(crate) fn start(layout: &Layout) -> Result<Self, QemuError> {
        let vms = layout.vms();
        private_dir(&vms)?;
        reap(&vms)?;
        let pid = std::process::id();
        let serial = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{pid}-{}-{serial}", host::start_time(pid).unwrap_or_default());
        // Locked before it gets its name, so that no reaper sees it without an owner.
        let unnamed = vms.join(format!(".{name}"));
        lock::remove_tree(&unnamed)?;
        private_dir(&unnamed)?;
        let path = unnamed.join(LOCK_FILE);
        let file = File::create(&path).map_err(QemuError::io("create", &path))?;
        file.try_lock().map_err(|e| QemuError::io("lock", &path)(e.into()))?;
        let dir = vms.join(name);
        std::fs::rename(&unnamed, &dir).map_err(QemuError::io("create", &dir))?;
        Ok(Self { dir, _lock: file })
    }

    /// Where an instance keeps its files.
    pub(crate) fn instance_dir(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Writes down which process an instance is.
    pub(crate) fn record(&self, id: &str, process: &ProcessName) -> Result<(), QemuError> {
        let path = self.instance_dir(id).join(VM_FILE);
        let text = serde_json::to_vec(process).map_err(|e| QemuError::Invalid(e.to_string()))?;
        // Not written through: after a crash of the host no process is left that it could name.
        std::fs::write(&path, text).map_err(QemuError::io("write", &path))
    }

    /// The ids of all instances that have files here.
    pub(crate) fn instances(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.filter(|e| e.path().is_dir()).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next owner to start.
        let _ = lock::remove_tree(&self.dir);
    }
}

static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Ends the VMs and removes the files of every dead owner. Returns the instances that were found.
pub(crate) fn reap(vms: &Path) -> Result<Vec<String>, QemuError> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(vms).map_err(QemuError::io("read", vms))?;
    for dir in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            if is_stale_unnamed(&dir) {
                lock::remove_tree(&dir)?;
            }
            continue;
        }
        // Held until the directory is gone, so that two reapers do not meet in it.
        let Some(_dead) = lock::try_exclusive(&dir.join(LOCK_FILE)) else { continue };
        for instance in std::fs::read_dir(&dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
            end_leftover(&instance.path())?;
            found.push(instance.file_name().to_string_lossy().into_owned());
        }
        lock::remove_tree(&dir)?;
        tracing::info!(owner = %dir.display(), "removed what a killed owner left");
    }
    Ok(found)
}

/// Whether a directory that never got its name belongs to a dead process: its name starts with its pid and start time.
fn is_stale_unnamed(dir: &Path) -> bool {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut parts = name.trim_start_matches('.').split('-');
    let (pid, start) = (parts.next().and_then(|p| p.parse().ok()), parts.next().and_then(|p| p.parse::<u64>().ok()));
    pid.is_some_and(|pid| host::start_time(pid) != start)
}

/// Ends the process of a leftover instance, if it is that very process and its command line names the instance's files.
fn end_leftover(instance: &Path) -> Result<(), QemuError> {
    let Ok(text) = std::fs::read(instance.join(VM_FILE)) else { return Ok(()) };
    let Ok(process) = serde_json::from_slice::<ProcessName>(&text) else { return Ok(()) };
    let mark = instance.to_string_lossy().replace(',', ",,");
    let ours = |process: &ProcessName| {
        process.lives() && host::command_line(process.pid).iter().any(|word| word.contains(&*mark))
    };
    if !ours(&process) {
        return Ok(());
    }
    unix::kill_now(process.pid).map_err(QemuError::io("end the leftover VM of", instance))?;
    let deadline = Instant::now() + KILL_LIMIT;
    while process.lives() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().join("cache"), state: dir.path().join("state") };
        (dir, layout)
    }

    #[test]
    fn a_living_owner_keeps_its_instances_and_a_dead_one_does_not() {
        let (_dir, layout) = layout();
        let owner = Owner::start(&layout).expect("an owner");
        private_dir(&owner.instance_dir("i-1")).expect("create");
        assert_eq!(reap(&layout.vms()).expect("reap"), Vec::<String>::new());
        assert_eq!(owner.instances(), ["i-1"]);
        // As after kill -9: the lock is free and the files are there.
        let dead = layout.vms().join("1-1-0");
        private_dir(&dead.join("i-2")).expect("create");
        assert_eq!(reap(&layout.vms()).expect("reap"), ["i-2"]);
        assert!(!dead.exists());
        assert_eq!(owner.instances(), ["i-1"]);
    }

    /// A process that is no VM of ours is left alone, whatever the record says.
    #[test]
    fn a_foreign_process_is_never_killed() {
        let (_dir, layout) = layout();
        let mut foreign = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep");
        let start = host::start_time(foreign.id());
        let other_start = start.map(|s| s + 1);
        for start_time in [start, other_start, None] {
            let instance = layout.vms().join("1-1-0").join("i-3");
            private_dir(&instance).expect("create");
            let text = serde_json::to_vec(&ProcessName::new(foreign.id(), start_time)).expect("json");
            std::fs::write(instance.join(VM_FILE), text).expect("write");
            assert_eq!(reap(&layout.vms()).expect("reap"), ["i-3"]);
            assert!(foreign.try_wait().expect("wait").is_none(), "the foreign process was ended");
        }
        foreign.kill().expect("kill");
        foreign.wait().expect("wait");
    }

    #[test]
    fn a_leftover_process_of_the_instance_is_ended() {
        let (_dir, layout) = layout();
        let instance = layout.vms().join("1-1-0").join("i-4");
        private_dir(&instance).expect("create");
        let script = "read line; exit 0";
        let mut leftover = Command::new("sh")
            .args(["-c", script])
            .arg(instance.join("overlay"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh");
        let name = ProcessName::new(leftover.id(), host::start_time(leftover.id()));
        std::fs::write(instance.join(VM_FILE), serde_json::to_vec(&name).expect("json")).expect("write");
        reap(&layout.vms()).expect("reap");
        let status = leftover.wait().expect("wait");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(!instance.exists());
    }
}
