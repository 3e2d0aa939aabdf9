//! Reads a working tree: what git does not ignore, and the repositories in it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;

use super::repository::{self, GIT};
use super::stream::Source;
use super::tree::Tree;

/// Files in which git keeps passwords when it is told to, at the end of their paths.
const CREDENTIALS: &[&str] = &[".git-credentials", ".config/git/credentials"];

/// Looks at the tree below `root`.
///
/// # Errors
/// When a directory cannot be read.
pub fn read(root: &Path) -> io::Result<Tree> {
    let root = root.canonicalize()?;
    let mut tree = Tree::default();
    let repositories = walk(&root, &mut tree)?;
    for git in &repositories {
        repository::add(git, &root, &mut tree)?;
        // A repository's tracked files belong to it, also those that a pattern would ignore.
        for file in git.parent().map(tracked_and_ignored).unwrap_or_default() {
            add_with_parents(&root, &file, &mut tree);
        }
    }
    for name in std::mem::take(&mut tree.private) {
        tree.entries.remove(&name);
        tree.left_out.insert(name, BTreeSet::new());
    }
    Ok(tree)
}

/// Adds what git does not ignore, and returns where repositories are.
fn walk(root: &Path, tree: &mut Tree) -> io::Result<Vec<PathBuf>> {
    let repositories = Arc::new(Mutex::new(Vec::new()));
    let found = repositories.clone();
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).ignore(false).git_global(false).require_git(false);
    walk.filter_entry(move |entry| {
        let git = entry.depth() > 0 && (entry.file_name() == GIT || repository::is_bare(entry.path()));
        if git {
            found.lock().unwrap_or_else(PoisonError::into_inner).push(entry.path().to_owned());
        }
        !git
    });
    for entry in walk.build() {
        let entry = entry.map_err(io::Error::other)?;
        let Ok(name) = entry.path().strip_prefix(root) else { continue };
        if name.as_os_str().is_empty() {
            continue;
        }
        if CREDENTIALS.iter().any(|end| name.ends_with(end)) {
            tree.leave_out(name, None);
        } else if entry.file_type().is_some_and(|t| t.is_file() || t.is_dir() || t.is_symlink()) {
            tree.entries.insert(name.to_owned(), Source::Disk(entry.path().to_owned()));
        }
    }
    let mut found = std::mem::take(&mut *repositories.lock().unwrap_or_else(PoisonError::into_inner));
    // Whatever is ignored, the repository is not.
    let own = root.join(GIT);
    if own.symlink_metadata().is_ok() && !found.contains(&own) {
        found.push(own);
    }
    Ok(found)
}

/// Adds a file and the folders that it lies in.
fn add_with_parents(root: &Path, file: &Path, tree: &mut Tree) {
    let Ok(name) = file.strip_prefix(root) else { return };
    for part in name.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        let path = root.join(part);
        if path.symlink_metadata().is_ok() {
            tree.entries.entry(part.to_owned()).or_insert(Source::Disk(path));
        }
    }
}

/// Returns the files of a repository that are tracked although a pattern ignores them. Without git there are none.
fn tracked_and_ignored(dir: &Path) -> Vec<PathBuf> {
    // A repository of somebody else must not say what is run here.
    let arguments = ["-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--ignored", "--exclude-standard"];
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
