//! What an archive changed, so that it can be undone when the archive turns out to be broken.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::place::Place;

/// Changes that can be undone. What is within a folder that was made does not count. Further ones stay.
const MOST: usize = 100_000;
/// How the names begin of what was set aside. A number follows.
const ASIDE: &str = ".kiln-aside-";

/// What was made, and what was replaced.
#[derive(Default)]
pub(super) struct Changes(Vec<Change>);

enum Change {
    /// Something that was not there before.
    Made(PathBuf),
    /// Something that was there before, and has another name now.
    SetAside { path: PathBuf, aside: PathBuf },
}

impl Changes {
    /// Notes something that is not there, and is about to be made.
    pub(super) fn made(&mut self, path: &Path) {
        let is_within = matches!(self.0.last(), Some(Change::Made(made)) if path.starts_with(made));
        if !is_within && self.0.len() < MOST {
            self.0.push(Change::Made(path.to_owned()));
        }
    }

    /// Sets a file or a link aside that is about to be replaced: `below` in a place, which is `path`.
    ///
    /// # Errors
    /// When it cannot have another name.
    pub(super) fn set_aside(&mut self, place: &mut Place, below: &Path, path: &Path) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if self.0.len() >= MOST {
            return Ok(());
        }
        let name = OsString::from(format!("{ASIDE}{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        place.rename(below, &name)?;
        self.0.push(Change::SetAside { path: path.to_owned(), aside: path.with_file_name(name) });
        Ok(())
    }

    /// Removes what was set aside.
    pub(super) fn keep(self) {
        for change in self.0 {
            if let Change::SetAside { path: _, aside } = change {
                told(&aside, fs::remove_file(&aside));
            }
        }
    }

    /// Makes everything as it was before, the latest change first.
    pub(super) fn undo(self) {
        for change in self.0.into_iter().rev() {
            match change {
                Change::Made(path) => told(&path, remove(&path)),
                Change::SetAside { path, aside } => {
                    told(&path, remove(&path).and_then(|()| fs::rename(&aside, &path)));
                }
            }
        }
    }
}

/// Removes what is at a path, if there is anything.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn told(path: &Path, done: io::Result<()>) {
    if let Err(error) = done {
        tracing::warn!(path = %path.display(), %error, "a part of a cache is not as it should be");
    }
}
