//! Files: who may read them, and how they are read and written in place.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
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

/// Reads a file of the system. What in it is no UTF-8, as a name in an older encoding, becomes a mark and spoils nothing else.
pub(super) fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned())
}

/// Sets the permissions, as chmod(1) takes them.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
}

/// Reads up to `most` bytes from an offset, as much as memory holds of the file, without a wait for the disk; none where the kernel
/// cannot tell, or memory holds nothing of it.
#[cfg(target_env = "gnu")]
pub(crate) fn read_held_at(file: &File, most: usize, offset: u64) -> Option<Vec<u8>> {
    use nix::libc::{EOPNOTSUPP, RWF_NOWAIT};
    match read_some_at(file, most, offset, RWF_NOWAIT) {
        // A file system that is nothing but memory does not say that it is.
        Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) && is_in_memory(file) => {
            read_some_at(file, most, offset, 0).ok()
        }
        read => read.ok(),
    }
    .filter(|read| !read.is_empty())
}

#[allow(unsafe_code)]
#[cfg(target_env = "gnu")]
fn read_some_at(file: &File, most: usize, offset: u64, flags: i32) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd as _;
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    let mut out = Vec::<u8>::with_capacity(most);
    let part = nix::libc::iovec { iov_base: out.as_mut_ptr().cast(), iov_len: most };
    // SAFETY: the descriptor is open, and the one part is within the memory of `out`.
    let read = unsafe { nix::libc::preadv2(file.as_raw_fd(), &raw const part, 1, offset, flags) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the call has written so many bytes, which is at most what it was given.
    unsafe { out.set_len(read) };
    Ok(out)
}

#[cfg(target_env = "gnu")]
fn is_in_memory(file: &File) -> bool {
    use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
    fstatfs(file).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC)
}

/// As above; this C library does not have the call.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn read_held_at(_file: &File, _most: usize, _offset: u64) -> Option<Vec<u8>> {
    None
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

/// Whether it is a device, not a file or folder.
pub(crate) fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.metadata().is_ok_and(|meta| meta.file_type().is_char_device() || meta.file_type().is_block_device())
}

/// What tells a file, and what is in it, from what it may be made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which file of which disk.
    file: (u64, u64),
    /// Its size in bytes.
    pub(crate) len: u64,
    /// When it was last written.
    written: (i64, i64),
}

impl Stamp {
    /// That of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// That of what is at a path; a link is not followed.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::symlink_metadata(path)?))
    }

    /// Whether both are of the same file, whatever is in it.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(meta: &fs::Metadata) -> Self {
        Self { file: (meta.dev(), meta.ino()), len: meta.len(), written: (meta.mtime(), meta.mtime_nsec()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_their_owners_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        create_private(&path).expect("a file");
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, PRIVATE);
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn what_memory_holds_is_read_without_a_wait() {
        // A disk whose file system cannot tell what memory holds gives nothing; one that is memory gives all.
        let dirs = [(Path::new("/dev/shm"), true), (&std::env::temp_dir(), false)];
        for (dir, always) in dirs.into_iter().filter(|(dir, _)| dir.is_dir()) {
            let path = tempfile::NamedTempFile::new_in(dir).expect("a file");
            fs::write(&path, "0123456789").expect("a file");
            let file = File::open(&path).expect("a file");
            let held = read_held_at(&file, 4, 3);
            assert!(held.as_deref() == Some(b"3456") || (held.is_none() && !always), "{held:?} in {}", dir.display());
            assert_eq!(read_held_at(&file, 4, 10), None, "the end");
        }
    }

    #[test]
    fn reserved_room_is_no_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = create_private(&dir.path().join("file")).expect("a file");
        // Some file systems of containers cannot; they say so.
        if reserve(&file, 0, 1 << 20).is_ok() {
            let meta = file.metadata().expect("a file");
            assert!(meta.len() == 0 && meta.blocks() >= 2048, "{} bytes, {} blocks", meta.len(), meta.blocks());
        }
    }
}
