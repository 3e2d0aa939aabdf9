//! What of a repository is sent: all that git needs in the copy, without credentials.
//!
//! A `.git` that is a file or a link leads to where the repository really is: of a submodule below the tree, of a worktree outside of
//! it. What is outside is put into the copy as a plain `.git` folder, so that git works there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::names::GIT;
use super::objects;
use super::settings::{self, Place, Sent};
use super::stream::Source;
use super::tree::Tree;
use super::url::without_credentials;

/// A repository's settings, and those of one worktree.
const SETTINGS: &[&str] = &["config", "config.worktree"];
/// Beginnings of names that copies of the settings, and files of credentials, have.
const PRIVATE: &[&str] = &["config", ".config", "credentials", ".credentials", "git-credentials", ".git-credentials"];
/// What a worktree has of its own, and so is not taken from the repository that it shares. So are its references and texts, whose names
/// are in capitals.
const OWN: &[&str] = &["index", "config.worktree", "modules", "worktrees", "rebase-merge", "rebase-apply", "sequencer"];
/// The same, further below.
const OWN_BELOW: &[&str] = &["logs/HEAD", "refs/bisect", "refs/rewritten", "refs/worktree", "info/sparse-checkout"];
/// Where references are that a worktree and its repository keep in one table each.
const REFTABLE: &str = "reftable";
/// What says where a worktree's parts are on this machine.
const LINKS: &[&str] = &["commondir", "gitdir", "locked"];
/// Folders that hold data, in which any name may occur.
const DATA: &[&str] = &["objects", "refs", "hooks", "info"];
/// The folder of the logs of what references were, with the URLs that were fetched from.
const LOGS: &str = "logs";
/// Folders into whose files git writes URLs: the logs, and what stood in place of settings once.
const WITH_URLS: &[&str] = &[LOGS, "remotes", "branches"];
/// Files beside the settings into which git writes none. Into others it may, as into `FETCH_HEAD` or the message of a merge.
const WITHOUT_URLS: &[&str] = &["HEAD", "index", "packed-refs", "shallow", "sharedindex"];
/// Greatest size of a file in which URLs are looked for, in bytes. A larger one is not sent.
const TEXT_MAX_BYTES: u64 = 64 << 20;
/// The folder of objects.
const OBJECTS: &str = "objects";
/// The settings of a repository whose own could not be read.
const PLAIN: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";
/// The settings of every copy: its files have the times and sizes that the index knows, and only these. Without them each file would
/// count as changed until git has read all of them.
const COPIED: &str = "[core]\n\tcheckStat = minimal\n\ttrustctime = false\n";

/// Returns whether a folder of the sources is a bare repository.
pub(super) fn is_bare(dir: &Path) -> bool {
    dir.extension().is_some_and(|end| end == "git") && dir.join("HEAD").is_file() && dir.join("objects").is_dir()
}

/// Adds the repository whose `.git` is at `git`.
pub(super) fn add(git: &Path, root: &Path, tree: &mut Tree) -> io::Result<()> {
    let name = git.strip_prefix(root).unwrap_or(git);
    let found = git.symlink_metadata()?;
    if found.is_dir() {
        // A bare repository may be one of the sources, and be tracked.
        let tracked = git.file_name().is_some_and(|file| file != GIT);
        return Copy { root, tree, moved: false, tracked, skip: Skip::Nothing }.folder(git, name);
    }
    let Some(target) = target(git) else {
        tree.notes.push(format!("git does not work in the copy: {} leads nowhere", name.display()));
        tree.entries.insert(name.to_owned(), Source::Disk(git.to_owned()));
        return Ok(());
    };
    if target.starts_with(root) {
        tree.entries.insert(name.to_owned(), within(git, &target, root));
        return Ok(());
    }
    if let Some(common) = common(&target) {
        if target.join(REFTABLE).exists() {
            tree.notes.push(format!(
                "git does not know the branches in the copy, because {} keeps references in tables",
                name.display()
            ));
        }
        Copy { root, tree, moved: true, tracked: false, skip: Skip::Own }.folder(&common, name)?;
        let own: Vec<PathBuf> = OWN_BELOW.iter().map(|own| name.join(own)).collect();
        tree.entries.retain(|name, _| !own.iter().any(|own| name.starts_with(own)));
    }
    Copy { root, tree, moved: true, tracked: false, skip: Skip::Links }.folder(&target, name)
}

