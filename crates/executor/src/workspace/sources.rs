//! Reads a working tree: what git lists, and the repositories in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::git::{self, Git, Unlisted};
use super::left::Left;
use super::names::GIT;
use super::repository;
use super::stream::Source;
use super::tree::Tree;
use super::walk;

/// Files in which git keeps passwords when it is told to, at the end of their paths.
const CREDENTIALS: &[&str] = &[".git-credentials", ".config/git/credentials"];
/// What holds where git lists nothing.
const BY_PATTERNS: &str = "patterns of .gitignore decide what is sent, and tracked files that they name are missing";

/// Looks at the tree below `root`.
///
/// # Errors
/// When a directory cannot be read.
pub fn read(root: &Path) -> io::Result<Tree> {
    read_with(root, &Git::default())
}

/// Looks at a tree with the git that is given.
pub(super) fn read_with(root: &Path, git: &Git) -> io::Result<Tree> {
    let root = root.canonicalize()?;
    let folders = BTreeMap::from([(PathBuf::new(), true)]);
    let (tree, repositories, unlisted) = (Tree::default(), Vec::new(), BTreeSet::new());
    let mut sources = Sources { root: &root, git, tree, folders, repositories, unlisted };
    sources.top()?;
    let Sources { mut tree, folders, repositories, unlisted, .. } = sources;
    tree.notes.extend(unlisted.iter().map(|why| format!("{why}: {BY_PATTERNS}")));
    for git in &repositories {
        repository::add(git, &root, &mut tree)?;
    }
    for name in std::mem::take(&mut tree.private) {
        tree.entries.remove(&name);
        tree.left_out.insert(name, BTreeSet::new());
    }
    let sent = folders.iter().filter(|(_, sent)| **sent).map(|(folder, _)| folder);
    tree.left = Left::find(&root, sent, |name| tree.entries.contains_key(name) || tree.left_out.contains_key(name));
    Ok(tree)
}

/// A tree while it is looked at.
struct Sources<'a> {
    root: &'a Path,
    git: &'a Git,
    tree: Tree,
    /// Folders by name, with whether files of theirs are added: in the place of one that git lists there may be a link by now, and a
    /// bare repository is added as a whole.
    folders: BTreeMap<PathBuf, bool>,
    /// The `.git` of each repository, and bare repositories.
    repositories: Vec<PathBuf>,
    /// Why git lists some of the folders not.
    unlisted: BTreeSet<Unlisted>,
}

impl Sources<'_> {
    /// Adds the whole tree.
    fn top(&mut self) -> io::Result<()> {
        let root = self.root;
        match git::top(root) {
            Some(top) if top == root => self.repository(root),
            // Somebody who names a folder that the repository around it ignores means what is in it.
            Some(top) if !self.git.ignores(top, root.strip_prefix(top).unwrap_or(root)) => {
                let whole = top.display();
                self.tree.notes.push(format!(
                    "git does not work in the copy, because only a part of the repository {whole} is sent"
                ));
                self.listed(root, Some(top))
            }
            _ => self.walked(root, None),
        }
    }

    /// Adds a working tree with its repository.
    fn repository(&mut self, dir: &Path) -> io::Result<()> {
        self.repositories.push(dir.join(GIT));
        self.listed(dir, Some(dir))
    }

    /// Adds a folder as git lists it, and else by its patterns.
    fn listed(&mut self, dir: &Path, top: Option<&Path>) -> io::Result<()> {
        let listing = match self.git.list(dir) {
            Ok(listing) => listing,
            Err(why) => {
                // A repository that is not there has no tracked files either, and is told of by itself.
                if !repository::leads_nowhere(&dir.join(GIT)) {
                    self.unlisted.insert(why);
                }
                return self.walked(dir, top);
            }
        };
        self.tree.notes.extend(listing.warning.map(|warning| format!("git lists not all files: {warning}")));
        for file in listing.files {
            self.add(&dir.join(file));
        }
        for place in listing.repositories {
            let path = dir.join(place);
            if self.name(&path).is_none_or(|name| !self.folder(&name)) {
                continue;
            }
            match path.join(GIT).symlink_metadata() {
                Ok(_) => self.repository(&path)?,
                // A submodule's place, which is empty or was filled by other means.
                Err(_) => self.walked(&path, None)?,
            }
        }
        Ok(())
    }

    /// Adds a folder without asking git.
    fn walked(&mut self, dir: &Path, top: Option<&Path>) -> io::Result<()> {
        let found = walk::walk(dir, top)?;
        for folder in found.folders {
            if let Some(name) = self.name(&folder) {
                self.folder(&name);
            }
        }
        for file in found.files {
            self.add(&file);
        }
        for nested in found.repositories {
            if self.name(&nested).is_some_and(|name| self.folder(&name)) {
                self.repository(&nested)?;
            }
        }
        Ok(())
    }

    /// Adds a file, and the folders that it lies in.
    fn add(&mut self, path: &Path) {
        let Some(name) = self.name(path) else { return };
        if CREDENTIALS.iter().any(|end| name.ends_with(end)) {
            self.tree.leave_out(&name, None);
        } else if name.parent().is_none_or(|folder| self.folder(folder)) {
            self.tree.entries.insert(name, Source::Disk(path.to_owned()));
        }
    }

    /// Adds a folder and those above it, and returns whether files of it are to be added.
    fn folder(&mut self, name: &Path) -> bool {
        if let Some(known) = self.folders.get(name) {
            return *known;
        }
        let path = self.root.join(name);
        let mut open = name.parent().is_none_or(|above| self.folder(above))
            && path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if open && repository::is_bare(&path) {
            self.repositories.push(path);
            open = false;
        } else if open {
            self.tree.entries.insert(name.to_owned(), Source::Disk(path));
        }
        self.folders.insert(name.to_owned(), open);
        open
    }

    fn name(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(self.root).ok().map(Path::to_owned)
    }
}
