//! Where mmdebstrap unpacks, and how what a killed build left there is found and removed.
//!
//! It must be a folder that apt's unprivileged user and a user namespace may enter, so it lies under /tmp and not in the
//! user's cache. Its name is known beforehand, so that the next build finds it.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::QemuError;
use crate::host::lock;
use crate::host::program::{self, INSTALL_BUILDERS, Needs};
use crate::host::unix::{self, Death};

const PARENT: &str = "/tmp";
/// Empties the folders that it is given.
const EMPTY: &str = "find \"$@\" -xdev -mindepth 1 -delete 2> /dev/null; true";

/// An empty folder for the build of one image; only one build of an image runs at a time.
pub(super) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Removes what an earlier build left, and makes the folder.
    pub(super) async fn make(name: &str) -> Result<Self, QemuError> {
        let uid = nix::unistd::geteuid().as_raw();
        let dir = Path::new(PARENT).join(format!("kiln-build-{uid}-{name}"));
        let scratch = Self { dir };
        scratch.remove().await?;
        // Fails where somebody else has made one of that name meanwhile.
        let made = std::fs::DirBuilder::new().mode(0o755).create(&scratch.dir);
        // Whatever the umask.
        let opened = made.and_then(|()| std::fs::set_permissions(&scratch.dir, Permissions::from_mode(0o755)));
        opened.map_err(QemuError::io("create", &scratch.dir))?;
        Ok(scratch)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) async fn remove(&self) -> Result<(), QemuError> {
        let Ok(found) = std::fs::symlink_metadata(&self.dir) else { return Ok(()) };
        if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() {
            let dir = self.dir.display();
            return Err(QemuError::Invalid(format!("{dir} is not ours, and a build needs that name: have it removed")));
        }
        if unix::is_root() {
            return lock::remove_tree(&self.dir);
        }
        // What a tree holds belongs to the user's subordinate ids, so only a user namespace may remove it; the folders that
        // hold the trees are the user's own. What could not be removed is told by the second step.
        let entries = std::fs::read_dir(&self.dir).map_err(QemuError::io("read", &self.dir))?;
        let trees: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        if !trees.is_empty() {
            let mut command = program::command("mmdebstrap", Needs::Network);
            command.args(["--unshare-helper", "sh", "-c", EMPTY, "sh"]).args(&trees);
            program::output(command, INSTALL_BUILDERS).await?;
        }
        lock::remove_tree(&self.dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // mmdebstrap empties it when it is told to end. What it leaves when it is killed is removed by the next build.
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Returns the command for mmdebstrap, in namespaces of its own where this process may make them: as root it mounts /proc, /sys and parts of /dev below the
/// tree, and a killed build would leave them mounted for everybody, with processes that go on.
///
/// The second value is what must happen to it when this process dies: `unshare` ignores SIGTERM, and its end takes all others along.
pub(super) async fn mmdebstrap() -> (Command, Death) {
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut trial = program::command("unshare", Needs::Path);
    trial.args(namespaces).arg("true");
    if !unix::is_root() || program::output(trial, INSTALL_BUILDERS).await.is_err() {
        return (program::command("mmdebstrap", Needs::Network), Death::Terminate);
    }
    let mut command = program::command("unshare", Needs::Network);
    command.args(namespaces).arg("mmdebstrap");
    (command, Death::Kill)
}
