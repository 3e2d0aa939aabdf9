//! Where things lie on disk. The caller says where; nothing here reads the environment.
//!
//! ```text
//! cache/images/NAME/{image.json, disk.qcow2, vmlinuz?, initrd?}
//! cache/golden/KEY/{golden.json, disk.qcow2, memory, state, overlay.qcow2}
//! cache/accel.json
//! state/vms/OWNER/owner.lock                              OWNER: PID-START-SERIAL, or named-NAME
//! state/vms/OWNER/INSTANCE/{vm.json, overlay.qcow2?}      the overlay until QEMU has it open
//! state/vms/named-NAME/INSTANCE/{process.lock, monitor, console.log, errors.log}
//! ```

use std::path::{Path, PathBuf};

use crate::error::QemuError;

/// The two roots under which everything lies.
#[derive(Debug, Clone)]
pub struct Layout {
    /// What can be made again: images, golden VMs. Usually `$XDG_CACHE_HOME/kiln`.
    pub cache: PathBuf,
    /// What belongs to running processes. Usually `$XDG_STATE_HOME/kiln`.
    pub state: PathBuf,
}

impl Layout {
    /// All images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// All golden VMs.
    #[must_use]
    pub fn goldens(&self) -> PathBuf {
        self.cache.join("golden")
    }

    /// The running VMs of every owner.
    #[must_use]
    pub fn vms(&self) -> PathBuf {
        self.state.join("vms")
    }

    pub(crate) fn accel_memo(&self) -> PathBuf {
        self.cache.join("accel.json")
    }
}

/// Makes a directory that only its owner may enter: memory files hold whatever a VM's memory held.
pub(crate) fn private_dir(path: &Path) -> Result<(), QemuError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(QemuError::io("create", path))
}
