//! What a QEMU is kept from. A guest that breaks out of it finds a process with an empty environment, without rights to any
//! file but its own descriptors, without the system calls that would start programs or change who it is, and, where the host
//! has what it takes, with a user id of its own and bounds on memory, threads and disk traffic.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::host::ids::Ids;
use crate::host::program::{self, Needs};
use crate::vm::accel::Accel;

/// Everything that QEMU's sandbox can deny.
pub(crate) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// The hardware's device.
const KVM: &str = "/dev/kvm";
/// The bits of a mode that let a group read and write.
const GROUP_USES: u32 = 0o060;

/// How a QEMU is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// Whether it has a sandbox of system calls.
    pub(crate) sandbox: bool,
    /// Who it runs as; none: the same user as this process.
    pub(crate) ids: Option<Ids>,
}

impl Confinement {
    /// Returns that of the VM called `name`, as far as this host allows. `sandbox` says whether this QEMU has one.
    pub(crate) fn of(name: &str, sandbox: bool, accel: Accel) -> Self {
        let own = Ids::for_vm(name).ok();
        let ids = match accel {
            Accel::Tcg => own,
            // The device's own group is let in, as a rule. Where it is not, the VM must be the same user as this process.
            Accel::Kvm => own.zip(Path::new(KVM).metadata().ok()).and_then(|(ids, device)| {
                let lets_in = device.mode() & GROUP_USES == GROUP_USES;
                lets_in.then_some(Ids { gid: device.gid(), ..ids })
            }),
        };
        Self { sandbox, ids }
    }

    /// Returns the beginning of a command line.
    pub(crate) fn command(&self, qemu: &Path) -> Command {
        let mut command = program::command(qemu, Needs::Nothing);
        if let Some(Ids { uid, gid }) = self.ids {
            // Further groups are dropped with it.
            command.uid(uid).gid(gid);
        }
        if self.sandbox {
            command.args(["-sandbox", SANDBOX]);
        }
        command
    }

    /// Makes QEMU the owner of a file or pipe that it opens again by itself: its console.
    pub(crate) fn give(&self, file: impl AsFd) -> std::io::Result<()> {
        match self.ids {
            Some(Ids { uid, gid }) => std::os::unix::fs::fchown(file, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// Lets every VM write to a file that many VMs open and nobody reaches by its path.
    pub(crate) fn share(&self, file: &File) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        const FOR_ALL: u32 = 0o666;
        if self.ids.is_none() || file.metadata()?.permissions().mode() & 0o777 == FOR_ALL {
            return Ok(());
        }
        file.set_permissions(std::fs::Permissions::from_mode(FOR_ALL))
    }
}