/// Returns whether it is a file or a link to a repository that is not there.
pub(super) fn leads_nowhere(git: &Path) -> bool {
    git.symlink_metadata().is_ok_and(|found| !found.is_dir()) && target(git).is_none()
}

/// Returns the folder that a `.git` file or link leads to.
fn target(git: &Path) -> Option<PathBuf> {
    let target = match git.symlink_metadata().ok()?.is_symlink() && git.is_dir() {
        true => git.to_owned(),
        false => git.parent()?.join(fs::read_to_string(git).ok()?.strip_prefix("gitdir:")?.trim()),
    };
    target.canonicalize().ok().filter(|target| target.join("HEAD").is_file())
}

/// Returns the repository that a worktree shares with others.
fn common(own: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(own.join("commondir")).ok()?;
    own.join(text.trim()).canonicalize().ok()
}

/// Returns a `.git` file that leads to the same place in the copy.
fn within(git: &Path, target: &Path, root: &Path) -> Source {
    let (Some(dir), Ok(target)) = (git.parent(), target.strip_prefix(root)) else {
        return Source::Disk(git.to_owned());
    };
    let depth = dir.strip_prefix(root).map_or(0, |dir| dir.components().count());
    let path: PathBuf = std::iter::repeat_n(Path::new(".."), depth).chain([target]).collect();
    Source::Text { bytes: format!("gitdir: {}\n", path.display()).into_bytes(), like: git.to_owned() }
}

/// Takes it that a file was removed for no failure: git tidies up while its repository is read.
fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Copies the folders of one repository.
struct Copy<'a> {
    root: &'a Path,
    tree: &'a mut Tree,
    /// Whether the repository lies elsewhere in the copy.
    moved: bool,
    /// Whether its files stay as they are where there is nothing to leave out.
    tracked: bool,
    /// What at its top is not sent.
    skip: Skip,
}

/// What at the top of a repository is not sent.
#[derive(Debug, Clone, Copy)]
enum Skip {
    Nothing,
    /// What a worktree has of its own.
    Own,
    /// What says where a worktree's parts are.
    Links,
}

impl Skip {
    fn has(self, file: &str) -> bool {
        let is_reference = file.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        match self {
            Self::Nothing => false,
            Self::Own => is_reference || OWN.contains(&file) || file.starts_with("sharedindex."),
            Self::Links => LINKS.contains(&file),
        }
    }
}

