//! Who owns which VM on this host, so that what a killed owner left is found.
//!
//! Each owner has a directory with a locked file. The kernel releases the lock when the owner dies, however it dies. What a
//! process of its own left is removed by the next owner to start; what a named owner left goes on, and is taken over by
//! the next process of that name.
//!
//! ```text
//! Process        state/vms/PID-START-SERIAL/   its VMs die with it
//! Named("x")     state/vms/named-x/            its VMs go on without it
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clone::reap;
use crate::error::QemuError;
use crate::host::files::private_dir;
use crate::host::lock;
use crate::host::proc;
use crate::paths::{Layout, NAMED, OWNER_LOCK};
use crate::vm::machine::Life;

/// A process that was just killed holds its lock a little longer, and so does a child that it was just starting.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// What ties VMs to their owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// The VMs are this process's and end with it, however it ends.
    Process,
    /// The VMs belong to a name: they outlive this process, and the next process that opens the driver with the same name and
    /// state directory takes them over. One process at a time has a name. 1 to 63 lower-case letters, digits and inner
    /// hyphens.
    Named(String),
}

/// The directory of an owner, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Owner {
    dir: PathBuf,
    life: Life,
    site: String,
    _lock: File,
}

/// File with the owner's id.
const SITE: &str = "site";

impl Owner {
    /// Removes what dead processes left, and makes a directory for this process or takes that of the name.
    pub(crate) fn start(layout: &Layout, ownership: &Ownership) -> Result<Self, QemuError> {
        let vms = layout.vms();
        private_dir(&vms)?;
        reap::reap(&vms)?;
        match ownership {
            Ownership::Process => Self::process(&vms),
            Ownership::Named(name) => Self::named(&vms, name),
        }
    }

    fn process(vms: &Path) -> Result<Self, QemuError> {
        let pid = std::process::id();
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{pid}-{}-{serial}", proc::start_time(pid).unwrap_or_default());
        // Locked before it gets its name, so that no reaper sees it without an owner.
        let unnamed = vms.join(format!(".{name}"));
        lock::remove_tree(&unnamed)?;
        private_dir(&unnamed)?;
        let path = unnamed.join(OWNER_LOCK);
        let file = File::create(&path).map_err(QemuError::io("create", &path))?;
        file.try_lock().map_err(|e| QemuError::io("lock", &path)(e.into()))?;
        let dir = vms.join(&name);
        std::fs::rename(&unnamed, &dir).map_err(QemuError::io("create", &dir))?;
        Ok(Self { dir, life: Life::Tied, site: name, _lock: file })
    }

    fn named(vms: &Path, name: &str) -> Result<Self, QemuError> {
        if !valid_name(name) {
            return Err(QemuError::Invalid(format!(
                "`{name}` is not a name for the owner of VMs: use 1 to 63 lower-case letters, digits and inner hyphens"
            )));
        }
        let dir = vms.join(format!("{NAMED}{name}"));
        private_dir(&dir)?;
        // VMs are found by the path in their command lines, so it must be the same whatever way it was come by.
        let dir = std::fs::canonicalize(&dir).map_err(QemuError::io("find", &dir))?;
        let path = dir.join(OWNER_LOCK);
        let deadline = Instant::now() + LOCK_LIMIT;
        let lock = loop {
            match lock::try_exclusive(&path) {
                Some(lock) => break lock,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                None => return Err(taken(name, &path)),
            }
        };
        if let Err(error) = note_holder(&lock) {
            // Only a message depends on it, and what runs must be found and ended on a full disk too.
            tracing::warn!(%error, path = %path.display(), "the holder of the name cannot be noted");
        }
        let site = site_of(&dir);
        Ok(Self { dir, life: Life::Lasting, site, _lock: lock })
    }

    /// Returns the id of this owner, made in its folder: another folder of the same name, on whatever host, has another one.
    pub(crate) fn site(&self) -> &str {
        &self.site
    }

    /// Returns what becomes of this owner's VMs when this process ends.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns where an instance keeps its files.
    pub(crate) fn instance_dir(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// Lists the ids of all instances that have files here.
    pub(crate) fn instances(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.filter(|e| e.path().is_dir()).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.life == Life::Tied {
            // What cannot be removed now is removed by the next owner to start.
            let _ = lock::remove_tree(&self.dir);
        }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where the id of a named owner cannot be written down, as on a full disk, it holds for this process only. Nothing is
/// launched there then, so no row names it.
fn site_of(dir: &Path) -> String {
    let path = dir.join(SITE);
    if let Ok(id) = std::fs::read_to_string(&path)
        && valid_name(id.trim())
    {
        return id.trim().to_owned();
    }
    let (id, unnamed) = (proc::random_id(), dir.join(format!(".{SITE}")));
    if let Err(error) = std::fs::write(&unnamed, &id).and_then(|()| std::fs::rename(&unnamed, &path)) {
        tracing::warn!(%error, path = %path.display(), "the id of this owner of VMs cannot be written down");
    }
    id
}

/// Tells whether it can name an owner or an instance: it becomes the name of a directory.
pub(crate) fn valid_name(name: &str) -> bool {
    let inner_ok = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (1..=63).contains(&name.len()) && inner_ok && !name.starts_with('-') && !name.ends_with('-')
}

/// Writes down who has the lock, for whoever finds it taken.
fn note_holder(mut lock: &File) -> std::io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn taken(name: &str, path: &Path) -> QemuError {
    let holder = std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
    QemuError::Invalid(format!(
        "the VMs of `{name}` are {holder}'s, which holds {}: end it first, or use another name or state directory",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().join("cache"), state: dir.path().join("state") };
        (dir, layout)
    }

    #[test]
    fn a_name_has_one_process_at_a_time() {
        let (_dir, layout) = layout();
        let named = Ownership::Named("runner".to_owned());
        let first = Owner::start(&layout, &named).expect("an owner");
        let other = Owner::start(&layout, &Ownership::Named("other".to_owned())).expect("another name is free");
        let error = Owner::start(&layout, &named).expect_err("the name is taken").to_string();
        let expect = format!("the VMs of `runner` are process {}'s", std::process::id());
        assert!(error.contains(&expect), "{error}");
        private_dir(&first.instance_dir("i-1")).expect("create");
        drop((first, other));
        let next = Owner::start(&layout, &named).expect("the name is free again");
        assert_eq!(next.instances(), ["i-1"], "a named owner's files stay");
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        let (_dir, layout) = layout();
        for name in ["", "../x", "a b", "A", "-a", "a-", &"x".repeat(64)] {
            let error = Owner::start(&layout, &Ownership::Named(name.to_owned())).expect_err(name);
            assert!(error.to_string().contains("is not a name"), "{error}");
        }
    }
}
