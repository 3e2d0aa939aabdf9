//! A saved golden VM in use: what clones are made of.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::QemuError;
use crate::vm::confinement::Confinement;
use crate::vm::machine::{Life, Machine, Role};

/// A saved golden VM, kept from being removed while this lives.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) server_name: String,
    pub(super) key: String,
    pub(super) machine: Machine,
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

    /// Returns the machine of a clone whose disk is `overlay`.
    pub(crate) fn clone_machine(&self, id: &str, overlay: PathBuf, life: Life) -> Machine {
        let golden = self.machine.clone();
        let backing = [golden.disk].into_iter().chain(golden.backing).collect();
        let confinement = Confinement::of(id, golden.confinement.sandbox, golden.accel);
        Machine {
            name: id.to_owned(),
            disk: overlay,
            backing,
            role: Role::Clone,
            life,
            confinement,
            ..self.machine.clone()
        }
    }
}
