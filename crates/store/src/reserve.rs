//! Room on the disk that is kept for the rows of ends.
//!
//! ```text
//! kept ──a write finds the disk full──► spent: only ends and leases are written, into the room that was kept
//!   ▲                                     │
//!   └────── there is room again ──────────┘  looked for at most once in a second
//! ```
//! The room is a file beside the database. When it is spent, its blocks go to the write-ahead log before another writer
//! can fill them. A file system that cannot preallocate blocks has no reserve.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Size of the reserve. Ending a stage and its instance takes about 110 KiB of the log, so this suffices for a hundred
/// of them even if the log can never be emptied.
pub(crate) const RESERVE_BYTES: i64 = 16 << 20;
/// Pause between two attempts to set the room aside again.
const PAUSE: Duration = Duration::from_secs(1);

/// The reserve of one database.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    log: PathBuf,
    /// When the last attempt to set the room aside again was made; none while the room is kept.
    spent: Mutex<Option<Instant>>,
}

impl Reserve {
    /// Sets room aside beside the database. Returns none where the file system cannot do that.
    pub(crate) fn keep(database: &Path) -> Option<Self> {
        let beside = |end: &str| PathBuf::from(format!("{}{end}", database.display()));
        let reserve = Self { path: beside("-reserve"), log: beside("-wal"), spent: Mutex::new(None) };
        match reserve.allocate() {
            Ok(()) => Some(reserve),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                *reserve.spent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                Some(reserve)
            }
            Err(error) => {
                tracing::info!(%error, file = %reserve.path.display(), "no room can be set aside for a full disk");
                None
            }
        }
    }

    /// Gives the room to the log.
    pub(crate) fn spend(&self) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.is_some() {
            return;
        }
        *spent = Some(Instant::now());
        let given = std::fs::remove_file(&self.path).and_then(|()| {
            let log = OpenOptions::new().write(true).open(&self.log)?;
            allocate(&log, i64::try_from(log.metadata()?.len()).unwrap_or(i64::MAX))
        });
        match given {
            Ok(()) => {
                tracing::warn!("the disk of the database is full; only ends are written down until there is room")
            }
            Err(error) => tracing::warn!(%error, "the disk of the database is full, and so is what was kept for ends"),
        }
    }

    /// Tells whether the room is spent. Tries to set it aside again, at most once in a second.
    pub(crate) fn is_spent(&self) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.is_some_and(|tried| tried.elapsed() >= PAUSE) {
            *spent = self.allocate().is_err().then(Instant::now);
        }
        spent.is_some()
    }

    fn allocate(&self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        // A partial allocation is no reserve, and would only use up the disk.
        allocate(&file, 0).inspect_err(|_| drop(std::fs::remove_file(&self.path)))
    }
}

/// Allocates the reserve behind the offset `from`, without making the file longer.
#[cfg(target_os = "linux")]
fn allocate(file: &File, from: i64) -> io::Result<()> {
    use nix::fcntl::{FallocateFlags, fallocate};
    Ok(fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, RESERVE_BYTES)?)
}

/// Fails, because other systems have no such call.
#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: i64) -> io::Result<()> {
    let _ = RESERVE_BYTES;
    Err(io::ErrorKind::Unsupported.into())
}
