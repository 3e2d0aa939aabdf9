//! Files: who may read them, and how they are read and written in place.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Readable and writable by its owner alone.
const PRIVATE: u32 = 0o600;

/// Makes a file that its owner alone can read; one of that name is emptied.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(PRIVATE).open(path)
}

/// Replaces a file by one that its owner alone can read, so that nobody ever reads a half.
pub(crate) fn replace_private(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    // One that was left behind may have other permissions.
    drop(fs::remove_file(&beside));
    let mut file = File::options().write(true).create_new(true).mode(PRIVATE).open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

/// Sets the permissions, as chmod(1) takes them.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
}

/// Fills `into` from an offset, beside other readers of the same file.
pub(crate) fn read_exact_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(into, offset)
}

/// Writes what fits at an offset, and returns how many bytes that are.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

/// Sets room aside on the disk between two offsets. What the file holds, and how long it is, does not change.
pub(crate) fn reserve(file: &File, from: u64, to: u64) -> io::Result<()> {
    use nix::fcntl::{FallocateFlags, fallocate};
    let offset = |n: u64| i64::try_from(n).map_err(|_| io::ErrorKind::FileTooLarge);
    Ok(fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset(from)?, offset(to - from)?)?)
}

/// Bytes that are free on the disk of a path; none where that is not known.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    nix::sys::statvfs::statvfs(path).ok().map(|s| s.blocks_available() * s.fragment_size())
}

/// Whether the file is a program.
pub(crate) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
