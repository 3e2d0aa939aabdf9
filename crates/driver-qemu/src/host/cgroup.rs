//! Bounds on what a VM takes of the host, by a control group of version 2, where this process may make some.
//!
//! ```text
//! BASE/               the group above this process's, or that; holds no process itself, and passes its controllers on
//! BASE/kiln-vm-ID/    one VM: memory.max, pids.max, io.weight
//! ```
//! A group with processes of its own cannot pass controllers on, so a service gets a group below the one that is delegated
//! to it (systemd: `Delegate=yes` and `DelegateSubgroup=runner`), and VMs come beside that.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// How the names of the groups begin.
const PREFIX: &str = "kiln-vm-";
/// What VMs must be bounded in.
const NEEDED: [&str; 2] = ["memory", "pids"];
/// What they are bounded in where it is there.
const WANTED: &str = "io";
/// Half of what others get when the disk is busy: the host, and who runs VMs, come first.
const IO_WEIGHT: u32 = 50;
/// How often, and with which pauses, the group of a VM that has ended is removed: its warden ends a moment later.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// Bounds of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Memory of the guest and of QEMU itself.
    pub(crate) memory_mib: u64,
    /// Threads.
    pub(crate) pids: u32,
}

/// Where groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    dir: PathBuf,
    /// Whether disk traffic can be weighed too.
    pub(crate) io: bool,
}

/// Why VMs are not bounded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unbounded {
    /// Nothing of version 2 is mounted, or this process is in no group of it.
    #[error("this host has no control groups of version 2")]
    NotMounted,
    /// They are there, and none that this process may write to passes memory and pids on.
    #[error(
        "no control group with memory and pids may be divided by this process; under systemd, `Delegate=yes` and \
         `DelegateSubgroup=runner` allow it"
    )]
    NotDelegated,
}

/// The group of one VM.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

impl Base {
    /// Returns where this process may make groups. It is looked for once, and then passes its controllers on.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn of_host() -> Result<&'static Self, Unbounded> {
        static FOUND: OnceLock<Result<Base, Unbounded>> = OnceLock::new();
        FOUND.get_or_init(Self::find).as_ref().map_err(Clone::clone)
    }

    fn find() -> Result<Self, Unbounded> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = own_group(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let (root, own) = own.ok_or(Unbounded::NotMounted)?;
        Self::near(&root, &own)
    }

    fn near(root: &Path, own: &Path) -> Result<Self, Unbounded> {
        let above = own.parent().filter(|above| above.starts_with(root));
        above.into_iter().chain([own]).find_map(Self::at).ok_or(Unbounded::NotDelegated)
    }

    /// The group as a base, if it can be one.
    fn at(dir: &Path) -> Option<Self> {
        let has = |file: &str, controller: &str| {
            let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
            text.split_whitespace().any(|word| word == controller)
        };
        let pass_on = |controller: &str| {
            has("cgroup.subtree_control", controller)
                || has("cgroup.controllers", controller)
                    && fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).is_ok()
        };
        if !NEEDED.iter().all(|controller| pass_on(controller)) {
            return None;
        }
        let base = Self { dir: dir.to_owned(), io: pass_on(WANTED) };
        // Whether groups may be made is only told by making one.
        let trial = dir.join(format!("{PREFIX}trial-{}", std::process::id()));
        fs::create_dir(&trial).ok()?;
        fs::remove_dir(&trial).ok()?;
        Some(base)
    }

    /// Makes the group of a VM, with its bounds.
    ///
    /// # Errors
    /// When the kernel refuses; then no group is left.
    pub(crate) fn make(&self, id: &str, bounds: &Bounds) -> std::io::Result<Group> {
        let dir = self.dir.join(format!("{PREFIX}{id}"));
        match fs::create_dir(&dir) {
            // Of an earlier VM of that id, which is gone.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let group = Group(dir);
        group.set("memory.max", &(bounds.memory_mib << 20).to_string())?;
        group.set("pids.max", &bounds.pids.to_string())?;
        if self.io {
            group.set("io.weight", &IO_WEIGHT.to_string())?;
        }
        Ok(group)
    }
}

