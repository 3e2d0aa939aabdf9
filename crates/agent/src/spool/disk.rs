//! What a writer needs of its disk.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::os::files;

/// A file that grows, and the disk below it.
pub(super) trait Disk: Debug + Send + Sync {
    /// Writes what fits of `bytes` at an offset, and returns how many that are.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Sets room aside between two offsets, without changing what the file holds.
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()>;

    /// Gives back what was set aside beyond `len`, where the file ends.
    fn release(&mut self, len: u64) -> io::Result<()>;

    /// Returns the bytes that are free; none where that is not known.
    fn free_bytes(&self) -> Option<u64>;
}

/// The file of a spool.
#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Set when somebody else made it shorter: what is written afterwards hides that.
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
