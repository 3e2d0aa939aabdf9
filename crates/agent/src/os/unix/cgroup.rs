//! One cgroup (version 2) per step, where the agent may make them: the one way that no process can leave.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::files::read_text;
use super::oom;

/// The directory under which the cgroups of this agent's steps are made.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    dir: PathBuf,
}

/// The cgroup of a step.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    dir: PathBuf,
    /// Whether it stays when it is empty.
    keep: bool,
}

impl Parent {
    /// Finds the hierarchy and makes a directory of this name; none where that is not allowed.
    pub(super) fn create(name: &str) -> Option<Self> {
        // Whoever mounts something may give its place any name.
        let mounts = read_text("/proc/self/mountinfo").ok()?;
        let own = read_text("/proc/self/cgroup").unwrap_or_default();
        let mount = mounts.lines().find_map(mount_point)?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
        // The top is tried first: below it a controller can be switched on, because no process lives in our
        // directory. Beside our own place that works only when it was delegated to us.
        let tried = [mount.join("kiln"), mount.join(own).join("kiln")].into_iter();
        tried.map(|top| top.join(name)).find_map(|dir| Self::at(dir).ok())
    }

    fn at(dir: PathBuf) -> io::Result<Self> {
        if let Some(top) = dir.parent() {
            // What agents left that could not tidy up themselves; those in use cannot be removed.
            subdirs(top).iter().for_each(|left| remove(left));
        }
        fs::create_dir_all(&dir)?;
        if !dir.join("cgroup.kill").exists() {
            // The kernel is older than 5.14.
            remove(&dir);
            return Err(io::ErrorKind::Unsupported.into());
        }
        for dir in [dir.parent(), Some(dir.as_path())].into_iter().flatten() {
            // Counting memory is an extra: it tells an out-of-memory end from another kill.
            drop(fs::write(dir.join("cgroup.subtree_control"), "+memory"));
        }
        Ok(Self { dir })
    }

    /// Makes the cgroup of a step.
    pub(super) fn child(&self, name: &str) -> Option<Cgroup> {
        let dir = self.dir.join(name);
        // With its parents: an empty one may have been tidied away by another agent that started.
        match fs::create_dir_all(&dir) {
            Ok(()) => Some(Cgroup { dir, keep: false }),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "no cgroup for this step");
                None
            }
        }
    }

    /// All of them as one.
    pub(super) fn whole(&self) -> Cgroup {
        Cgroup { dir: self.dir.clone(), keep: true }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

impl Cgroup {
    /// Its directory, which a process can be started in.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.dir)
    }

    /// The file that a process enters the cgroup through.
    pub(super) fn procs(&self) -> io::Result<File> {
        File::options().write(true).open(self.dir.join("cgroup.procs"))
    }

    /// Kills everything in it, at once and without a race with fork.
    pub(super) fn kill(&self) {
        // An agent that a step of an earlier one started is in it as well.
        if self.members().contains(&own_pid()) {
            return;
        }
        if let Err(error) = fs::write(self.dir.join("cgroup.kill"), "1") {
            tracing::debug!(dir = %self.dir.display(), %error, "cannot kill a cgroup");
        }
    }

    /// The processes in it and below it.
    pub(super) fn members(&self) -> Vec<i32> {
        let mut out = Vec::new();
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            out.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            dirs.extend(subdirs(&dir));
        }
        out
    }

    /// How many processes in it the kernel ended for lack of memory; none where that is not counted.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("memory.events")).ok()?;
        Some(oom::count(&text, "oom_kill"))
    }

    /// Removes what is empty of it.
    pub(super) fn remove(&self) {
        if self.keep { subdirs(&self.dir).iter().for_each(|dir| remove(dir)) } else { remove(&self.dir) }
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Removes a cgroup and those below it. One that still has processes stays: it is removed with its stage.
fn remove(dir: &Path) {
    for sub in subdirs(dir) {
        remove(&sub);
    }
    drop(fs::remove_dir(dir));
}

/// The mount point in a line of mountinfo, if it is one of a version 2 hierarchy.
fn mount_point(line: &str) -> Option<PathBuf> {
    let (front, back) = line.split_once(" - ")?;
    back.starts_with("cgroup2 ").then(|| front.split(' ').nth(4).map(PathBuf::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found() {
        let line = "31 24 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(mount_point(line), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw"), None);
    }
}
