//! How git is asked: what it answers depends on the repository and its user's settings alone, and nothing that a repository names runs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use super::names::{GIT, shown};

/// Variables of git that say where its own files and the user's settings are. All others are about one repository or one command: a
/// hook, for one, runs with those of the repository that it belongs to.
const KEPT: &[&str] = &["GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];
/// Repositories of other users may be read, because nothing that they name is started: no monitor of files, and no transport.
const READING: &[&str] = &["-c", "safe.directory=*", "-c", "core.fsmonitor=false"];
/// The mode of a repository in the list of tracked files.
const GITLINK: &[u8] = b"160000 ";

/// The program.
#[derive(Debug, Clone)]
pub(super) struct Git {
    program: OsString,
}

/// What git lists of a folder. Names are relative to it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Tracked files, also those that are not there, and others that are not ignored.
    pub(super) files: Vec<PathBuf>,
    /// Folders that are repositories of their own, or places of submodules.
    pub(super) repositories: Vec<PathBuf>,
    /// What git could not look at, in its words.
    pub(super) warning: Option<String>,
}

/// Why git lists nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Unlisted {
    /// There is no such program.
    #[error("git is not installed")]
    Missing,
    /// It says this.
    #[error("git could not list the files of {dir} ({why})")]
    Refused {
        /// The folder.
        dir: String,
        /// The last line that it wrote.
        why: String,
    },
}

impl Default for Git {
    fn default() -> Self {
        Self { program: "git".into() }
    }
}

impl Git {
    /// Stands for a program of another name.
    #[cfg(test)]
    pub(super) fn named(program: impl Into<OsString>) -> Self {
        Self { program: program.into() }
    }

    /// Returns a command that reads the repository which holds `dir`.
    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("GIT_") && !KEPT.contains(&&*text) {
                command.env_remove(name);
            }
        }
        let quiet = [("GIT_OPTIONAL_LOCKS", "0"), ("GIT_NO_LAZY_FETCH", "1"), ("GIT_ALLOW_PROTOCOL", "none")];
        command.envs(quiet).env("LC_ALL", "C").arg("-C").arg(dir).args(READING).stdin(Stdio::null());
        command
    }

    fn output(&self, dir: &Path, args: &[&str]) -> Result<Output, Unlisted> {
        let refused = |why: &str| Unlisted::Refused { dir: shown(dir), why: why.to_owned() };
        let output = self.command(dir).args(args).output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unlisted::Missing,
            _ => refused(&error.to_string()),
        })?;
        let text = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(output),
            false => Err(refused(text.trim().lines().last().unwrap_or("it does not say why"))),
        }
    }

    /// Lists a folder of a working tree.
    ///
    /// # Errors
    /// Why git cannot.
    pub(super) fn list(&self, dir: &Path) -> Result<Listing, Unlisted> {
        let (tracked, others) = thread::scope(|scope| {
            // It goes through all folders, while the other one reads the index alone.
            let others = scope.spawn(|| self.output(dir, &["ls-files", "-z", "--others", "--exclude-standard"]));
            (self.output(dir, &["ls-files", "-z", "--stage"]), others.join())
        });
        let (tracked, others) = (tracked?, others.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        let mut listing = Listing::default();
        for line in names(&tracked.stdout) {
            // `100644 4b825dc6... 0`, a tab, and the name. A file in conflict has several lines.
            let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
            let list = match line.starts_with(GITLINK) {
                true => &mut listing.repositories,
                false => &mut listing.files,
            };
            list.push(path(&line[tab + 1..]).to_owned());
        }
        for name in names(&others.stdout) {
            match name.strip_suffix(b"/") {
                Some(repository) => listing.repositories.push(path(repository).to_owned()),
                None => listing.files.push(path(name).to_owned()),
            }
        }
        let said = String::from_utf8_lossy(&others.stderr);
        listing.warning = said.trim().lines().next().map(str::to_owned);
        Ok(listing)
    }

    /// Returns whether a folder below the top of a working tree is ignored, with all that is in it.
    pub(super) fn ignores(&self, top: &Path, name: &Path) -> bool {
        let mut command = self.command(top);
        // A name that begins with a colon would be taken for a pattern.
        command.args(["check-ignore", "--quiet", "--"]).arg(Path::new(".").join(name));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Returns a command of git that reads the repository which holds `dir`: whoever owns it, whatever the environment says of others.
#[must_use]
pub fn git(dir: &Path) -> Command {
    Git::default().command(dir)
}

/// Returns the top of the working tree that holds a folder, without asking git.
pub(super) fn top(dir: &Path) -> Option<&Path> {
    dir.ancestors().find(|dir| is_repository(&dir.join(GIT)))
}

/// Returns whether git takes it for a repository. It looks past a folder that has no `HEAD`.
pub(super) fn is_repository(git: &Path) -> bool {
    let Ok(found) = git.symlink_metadata() else { return false };
    !found.is_dir() || fs::symlink_metadata(git.join("HEAD")).is_ok()
}

fn names(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output.split(|byte| *byte == 0).filter(|name| !name.is_empty())
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
