//! What a self-test makes, and takes away again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::spool::Spool;

/// A folder that is removed with this, and all in it.
pub(super) struct Folder(pub(super) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "the folder of a self-test stays");
        }
    }
}

/// A spool that is removed with this.
pub(super) struct Kept(pub(super) Arc<Spool>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// Directories that are not there. Those that are by then are removed with this, unless something lies in them.
pub(super) struct Missing(Vec<PathBuf>);

impl Missing {
    /// Those of these directories, and of the ones above them.
    pub(super) fn of<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        let missing =
            dirs.into_iter().flat_map(Path::ancestors).filter(|dir| !dir.as_os_str().is_empty() && !dir.exists());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        // What lies within another goes before it.
        missing.sort_by_key(|dir| std::cmp::Reverse(dir.components().count()));
        Self(missing)
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        for dir in &self.0 {
            // Most were never made, and one in which something lies by now is not ours to remove.
            let _ = std::fs::remove_dir(dir);
        }
    }
}