impl Copy<'_> {
    /// Adds a repository's folder.
    fn folder(&mut self, dir: &Path, name: &Path) -> io::Result<()> {
        self.tree.entries.insert(name.to_owned(), Source::Disk(dir.to_owned()));
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, file) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let (name, kind) = (name.join(entry.file_name()), entry.file_type()?);
            if self.skip.has(&file) || file.ends_with(".lock") {
                continue;
            }
            if path.is_file() && SETTINGS.contains(&file.as_str()) {
                self.settings(&path, &name, if file == SETTINGS[0] { COPIED } else { "" })?;
            } else if self.tree.read.contains(&name) {
                // It is included, and was added for that.
            } else if !kind.is_dir() && PRIVATE.iter().any(|start| file.starts_with(start)) {
                self.tree.leave_out(&name, None);
            } else if kind.is_dir() && !DATA.contains(&file.as_str()) && path.join("HEAD").is_file() && file != LOGS {
                Copy {
                    root: self.root,
                    tree: &mut *self.tree,
                    moved: false,
                    tracked: self.tracked,
                    skip: Skip::Nothing,
                }
                .folder(&path, &name)?;
            } else if kind.is_dir() && ["modules", "worktrees"].contains(&file.as_str()) {
                self.repositories(&path, &name)?;
            } else {
                let with_urls = match kind.is_dir() {
                    true => WITH_URLS.contains(&file.as_str()),
                    false => !WITHOUT_URLS.iter().any(|start| file.starts_with(start)),
                };
                unless_gone(self.data(&path, &name, with_urls))?;
            }
            if file == OBJECTS && !self.tracked {
                objects::borrow(&path, &name, self.tree)?;
            }
        }
        Ok(())
    }

    /// Adds a folder of repositories. The names of submodules have slashes.
    fn repositories(&mut self, dir: &Path, name: &Path) -> io::Result<()> {
        self.tree.entries.insert(name.to_owned(), Source::Disk(dir.to_owned()));
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            if !entry.file_type()?.is_dir() {
                unless_gone(self.data(&path, &name, false))?;
            } else if path.join("HEAD").is_file() {
                Copy {
                    root: self.root,
                    tree: &mut *self.tree,
                    moved: false,
                    tracked: self.tracked,
                    skip: Skip::Nothing,
                }
                .folder(&path, &name)?;
            } else {
                self.repositories(&path, &name)?;
            }
        }
        Ok(())
    }

    /// Adds a file or a folder as it is, but for the credentials in the URLs of its text.
    fn data(&mut self, path: &Path, name: &Path, with_urls: bool) -> io::Result<()> {
        let found = path.symlink_metadata()?;
        let kind = found.file_type();
        let mut source = Source::Disk(path.to_owned());
        if kind.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                unless_gone(self.data(&entry.path(), &name.join(entry.file_name()), with_urls))?;
            }
        } else if kind.is_file() && with_urls && found.len() > TEXT_MAX_BYTES {
            self.tree.leave_out(name, None);
            return Ok(());
        } else if kind.is_file() && with_urls {
            // Names of people in other encodings stay as they are where there is nothing to leave out.
            if let Some(text) = without_credentials(&String::from_utf8_lossy(&fs::read(path)?)) {
                self.tree.leave_out(name, Some("names and passwords in URLs".to_owned()));
                source = Source::Text { bytes: text.into_bytes(), like: path.to_owned() };
            }
        } else if !kind.is_file() && !kind.is_symlink() {
            return Ok(());
        }
        self.tree.entries.insert(name.to_owned(), source);
        Ok(())
    }

    /// Adds settings, with more of them behind, and what they lead to.
    fn settings(&mut self, file: &Path, name: &Path, more: &str) -> io::Result<()> {
        self.tree.read.insert(name.to_owned());
        let place = Place { file, root: self.root, moved: self.moved };
        let sent = match settings::read(&place) {
            Ok(sent) => sent,
            Err(error) => {
                self.tree.notes.push(format!("{} is not sent, because git could not read it: {error}", name.display()));
                Sent { text: PLAIN.to_owned(), ..Sent::default() }
            }
        };
        let Sent { text, left_out, included, stores } = sent;
        let source = match self.tracked && left_out.is_empty() {
            true => Source::Disk(file.to_owned()),
            false => Source::Text { bytes: (text + more).into_bytes(), like: file.to_owned() },
        };
        self.tree.entries.insert(name.to_owned(), source);
        left_out.into_iter().for_each(|what| self.tree.leave_out(name, Some(what)));
        for store in stores {
            self.tree.private.insert(store.strip_prefix(self.root).unwrap_or(&store).to_owned());
        }
        // A link leads to a file that may be among the sources.
        let linked = file.is_symlink().then(|| file.canonicalize()).transpose()?;
        let linked = linked.filter(|target| target.starts_with(self.root));
        for file in included.into_iter().chain(linked) {
            self.included(&file)?;
        }
        Ok(())
    }

    /// Adds settings that others include. A file of the sources stays as it is where there is nothing to leave out, because it may be
    /// tracked.
    fn included(&mut self, file: &Path) -> io::Result<()> {
        let name = file.strip_prefix(self.root).unwrap_or(file).to_owned();
        if !self.tree.read.insert(name.clone()) {
            return Ok(());
        }
        let of_git = name.components().any(|part| part.as_os_str() == GIT);
        if of_git || self.tree.entries.contains_key(&name) {
            Copy { root: self.root, tree: &mut *self.tree, moved: false, tracked: !of_git, skip: Skip::Nothing }
                .settings(file, &name, "")?;
        }
        Ok(())
    }
}
