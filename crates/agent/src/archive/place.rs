//! Where the files of an archive go: plain files in folders that are there already, which nearly all of them are.
//!
//! Those of one folder follow each other, so it is held open, and a file costs five calls of the system: to make it, write it, set its
//! time and its mode, and close it.

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use crate::os::folder::{self, Folder, There};

/// Bytes that are read and written at a time.
const PIECE_BYTES: usize = 128 * 1024;

/// The target of an archive.
#[derive(Debug)]
pub(super) struct Place {
    top: Folder,
    /// The folder of the last file below the top, by its path.
    last: Option<(PathBuf, Folder)>,
    piece: Vec<u8>,
}

impl Place {
    /// Unpacks into the directory at a path.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self { top: Folder::open(dir)?, last: None, piece: vec![0; PIECE_BYTES] })
    }

    /// Makes a plain file, and returns whether it did. It takes nothing of an entry of another kind, or whose folder is not there, or
    /// behind a link.
    pub(super) fn file<R: Read>(&mut self, path: &Path, entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
        let header = entry.header();
        // In archives of old a folder is a file with a slash at its end.
        if !header.entry_type().is_file() || entry.path_bytes().ends_with(b"/") {
            return Ok(false);
        }
        // Some tools take a file of the first second of 1970 for none. Times before are negative numbers.
        let written_s = header.mtime().ok().map(|seconds| seconds.max(1).cast_signed());
        let (mode, size) = (header.mode().ok(), entry.size());
        let Some(name) = path.file_name() else { return Ok(false) };
        let Some(folder) = self.folder(path.parent().unwrap_or(Path::new(""))) else { return Ok(false) };
        let mut file = folder.make(name)?;
        let piece = self.piece.as_mut_slice();
        let mut left = size;
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            entry.read_exact(&mut piece[..most])?;
            file.write_all(&piece[..most])?;
            left -= most as u64;
        }
        folder::finish(&file, written_s, mode)?;
        Ok(true)
    }

    /// Makes a folder that its owner alone can read, unless there is one, and returns whether the one that it lies in is there. It
    /// replaces a file or a link of that name.
    pub(super) fn folder_at(&mut self, path: &Path) -> io::Result<bool> {
        self.within(path, |folder, name| folder.make_folder(name))
    }

    /// Makes a link, and returns whether the folder that it lies in is there. It replaces a file or a link of that name.
    pub(super) fn link(&mut self, path: &Path, target: &Path) -> io::Result<bool> {
        self.within(path, |folder, name| folder.make_link(name, target))
    }

    /// Sets the permissions of a folder that was made.
    pub(super) fn set_mode(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        self.within(path, |folder, name| folder.set_mode(name, mode)).map(drop)
    }

    /// Returns what there is at a path, or none when the folder that it lies in is not there.
    pub(super) fn look(&mut self, path: &Path) -> io::Result<Option<There>> {
        let mut there = None;
        self.within(path, |folder, name| {
            there = Some(folder.look(name)?);
            Ok(())
        })?;
        Ok(there)
    }

    /// Gives something another name in the folder that it lies in.
    pub(super) fn rename(&mut self, path: &Path, to: &OsStr) -> io::Result<()> {
        self.within(path, |folder, name| folder.rename(name, to)).map(drop)
    }

    /// Does something in the folder that a path lies in, and returns whether that is there.
    fn within(&mut self, path: &Path, work: impl FnOnce(&Folder, &OsStr) -> io::Result<()>) -> io::Result<bool> {
        let Some(name) = path.file_name() else { return Ok(false) };
        let Some(folder) = self.folder(path.parent().unwrap_or(Path::new(""))) else { return Ok(false) };
        work(folder, name).map(|()| true)
    }

    /// Forgets folders, because something other than a plain file is made.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Returns a folder of the archive, if it is there and no link leads to it.
    fn folder(&mut self, path: &Path) -> Option<&Folder> {
        let known = matches!(&self.last, Some((last, _)) if last == path);
        if !known {
            let mut names = path.components().filter_map(|part| match part {
                Component::Normal(name) => Some(name),
                _ => None,
            });
            self.last = None;
            let Some(first) = names.next() else { return Some(&self.top) };
            let folder = self.top.folder(first).ok()?;
            let folder = names.try_fold(folder, |above, name| above.folder(name).ok())?;
            self.last = Some((path.to_owned(), folder));
        }
        self.last.as_ref().map(|(_, folder)| folder)
    }
}
