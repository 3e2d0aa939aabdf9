//! Reads a tree where git cannot be asked, or there is none: what no pattern of a `.gitignore` names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;

use super::git;
use super::names::GIT;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) folders: Vec<PathBuf>,
    /// Files and links.
    pub(super) files: Vec<PathBuf>,
    /// Folders that are working trees of their own. They are not looked into.
    pub(super) repositories: Vec<PathBuf>,
}

/// Looks at a folder. Patterns count from the top of its repository on, and those above it never do.
pub(super) fn walk(dir: &Path, top: Option<&Path>) -> io::Result<Found> {
    match top.filter(|top| *top != dir) {
        None => from(dir, dir).map(|(found, _)| found),
        Some(top) => match from(top, dir)? {
            (found, true) => Ok(found),
            // The folder itself is ignored, and was asked for nevertheless.
            (_, false) => from(dir, dir).map(|(found, _)| found),
        },
    }
}

/// Looks at a folder below `top`, and returns whether a pattern lets it be reached.
fn from(top: &Path, dir: &Path) -> io::Result<(Found, bool)> {
    let repositories = Arc::new(Mutex::new(Vec::new()));
    let seen = repositories.clone();
    let wanted = dir.to_owned();
    let mut walk = WalkBuilder::new(top);
    walk.hidden(false).ignore(false).git_global(false).require_git(false).parents(false);
    walk.filter_entry(move |entry| {
        let path = entry.path();
        if !path.starts_with(&wanted) {
            return wanted.starts_with(path);
        }
        let is_own = entry.file_name() == GIT;
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let nested = is_folder && !is_own && path != wanted && git::is_repository(&path.join(GIT));
        if nested {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        }
        !is_own && !nested
    });
    let mut found = Found::default();
    let mut reached = false;
    for entry in walk.build() {
        let entry = entry.map_err(io::Error::other)?;
        reached |= entry.path() == dir;
        let Some(kind) = entry.file_type().filter(|_| entry.path().starts_with(dir)) else { continue };
        if kind.is_dir() {
            found.folders.push(entry.into_path());
        } else if kind.is_file() || kind.is_symlink() {
            found.files.push(entry.into_path());
        }
    }
    found.repositories = std::mem::take(&mut *repositories.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((found, reached))
}
