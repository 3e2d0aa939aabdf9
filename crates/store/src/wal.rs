//! Makes SQLite's commits survive a power cut, with one flush of the disk for many commits.
//!
//! With `synchronous=FULL` SQLite flushes its log inside each commit, while it holds the only write lock, so each claim
//! waits for the flushes of all claims before it, and a flush takes 50 to 100 ms on a disk that VMs write to. Here SQLite
//! commits without flushing (`NORMAL`), and others see the commit at once. One flush of the log then covers all commits
//! made so far: a commit is in the log before it returns. Where the log is gone, SQLite has moved it into the database
//! and flushed that.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::fault::Fault;

/// The log of one database.
#[derive(Debug)]
pub(crate) struct WalSync {
    path: PathBuf,
    /// Number of commits so far.
    made: AtomicU64,
    /// Number of commits that are flushed. The holder of the lock flushes.
    flushed: tokio::sync::Mutex<u64>,
    /// Set after a failed flush. The kernel may have dropped the pages that it could not write, and the next flush
    /// would not report that.
    failed: AtomicBool,
}

impl WalSync {
    /// Creates the watch over the log at this path.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, made: AtomicU64::new(0), flushed: tokio::sync::Mutex::new(0), failed: AtomicBool::new(false) }
    }

    /// Notes a commit.
    pub(crate) fn note_commit(&self) {
        self.made.fetch_add(1, Ordering::SeqCst);
    }

    /// Fails after a flush that failed.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.failed.load(Ordering::SeqCst) { Err(self.lost("an earlier flush failed")) } else { Ok(()) }
    }

    /// Returns when all commits noted so far are on the disk.
    pub(crate) async fn sync(&self) -> Result<(), Fault> {
        let mine = self.made.load(Ordering::SeqCst);
        let mut flushed = self.flushed.lock().await;
        self.check()?;
        if *flushed >= mine {
            return Ok(());
        }
        let until = self.made.load(Ordering::SeqCst);
        let path = self.path.clone();
        // The file is opened each time, because SQLite deletes it with its last connection and creates another one with
        // the next. SQLite locks other files, so closing this one releases none of its locks.
        let flush = tokio::task::spawn_blocking(move || match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        match flush.await {
            Ok(Ok(())) => {
                *flushed = until;
                Ok(())
            }
            Ok(Err(error)) => {
                self.failed.store(true, Ordering::SeqCst);
                Err(self.lost(&error.to_string()))
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    /// Makes the names of the files in a folder durable.
    pub(crate) async fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        let folder = folder.to_owned();
        let sync = move || match std::fs::File::open(&folder) {
            Ok(file) => file.sync_all(),
            // Windows does not open folders, and needs no flush of them.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
        };
        tokio::task::spawn_blocking(sync).await.map_err(std::io::Error::other)?
    }

    fn lost(&self, why: &str) -> Fault {
        Fault::Sync(format!(
            "{} cannot be flushed to the disk ({why}), so that a power cut could undo what was written. Look at the disk, \
             then restart this program",
            self.path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_commits_share_a_flush_and_a_failed_one_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db-wal");
        std::fs::write(&path, "log").unwrap();
        let wal = WalSync::new(path.clone());
        let commit = || async {
            wal.note_commit();
            wal.sync().await
        };
        let results = futures::future::join_all((0..64).map(|_| commit())).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(*wal.flushed.lock().await, 64);

        std::fs::remove_file(&path).unwrap();
        assert!(commit().await.is_ok(), "a log that is gone was moved into the database");

        std::fs::create_dir(&path).unwrap();
        assert!(commit().await.is_err());
        std::fs::remove_dir(&path).unwrap();
        assert!(wal.check().is_err(), "no further commit is made");
        let error = wal.sync().await.unwrap_err().during("claim").message;
        assert!(error.contains("an earlier flush failed") && error.contains("restart"), "{error}");
    }
}
