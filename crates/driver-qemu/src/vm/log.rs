//! What a VM that outlives its owner writes: into a file, whose end is kept.
//!
//! A pipe would end with its reader. QEMU appends to the file by itself; as long as a driver watches the VM, the disk of all
//! but the file's end is given back from time to time. Between two drivers the file grows at the pace of a serial line.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::QemuError;
use crate::host::files::STAT_BLOCK_BYTES;
use crate::host::lines::last_lines;
use crate::host::unix;

/// How much of the end is kept, and read.
const KEPT_BYTES: u64 = 64 * 1024;
/// With more disk than this, a file is cut.
const LARGEST_BYTES: u64 = 1024 * 1024;

/// A file that a VM appends to. It can be read after it was removed.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    /// Opens it for a VM that is about to start, and makes it if it is not there.
    pub(crate) fn create(path: &Path) -> Result<Self, QemuError> {
        let file = File::options().read(true).append(true).create(true).mode(0o600).open(path);
        file.map(Self).map_err(QemuError::io("open", path))
    }

    /// Opens that of a VM that was started before. Makes no file: one that is gone reads as empty.
    pub(crate) fn existing(path: &Path) -> Result<Self, QemuError> {
        let open = |path: &Path| File::options().read(true).append(true).open(path);
        let file = match open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => open(Path::new("/dev/null")),
            file => file,
        };
        file.map(Self).map_err(QemuError::io("open", path))
    }

    /// Returns the same file for a child to write to.
    pub(crate) fn writer(&self) -> std::io::Result<File> {
        self.0.try_clone()
    }

    /// Returns the last `count` lines, for people; nothing where it cannot be read.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        let mut bytes = Vec::new();
        let length = self.0.metadata().map_or(0, |meta| meta.len());
        let begin = length.saturating_sub(KEPT_BYTES);
        bytes.resize(usize::try_from(length - begin).unwrap_or(0), 0);
        match self.0.read_at(&mut bytes, begin) {
            Ok(read) => last_lines(&String::from_utf8_lossy(&bytes[..read]), count),
            Err(_) => String::new(),
        }
    }

    /// Gives back the disk of all but its end if it takes much.
    pub(crate) fn trim(&self) {
        let Ok(meta) = self.0.metadata() else { return };
        if meta.blocks() * STAT_BLOCK_BYTES <= LARGEST_BYTES {
            return;
        }
        // A file system without holes loses the end too: better than a full disk.
        let cut = unix::punch_hole(&self.0, meta.len() - KEPT_BYTES.min(meta.len())).or_else(|_| self.0.set_len(0));
        if let Err(error) = cut {
            tracing::warn!(%error, "what a VM writes cannot be cut");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_grows_keeps_its_end_and_little_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("console.log");
        let log = Log::create(&path).expect("a log");
        assert_eq!(log.last_lines(3), "");
        // Another opening of the same file, as QEMU has one.
        let mut writer = File::options().append(true).open(&path).expect("a writer");
        let disk = || std::fs::metadata(&path).expect("it is there").blocks() * STAT_BLOCK_BYTES;
        for round in 0..4 {
            for _ in 0..LARGEST_BYTES / 16 {
                writer.write_all(b"fifteen letters\n").expect("write");
            }
            writeln!(writer, "round {round}").expect("write");
            writer.sync_all().expect("sync");
            log.trim();
            assert!(disk() <= LARGEST_BYTES, "{} bytes of disk", disk());
            assert_eq!(log.last_lines(2), format!("fifteen letters\nround {round}"));
        }
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(log.last_lines(1), "round 3");
    }
}
