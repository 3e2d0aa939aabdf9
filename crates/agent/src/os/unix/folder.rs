//! Folders that are held open, and files that are made in them: nobody can put a link in the place of what is above such a file.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

/// Of files while they are written.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
/// Flags that open a folder and nothing else, also one that may not be read.
const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// Flags that make a new file, and fail where there is one.
const NEW: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_CLOEXEC);

/// What there is of a name. A link is no folder, wherever it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    Folder,
    Other,
}

/// A folder that is held open.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder at a path.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, FOLDER, Mode::empty())?))
    }

    /// Opens a folder in this one. A link to one is none.
    pub(crate) fn folder(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty())?))
    }

    /// Opens a folder in this one, and makes it if it is not there, open to all to look at. A link to one is none.
    pub(crate) fn open_or_make(&self, name: &OsStr) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => self.folder(name),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file, which its owner alone can read. It replaces a file or a link of that name.
    pub(crate) fn make(&self, name: &OsStr) -> io::Result<File> {
        let new = || openat(&self.0, name, NEW, PRIVATE);
        let made = new().or_else(|error| match error {
            Errno::EEXIST => unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir).and_then(|()| new()),
            other => Err(other),
        });
        Ok(File::from(made?))
    }

    /// Makes a folder that its owner alone can read, unless there is one. It replaces a file or a link of that name.
    pub(crate) fn make_folder(&self, name: &OsStr) -> io::Result<()> {
        let new = || mkdirat(&self.0, name, Mode::S_IRWXU);
        match new() {
            Err(Errno::EEXIST) if self.folder(name).is_ok() => Ok(()),
            Err(Errno::EEXIST) => Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir).and_then(|()| new())?),
            made => Ok(made?),
        }
    }

    /// Makes a symbolic link. It replaces a file or a link of that name.
    pub(crate) fn make_link(&self, name: &OsStr, target: &Path) -> io::Result<()> {
        let new = || symlinkat(target, &self.0, name);
        match new() {
            Err(Errno::EEXIST) => Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir).and_then(|()| new())?),
            made => Ok(made?),
        }
    }

    /// Sets the permissions of a folder in this one.
    pub(crate) fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode & 0o7777);
        Ok(fchmodat(&self.0, name, mode, FchmodatFlags::FollowSymlink)?)
    }

    /// Returns what there is of a name.
    pub(crate) fn look(&self, name: &OsStr) -> io::Result<There> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if SFlag::from_bits_truncate(stat.st_mode).intersection(SFlag::S_IFMT) == SFlag::S_IFDIR => {
                Ok(There::Folder)
            }
            Ok(_) => Ok(There::Other),
            Err(Errno::ENOENT) => Ok(There::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives something in this folder another name, in the place of what has that name.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }
}

/// Sets when a file was written, in seconds since 1970, and its permissions as chmod(1) takes them.
pub(crate) fn finish(file: &File, written_s: Option<i64>, mode: Option<u32>) -> io::Result<()> {
    if let Some(written) = written_s.map(|seconds| TimeSpec::new(seconds, 0)) {
        futimens(file, &written, &written)?;
    }
    mode.map_or(Ok(()), |mode| file.set_permissions(Permissions::from_mode(mode & 0o7777)))
}
