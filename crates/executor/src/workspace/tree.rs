//! What of the working tree is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use ignore::WalkBuilder;

use super::repository::{self, GIT};
use super::stream::{self, Entries, Source};

/// Where git keeps passwords when it is told to keep them in a file.
const CREDENTIALS: &str = ".git-credentials";

/// A working tree, ready to be sent.
#[derive(Debug, Default)]
pub struct Tree {
    pub(super) entries: Entries,
    /// What is not sent for its credentials, by the file it stands in. The whole file where there is nothing more to say.
    pub(super) left_out: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Files that hold credentials, wherever they lie.
    pub(super) private: BTreeSet<PathBuf>,
    /// Settings that were looked at already.
    pub(super) read: BTreeSet<PathBuf>,
    /// What else is not as it is here.
    pub(super) notes: Vec<String>,
}

impl Tree {
    /// Looks at the tree below `root`.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let mut tree = Self::default();
        let repositories = tree.walk(&root)?;
        for git in &repositories {
            repository::add(git, &root, &mut tree)?;
            // A repository's tracked files belong to it, also those that a pattern would ignore.
            for file in git.parent().map(tracked_and_ignored).unwrap_or_default() {
                tree.add_with_parents(&root, &file);
            }
        }
        for name in std::mem::take(&mut tree.private) {
            tree.entries.remove(&name);
            tree.leave_out(&name, None);
        }
        Ok(tree)
    }

    /// Adds what git does not ignore, and returns where repositories are.
    fn walk(&mut self, root: &Path) -> io::Result<Vec<PathBuf>> {
        let repositories = std::sync::Arc::new(Mutex::new(Vec::new()));
        let found = repositories.clone();
        let lock = |list: &Mutex<Vec<PathBuf>>, path: Option<PathBuf>| {
            let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
            list.extend(path);
            list.clone()
        };
        let mut walk = WalkBuilder::new(root);
        walk.hidden(false).ignore(false).git_global(false).require_git(false);
        walk.filter_entry(move |entry| {
            let git = entry.depth() > 0 && (entry.file_name() == GIT || repository::is_bare(entry.path()));
            if git {
                lock(&found, Some(entry.path().to_owned()));
            }
            !git
        });
        for entry in walk.build() {
            let entry = entry.map_err(io::Error::other)?;
            let Ok(name) = entry.path().strip_prefix(root) else { continue };
            if name.as_os_str().is_empty() {
                continue;
            }
            if entry.file_name() == CREDENTIALS {
                self.leave_out(name, None);
            } else if entry.file_type().is_some_and(|t| t.is_file() || t.is_dir() || t.is_symlink()) {
                self.entries.insert(name.to_owned(), Source::Disk(entry.path().to_owned()));
            }
        }
        // Whatever is ignored, the repository is not.
        let own = Some(root.join(GIT)).filter(|git| git.symlink_metadata().is_ok());
        let own = own.filter(|git| !lock(&repositories, None).contains(git));
        Ok(lock(&repositories, own))
    }

    fn add_with_parents(&mut self, root: &Path, file: &Path) {
        let Ok(name) = file.strip_prefix(root) else { return };
        for part in name.ancestors().filter(|part| !part.as_os_str().is_empty()) {
            let path = root.join(part);
            if path.symlink_metadata().is_ok() {
                self.entries.entry(part.to_owned()).or_insert(Source::Disk(path));
            }
        }
    }

    /// Records that something of a file is not sent; without a word, the whole file.
    pub(super) fn leave_out(&mut self, name: &Path, what: Option<String>) {
        self.left_out.entry(name.to_owned()).or_default().extend(what);
    }

    /// Returns what people should know of how the copy differs. No secret stands in it.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let parts: Vec<String> = self
            .left_out
            .iter()
            .map(|(file, what)| match what.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => file.display().to_string(),
                ref what => format!("in {}: {}", file.display(), what.join(", ")),
            })
            .collect();
        let credentials =
            (!parts.is_empty()).then(|| format!("credentials stay on this machine: {}", parts.join("; ")));
        credentials.into_iter().chain(self.notes.iter().cloned()).collect()
    }

    /// Packs the tree as tar, compressed with zstd.
    #[must_use]
    pub fn pack(self) -> BoxStream<'static, io::Result<Bytes>> {
        stream::pack(self.entries)
    }
}

/// Returns the files of a repository that are tracked although a pattern ignores them. Without git there are none.
fn tracked_and_ignored(dir: &Path) -> Vec<PathBuf> {
    let arguments = ["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(dir).args(arguments).stdin(Stdio::null()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return Vec::new() };
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| dir.join(path(name))).collect()
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
