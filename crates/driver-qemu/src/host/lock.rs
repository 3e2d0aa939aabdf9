//! Locks between processes, which the kernel releases when their holder dies, and the removal of what they guarded.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::QemuError;
use crate::progress::{Listener, Task};

/// How often a lock that another process holds is tried again.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Waits for a lock that others may hold too.
pub(crate) async fn shared(path: &Path, listener: &Listener, what: &str) -> Result<File, QemuError> {
    acquire(path, listener, what, File::try_lock_shared).await
}

/// Waits for a lock that nobody else holds.
pub(crate) async fn exclusive(path: &Path, listener: &Listener, what: &str) -> Result<File, QemuError> {
    acquire(path, listener, what, File::try_lock).await
}

/// The lock if nobody holds it now; the file is made if it is not there.
pub(crate) fn try_exclusive(path: &Path) -> Option<File> {
    let file = open(path).ok()?;
    file.try_lock().ok().map(|()| file)
}

/// Somebody holds a lock, or its file cannot be looked at.
#[derive(Debug)]
pub(crate) struct Held;

/// Takes the lock of a file if nobody holds it. Makes no file: one that is not there is held by nobody, and is none.
pub(crate) fn take_existing(path: &Path) -> Result<Option<File>, Held> {
    match File::open(path) {
        Ok(file) if file.try_lock().is_ok() => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Ok(_) | Err(_) => Err(Held),
    }
}

async fn acquire(
    path: &Path,
    listener: &Listener,
    what: &str,
    attempt: fn(&File) -> Result<(), TryLockError>,
) -> Result<File, QemuError> {
    let file = open(path)?;
    let mut wait: Option<Task<'_>> = None;
    loop {
        match attempt(&file) {
            Ok(()) => {
                wait.map(Task::done);
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => {
                wait.get_or_insert_with(|| {
                    Task::begin(listener, format!("waiting for another kiln, which is busy with {what}"))
                });
            }
            Err(TryLockError::Error(source)) => return Err(QemuError::io("lock", path)(source)),
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

fn open(path: &Path) -> Result<File, QemuError> {
    File::options().create(true).truncate(false).write(true).read(true).open(path).map_err(QemuError::io("open", path))
}

/// Removes a directory if it is there. Refuses where something is mounted below it: an interrupted build may have left
/// the host's own /dev there.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), QemuError> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if let Some(mount) = mounts.lines().filter_map(|l| l.split(' ').nth(1)).find(|m| Path::new(m).starts_with(dir)) {
        return Err(QemuError::Invalid(format!(
            "{} is not removed, because {mount} is mounted: unmount it first",
            dir.display()
        )));
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(QemuError::io("remove", dir)(error)),
        _ => Ok(()),
    }
}
