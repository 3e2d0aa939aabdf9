//! Goes through the files that a root covers.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::roots::Root;

/// Depth of folders below a root.
const MOST_DEPTH: usize = 256;

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Link,
}

/// What is said of each: its path, the part of it below the root's folder, and what it is. A folder comes before what is in it. One that
/// only leads to what is covered comes as well.
pub(super) type Visit<'v> = dyn FnMut(&Path, &Path, Kind) -> io::Result<ControlFlow<()>> + 'v;

/// Goes through a root until the visitor has enough.
///
/// # Errors
/// Those of the visitor, and that a folder cannot be read.
pub(super) fn walk(root: &Root, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut walk = Walk { root, names: Vec::new(), told: 0, visit };
    walk.folder(false).map(drop)
}

struct Walk<'w, 'v> {
    root: &'w Root,
    /// The names of the present folder below the root's.
    names: Vec<String>,
    /// How many of them were told already.
    told: usize,
    visit: &'w mut Visit<'v>,
}

impl Walk<'_, '_> {
    /// Goes through the present folder, of which everything is covered, or not.
    fn folder(&mut self, all: bool) -> io::Result<ControlFlow<()>> {
        let dir = self.names.iter().fold(self.root.dir.clone(), |dir, name| dir.join(name));
        if self.names.len() > MOST_DEPTH {
            return Err(io::Error::other(format!("{} is more than {MOST_DEPTH} folders deep", dir.display())));
        }
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) || !all => return Ok(ControlFlow::Continue(())),
            Err(error) => return Err(at(&dir, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| at(&dir, &error))?;
            let Ok(kind) = entry.file_type() else { continue };
            let kind = match () {
                () if kind.is_dir() => Kind::Folder,
                () if kind.is_file() => Kind::File,
                () if kind.is_symlink() => Kind::Link,
                // A socket, a pipe or a device holds nothing.
                () => continue,
            };
            let Ok(name) = entry.file_name().into_string() else {
                let name = entry.path();
                return Err(io::Error::other(format!("the name of {} is not UTF-8", name.display())));
            };
            self.names.push(name);
            let enough = self.entry(&entry.path(), kind, all)?.is_break();
            self.names.pop();
            self.told = self.told.min(self.names.len());
            if enough {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn entry(&mut self, path: &Path, kind: Kind, all: bool) -> io::Result<ControlFlow<()>> {
        let is_covered = all || self.root.covers(self.names.iter().map(String::as_str));
        if is_covered && self.tell(path, kind)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let may_hold = is_covered || self.root.may_lie_below(self.names.iter().map(String::as_str));
        match kind {
            Kind::Folder if may_hold => self.folder(is_covered),
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    /// Tells of an entry, and of the folders that lead to it before.
    fn tell(&mut self, path: &Path, kind: Kind) -> io::Result<ControlFlow<()>> {
        while self.told + 1 < self.names.len() {
            self.told += 1;
            let below: std::path::PathBuf = self.names[..self.told].iter().collect();
            if (self.visit)(&self.root.dir.join(&below), &below, Kind::Folder)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.told = self.names.len();
        let below: std::path::PathBuf = self.names.iter().collect();
        (self.visit)(path, &below, kind)
    }
}

/// Whether something was removed since it was listed, or is not a folder any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Names the path in an error.
pub(super) fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