impl Group {
    /// Returns that of a VM which was started before; none where it is in none that this module made.
    pub(crate) fn of_process(pid: u32) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (_, own) = own_group(&mounts, &fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)?;
        own.file_name()?.to_str()?.starts_with(PREFIX).then(|| Self(own.clone()))
    }

    /// Moves a process into it, with all its threads.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn take(&self, pid: u32) -> std::io::Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// How often the kernel has ended a process in it for want of memory.
    pub(crate) fn memory_kills(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }

    /// Removes it when the last of its processes is gone, which was killed with the VM; blocks for a short while at most.
    pub(crate) fn remove_soon(&self) {
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => std::thread::sleep(REMOVE_PAUSE),
                Ok(()) | Err(_) => return,
            }
        }
    }

    fn set(&self, file: &str, value: &str) -> std::io::Result<()> {
        fs::write(self.0.join(file), value)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel refuses while a process is in it: a VM that outlives its owner keeps its bounds.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Where version 2 is mounted, and the directory of the group that `membership` (as /proc/PID/cgroup tells it) names.
fn own_group(mountinfo: &str, membership: &str) -> Option<(PathBuf, PathBuf)> {
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = mountinfo.lines().find_map(|line| {
        // ID PARENT DEVICE ROOT POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS
        let (mount, kind) = line.split_once(" - ")?;
        let words: Vec<&str> = mount.split(' ').collect();
        (kind.starts_with("cgroup2 ") && *words.get(3)? == "/").then(|| words.get(4).map(PathBuf::from))?
    })?;
    let own = root.join(path.trim_end());
    Some((root, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of files that looks like control groups: `system/runner` with this process, in `system`.
    fn tree(controllers: &str, passed_on: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let system = root.path().join("system");
        fs::create_dir_all(system.join("runner")).expect("create");
        fs::write(system.join("cgroup.controllers"), controllers).expect("write");
        fs::write(system.join("cgroup.subtree_control"), passed_on).expect("write");
        root
    }

    #[test]
    fn a_base_has_memory_and_pids_and_is_above_us() {
        let check = |controllers: &str, passed_on: &str, expect: Option<bool>| {
            let root = tree(controllers, passed_on);
            let found = Base::near(root.path(), &root.path().join("system/runner"));
            assert_eq!(found.as_ref().ok().map(|base| base.io), expect, "{controllers} {passed_on}");
            if let Ok(base) = found {
                assert_eq!(base.dir, root.path().join("system"));
                assert_eq!(fs::read_dir(root.path().join("system")).expect("read").count(), 3, "a trial is left");
            }
        };
        check("cpu io memory pids\n", "io memory pids\n", Some(true));
        check("cpu memory pids\n", "memory pids\n", Some(false));
        check("cpu memory pids\n", "memory\n", Some(false));
        check("cpu memory\n", "memory\n", None);
        check("", "", None);
        let root = tree("memory pids", "memory pids");
        assert_eq!(Base::near(root.path(), root.path()), Err(Unbounded::NotDelegated), "a group above the mount");
    }

    #[test]
    fn a_vm_is_bounded() {
        let root = tree("io memory pids", "io memory pids");
        let base = Base::near(root.path(), &root.path().join("system/runner")).expect("a base");
        let group = base.make("i-1", &Bounds { memory_mib: 512, pids: 100 }).expect("a group");
        group.take(4711).expect("it takes a process");
        let dir = root.path().join("system/kiln-vm-i-1");
        let read = |file: &str| fs::read_to_string(dir.join(file)).expect(file);
        assert_eq!(
            ["memory.max", "pids.max", "io.weight", "cgroup.procs"].map(read),
            ["536870912", "100", "50", "4711"]
        );
        assert_eq!(group.memory_kills(), 0);
        fs::write(dir.join("memory.events"), "low 0\noom 3\noom_kill 2\n").expect("write");
        assert_eq!(group.memory_kills(), 2);
    }

    #[test]
    fn the_own_group_is_read() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n36 30 0:31 / /sys/fs/cgroup rw,nosuid - cgroup2 none rw\n";
        let check = |mounts: &str, membership: &str, expect: Option<&str>| {
            let found = own_group(mounts, membership).map(|(_, own)| own);
            assert_eq!(found, expect.map(PathBuf::from), "{membership}");
        };
        check(
            mounts,
            "0::/system.slice/kiln.service/runner\n",
            Some("/sys/fs/cgroup/system.slice/kiln.service/runner"),
        );
        check(mounts, "3:memory:/x\n0::/\n", Some("/sys/fs/cgroup/"));
        check(mounts, "3:memory:/x\n", None);
        check("24 1 0:22 / /proc rw - proc proc rw\n", "0::/x\n", None);
    }
}
