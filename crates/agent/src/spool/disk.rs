//! Operations that a writer needs from its disk.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::os::files;

/// A growing file, and the disk below it.
pub(super) trait Disk: Debug + Send + Sync {
    /// Writes the part of `bytes` that fits at an offset, and returns its length.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Sets room aside between two offsets, without changing what the file holds.
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()>;

    /// Releases the reserved space beyond `len`, where the file ends.
    fn release(&mut self, len: u64) -> io::Result<()>;

    /// Returns the number of free bytes, or `None` if it is not known.
    fn free_bytes(&self) -> Option<u64>;
}

/// The file of a spool.
#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Set when somebody else made the file shorter. Later writes would hide that.
    pub(super) shortened: Arc<AtomicBool>,
}

impl Spooled {
    fn look(&self, least: u64) {
        if self.file.metadata().is_ok_and(|meta| meta.len() < least) {
            self.shortened.store(true, Ordering::Release);
        }
    }
}

impl Disk for Spooled {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.look(offset);
        files::write_at(&self.file, bytes, offset)
    }

    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        files::reserve(&self.file, from, to)
    }

    fn release(&mut self, len: u64) -> io::Result<()> {
        self.look(len);
        self.file.set_len(len)
    }

    fn free_bytes(&self) -> Option<u64> {
        files::free_bytes(&self.path)
    }
}
