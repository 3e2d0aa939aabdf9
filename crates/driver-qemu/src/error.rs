//! How local VMs fail.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_driver::{DriverError, ErrorClass};

use crate::containers::ContainerError;

/// A failure of images, golden VMs or clones.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The verb phrase: "create", "read".
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program of the system cannot be started.
    #[error("cannot start {program}: install it ({remedy})")]
    ProgramMissing {
        /// Its name.
        program: String,
        /// The command that installs it.
        remedy: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program of the system failed.
    #[error("{program} failed ({status}); its last output:\n{tail}")]
    ProgramFailed {
        /// Its name.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        tail: String,
    },
    /// There is no image of that name.
    #[error("there is no image `{name}`; {}", known_images(known))]
    UnknownImage {
        /// The name that was asked for.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// An image name that could leave its directory or confuse a command line.
    #[error(
        "`{0}` is not an image name: use up to 64 lower-case letters, digits, `.`, `_` and `-`, starting with a letter or digit"
    )]
    BadImageName(String),
    /// An image of that name exists.
    #[error("an image `{0}` exists already: remove it with `kiln image rm {0}`, or choose another name")]
    ImageExists(String),
    /// A disk file that is not fit to be an image.
    #[error("{} cannot be an image: {reason}", path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A download that may not be trusted or did not work.
    #[error("cannot fetch {url}: {reason}")]
    Fetch {
        /// From where.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The host has no room.
    #[error(transparent)]
    NoRoom(#[from] Shortage),
    /// The host's package sources do not tell where Debian or Ubuntu packages come from.
    #[error("{0}")]
    NoMirror(String),
    /// A request that can never work.
    #[error("{0}")]
    Invalid(String),
    /// QEMU ended when it should have run.
    #[error("QEMU of {what} ended early: {evidence}")]
    VmEnded {
        /// Which VM.
        what: String,
        /// Exit status, last lines of its errors and console.
        evidence: String,
    },
    /// The golden VM did not come up.
    #[error(
        "the golden VM of image `{image}` did not get as far as `{awaited}` in {limit:?}; the end of its console:\n{console}"
    )]
    BootTimeout {
        /// The image.
        image: String,
        /// What was being waited for.
        awaited: &'static str,
        /// For how long.
        limit: Duration,
        /// The last part of the console.
        console: String,
    },
    /// A clone did not answer.
    #[error("instance {id} did not get as far as `{awaited}` in {limit:?}; {evidence}")]
    CloneTimeout {
        /// The instance.
        id: String,
        /// What was being waited for.
        awaited: &'static str,
        /// For how long.
        limit: Duration,
        /// Exit status, last lines of its errors and console.
        evidence: String,
    },
    /// QEMU's monitor refused a command or did not answer.
    #[error("QEMU's monitor: {0}")]
    Monitor(String),
    /// Certificates for the golden VM.
    #[error("cannot make certificates for the golden VM: {0}")]
    Certificate(String),
    /// The user data cannot be made.
    #[error("cannot make the user data of the golden VM")]
    UserData(#[from] kiln_driver::user_data::UserDataError),
    /// Container images do not get into an image.
    #[error(transparent)]
    Containers(#[from] ContainerError),
    /// This host cannot keep VMs apart.
    #[error(
        "{0}; a VM that reaches all that this host does takes none of it: `kiln run --without-isolation`, or `isolation: off` \
         in the pool's `kiln.network`"
    )]
    NotIsolated(String),
    /// Somebody ended it while it was being started.
    #[error("instance {0} was destroyed while it was starting")]
    Cancelled(String),
}

/// What the host has too little of. Another time may have it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Shortage {
    /// The VMs would declare more memory than the host has, times the overcommit.
    #[error(
        "a VM of {memory_mib} MiB does not fit: the VMs of this host declare {declared_mib} MiB already, and it has \
         {host_mib} MiB of memory with an overcommit of {overcommit}; end some, ask for less memory, or raise the overcommit"
    )]
    DeclaredMemory {
        /// What was asked for.
        memory_mib: u32,
        /// What VMs that start or run have been given.
        declared_mib: u64,
        /// All memory of the host.
        host_mib: u64,
        /// How many times of it may be declared.
        overcommit: f64,
    },
    /// Too little memory is available now.
    #[error(
        "a VM of {memory_mib} MiB does not fit: {available_mib} MiB of memory are available, {starting_mib} MiB are promised \
         to VMs that are starting, and {reserve_mib} MiB are kept for the host; end other programs or VMs, or ask for less \
         memory"
    )]
    Memory {
        /// What was asked for.
        memory_mib: u32,
        /// What can be given away without swapping.
        available_mib: u64,
        /// What VMs that have begun to start will take.
        starting_mib: u64,
        /// What the host keeps.
        reserve_mib: u64,
    },
    /// Too little disk is free for what VMs were promised and one more.
    #[error(
        "{free_mib} MiB of disk are free where VMs write, {owed_mib} MiB of them are promised to VMs that start or run, and \
         each VM is promised {reserve_mib} MiB: make room, or lower the reservation"
    )]
    Disk {
        /// What is free.
        free_mib: u64,
        /// What is left of the other VMs' reservations.
        owed_mib: u64,
        /// The reservation of each VM.
        reserve_mib: u64,
    },
    /// Too little disk is free for a file that is to be made.
    #[error("{purpose} takes {need_mib} MiB of disk below {} and {free_mib} MiB are free: make room there", dir.display())]
    File {
        /// What it is for: "building an image".
        purpose: String,
        /// What it takes.
        need_mib: u64,
        /// What is free.
        free_mib: u64,
        /// Where.
        dir: PathBuf,
    },
}

fn known_images(known: &[String]) -> String {
    if known.is_empty() {
        "there are none yet: make one with `kiln image build`".to_owned()
    } else {
        format!("there are: {} (or make one with `kiln image build`)", known.join(", "))
    }
}

impl QemuError {
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The class that a pool acts on.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoRoom(_) => ErrorClass::Capacity,
            Self::UnknownImage { .. } => ErrorClass::NotFound,
            Self::BadImageName(_)
            | Self::ImageExists(_)
            | Self::BadImage { .. }
            | Self::NoMirror(_)
            | Self::Invalid(_)
            | Self::NotIsolated(_)
            | Self::UserData(_)
            | Self::Cancelled(_)
            | Self::ProgramMissing { .. } => ErrorClass::Invalid,
            Self::Containers(error) => error.class(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => ErrorClass::Auth,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => ErrorClass::Capacity,
            Self::Io { .. }
            | Self::ProgramFailed { .. }
            | Self::Fetch { .. }
            | Self::VmEnded { .. }
            | Self::BootTimeout { .. }
            | Self::CloneTimeout { .. }
            | Self::Monitor(_)
            | Self::Certificate(_) => ErrorClass::Transient,
        }
    }
}

impl From<QemuError> for DriverError {
    fn from(error: QemuError) -> Self {
        let class = error.class();
        let message = error.to_string();
        // The message is the error's own line; what remains to be told is only its cause.
        let source = std::error::Error::source(&error).map(|cause| cause.to_string().into());
        Self { class, message, source }
    }
}
