//! Where things lie on disk. The caller says where; nothing here reads the environment.
//!
//! ```text
//! cache/images/NAME/{image.json, disk.qcow2, vmlinuz?, initrd?}
//! cache/layers/KEY/{layer.json, disk.qcow2}
//! cache/golden/KEY/{golden.json, disk.qcow2, memory, state, overlay.qcow2}
//! cache/kvm.json
//! state/vms/OWNER/owner.lock                              OWNER: PID-START-SERIAL, or named-NAME
//! state/vms/OWNER/INSTANCE/{vm.json, overlay.qcow2?}      the overlay until QEMU has it open
//! state/vms/OWNER/INSTANCE/agent.sock                     where the agent of an isolated VM answers
//! state/vms/named-NAME/INSTANCE/{process.lock, monitor, console.log, errors.log}
//! ```

use std::path::PathBuf;

/// Locked by the process that an owner is, in the owner's directory.
pub(crate) const OWNER_LOCK: &str = "owner.lock";
/// How the directory of a named owner begins; no pid does.
pub(crate) const NAMED: &str = "named-";

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

    /// The container images in images.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.cache.join("layers")
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

    pub(crate) fn kvm_memo(&self) -> PathBuf {
        self.cache.join("kvm.json")
    }
}
