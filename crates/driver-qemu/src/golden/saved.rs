//! A saved golden VM in use: what clones are made of.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_pool::Network;

use crate::error::QemuError;
use crate::vm::confinement::Confinement;
use crate::vm::machine::{Life, Link, Machine, OVERLAY, Role};
use crate::warden::WardenProgram;

/// A saved golden VM, kept from being removed while this lives.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) server_name: String,
    pub(super) key: String,
    pub(super) machine: Machine,
    pub(super) warden: WardenProgram,
    pub(super) dir: PathBuf,
    pub(super) proven: AtomicBool,
    pub(super) in_use: File,
}

impl Golden {
    /// Notes that a clone of it came up.
    pub(crate) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// After a clone of it failed to start: takes it off the shelf, so that it is made anew, unless clones of it are known
    /// to come up. A disk that lied at a power cut, or a host whose processor changed, would else fail every stage for ever.
    pub(crate) fn discard_unproven(&self) -> bool {
        if self.proven.load(Ordering::Relaxed) {
            return false;
        }
        std::fs::remove_file(self.dir.join("golden.json")).is_ok()
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(crate) fn overlay_template(&self) -> PathBuf {
        self.dir.join("overlay.qcow2")
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Returns what keeps the golden VM from being removed as long as any process has it open.
    pub(crate) fn hold(&self) -> Result<OwnedFd, QemuError> {
        self.in_use.try_clone().map(OwnedFd::from).map_err(QemuError::io("keep the lock of", &self.dir))
    }

    /// Returns the machine of a clone whose files are in `dir`.
    pub(crate) fn clone_machine(&self, id: &str, dir: &Path, life: Life, network: &Network) -> Machine {
        let golden = self.machine.clone();
        let backing = [golden.disk].into_iter().chain(golden.backing).collect();
        let confinement = Confinement::of(id, golden.confinement.sandbox, golden.accel);
        Machine {
            name: id.to_owned(),
            disk: dir.join(OVERLAY),
            backing,
            role: Role::Clone,
            life,
            link: Link::of(&self.warden, network, dir),
            confinement,
            ..self.machine.clone()
        }
    }
}
