//! The files of a QEMU as open descriptors, so that it needs no right to any path.
//!
//! ```text
//! disks           -add-fd fd=N,set=M  and  /dev/fdset/M    used as it was opened: what was opened for reading stays so
//! everything else /proc/self/fd/N                          opened again by QEMU, so the file's own mode counts
//! ```
//! The folders above the files are closed to everybody else, and a descriptor needs no way through them.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use crate::error::QemuError;

/// Collects the descriptors of one QEMU. They keep their numbers in the child.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    inherit: Vec<OwnedFd>,
    sets: Vec<String>,
    disks: usize,
}

impl Descriptors {
    /// A disk that is only read.
    pub(crate) fn read_only_disk(&mut self, path: &Path) -> Result<String, QemuError> {
        let file = File::open(path).map_err(QemuError::io("open", path))?;
        Ok(self.disk([file], path))
    }

    /// A disk that is written. QEMU wants it both ways: it opens a disk for reading until the guest writes to it.
    pub(crate) fn writable_disk(&mut self, path: &Path) -> Result<String, QemuError> {
        let open = |write| File::options().read(true).write(write).open(path).map_err(QemuError::io("open", path));
        Ok(self.disk([open(false)?, open(true)?], path))
    }

    /// A file that QEMU opens again for reading.
    pub(crate) fn file(&mut self, path: &Path) -> Result<String, QemuError> {
        let file = File::open(path).map_err(QemuError::io("open", path))?;
        Ok(self.reopened(file))
    }

    /// A file that QEMU opens again.
    pub(crate) fn reopened(&mut self, file: File) -> String {
        format!("/proc/self/fd/{}", self.inherit(file.into()))
    }

    /// A descriptor that is used by its number.
    pub(crate) fn inherit(&mut self, descriptor: OwnedFd) -> i32 {
        let number = descriptor.as_raw_fd();
        self.inherit.push(descriptor);
        number
    }

    fn disk<const N: usize>(&mut self, files: [File; N], path: &Path) -> String {
        let set = self.disks;
        self.disks += 1;
        for file in files {
            let number = self.inherit(file.into());
            // The path is for people, and for finding the VM by its command line.
            self.sets.push(format!("fd={number},set={set},opaque={}", option_value(path)));
        }
        format!("/dev/fdset/{set}")
    }

    /// The values of `-add-fd`.
    pub(crate) fn sets(&self) -> &[String] {
        &self.sets
    }

    /// All descriptors, for the child.
    pub(crate) fn into_inherited(self) -> Vec<OwnedFd> {
        self.inherit
    }
}

/// A path inside an option: QEMU reads a comma as the end of it unless it is doubled.
pub(crate) fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
