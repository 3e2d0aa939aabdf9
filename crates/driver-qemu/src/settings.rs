//! What the caller decides. No value comes from the environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::room::Policy;
use crate::images::build::Addition;
use crate::vm::accel::AccelChoice;
use crate::warden::WardenProgram;

/// Settings of local VMs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// KVM or TCG.
    pub accel: AccelChoice,
    /// QEMU's binary; a bare name is looked for in PATH.
    pub qemu: PathBuf,
    /// `qemu-img`.
    pub qemu_img: PathBuf,
    /// A UEFI firmware (one file with code and variables, as `/usr/share/ovmf/OVMF.fd`) for imported images that need one.
    /// None: SeaBIOS.
    pub firmware: Option<PathBuf>,
    /// Limit from QEMU's start to the golden VM's agent answering.
    pub boot_timeout: Duration,
    /// Package sources for `image build`, one-line format. None: those of the host's apt.
    pub package_sources: Option<Vec<String>>,
    /// Further packages for `image build`.
    pub extra_packages: Vec<String>,
    /// What images are built with beside what every one has.
    pub additions: Vec<Addition>,
    /// Docker's configuration file, whose credentials pools may allow to be used.
    pub docker_config: Option<PathBuf>,
    /// Free disk that is reserved for each VM, in MiB: a launch that would leave less than all VMs were promised is refused.
    pub disk_reserve_mib: u32,
    /// With less free disk than this, in MiB, the VM that has written most is ended.
    pub disk_watermark_mib: u32,
    /// The VMs of this host may declare this many times its memory.
    pub memory_overcommit: f64,
    /// What starts the wardens of isolated VMs.
    pub warden: WardenProgram,
    /// Further settings of the agent.
    pub agent_env: BTreeMap<String, String>,
}

impl Settings {
    /// How far memory and disk are promised.
    pub(crate) fn room(&self) -> Policy {
        let disk_reserve_bytes = u64::from(self.disk_reserve_mib) << 20;
        Policy { disk_reserve_bytes, memory_overcommit: self.memory_overcommit }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accel: AccelChoice::Auto,
            qemu: "qemu-system-x86_64".into(),
            qemu_img: "qemu-img".into(),
            firmware: None,
            boot_timeout: Duration::from_secs(600),
            package_sources: None,
            extra_packages: Vec::new(),
            additions: Vec::new(),
            docker_config: None,
            disk_reserve_mib: 2048,
            disk_watermark_mib: 1024,
            memory_overcommit: 1.0,
            warden: WardenProgram::default(),
            agent_env: BTreeMap::new(),
        }
    }
}
