//! Hardware or software emulation: decided by booting, not by looking.
//!
//! `/dev/kvm` may exist and accept a VM, and a stock kernel may hang in it all the same. So the real guest kernel is
//! booted for at most [`PROBE_LIMIT`], and the answer is remembered for this boot of the host.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::host::files;
use crate::host::proc;
use crate::paths::Layout;
use crate::progress::{Listener, Progress};
use crate::vm::qemu::Vm;

/// A kernel that does not boot to its end within this does not boot.
pub const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// Without a root file system, this is how far a kernel gets.
const BOOTED_LINE: &str = "Kernel panic - not syncing";

/// What runs the guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The hardware, through the kernel.
    Kvm,
    /// QEMU's own translator: works everywhere, several times slower.
    Tcg,
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccelChoice {
    /// KVM where it works, else TCG.
    #[default]
    Auto,
    /// KVM, untested.
    Kvm,
    /// TCG.
    Tcg,
}

impl Accel {
    pub(crate) fn qemu_accel(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    pub(crate) fn qemu_cpu(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "max",
        }
    }
}

/// The answer of a probe, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmState {
    /// Whether a kernel boots with KVM here.
    pub works: bool,
    /// Why it does not, for people; empty when it does.
    pub reason: String,
    boot_id: String,
    qemu_version: String,
}

/// What is known about KVM without booting anything: a remembered answer, or the absence of the device.
pub(crate) fn known(layout: &Layout, qemu_version: &str) -> Option<KvmState> {
    let state = |reason: String| KvmState {
        works: false,
        reason,
        boot_id: proc::boot_id(),
        qemu_version: qemu_version.to_owned(),
    };
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; `sudo usermod -aG kvm $USER` and a new login allow it",
            _ => "",
        };
        return Some(state(format!("/dev/kvm cannot be opened: {error}{advice}")));
    }
    let text = std::fs::read(layout.accel_memo()).ok()?;
    let memo: KvmState = serde_json::from_slice(&text).ok()?;
    (memo.boot_id == proc::boot_id() && memo.qemu_version == qemu_version && !memo.boot_id.is_empty()).then_some(memo)
}

/// Turns the user's wish into what is used, probing at most once per boot of the host.
pub(crate) async fn decide(
    choice: AccelChoice,
    layout: &Layout,
    qemu: &Path,
    qemu_version: &str,
    kernel: Option<&Path>,
    listener: &Listener,
) -> Result<Accel, QemuError> {
    match choice {
        AccelChoice::Kvm => return Ok(Accel::Kvm),
        AccelChoice::Tcg => return Ok(Accel::Tcg),
        AccelChoice::Auto => {}
    }
    let state = match (known(layout, qemu_version), kernel) {
        (Some(state), _) => state,
        (None, Some(kernel)) => {
            let (works, reason) = match probe(qemu, kernel).await {
                Ok(()) => (true, String::new()),
                Err(reason) => (false, reason),
            };
            let state = KvmState { works, reason, boot_id: proc::boot_id(), qemu_version: qemu_version.to_owned() };
            remember(layout, &state)?;
            state
        }
        // Without a kernel of our own there is nothing small to boot, and a wrong guess would cost minutes.
        (None, None) => KvmState {
            works: false,
            reason: "it is probed with the kernel of an image made by `kiln image build`, and there is none yet"
                .to_owned(),
            boot_id: String::new(),
            qemu_version: String::new(),
        },
    };
    if state.works {
        return Ok(Accel::Kvm);
    }
    listener(Progress::Note(format!(
        "KVM is not used ({}); VMs run in software emulation, which is slower",
        state.reason
    )));
    Ok(Accel::Tcg)
}

fn remember(layout: &Layout, state: &KvmState) -> Result<(), QemuError> {
    let path = layout.accel_memo();
    let text = serde_json::to_vec_pretty(state).map_err(|e| QemuError::Invalid(e.to_string()))?;
    files::write_private(&path, &text).map_err(QemuError::io("write", path))
}

async fn probe(qemu: &Path, kernel: &Path) -> Result<(), String> {
    let mut command = Command::new(qemu);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]);
    command.args(["-accel", "kvm", "-cpu", "host", "-m", "256M"]);
    command.args(["-chardev", "socket,id=monitor,fd=0", "-mon", "chardev=monitor,mode=control"]);
    command.args(["-chardev", "file,id=console,path=/dev/stdout", "-serial", "chardev:console"]);
    command.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 panic=0 nokaslr"]);
    let (vm, _monitor) = Vm::start("the KVM probe", command, Vec::new()).await.map_err(|error| refused(&error))?;
    let outcome = tokio::select! {
        () = vm.console_holds(BOOTED_LINE) => Ok(()),
        _ = vm.exited() => Err(refused(&vm.ended_early())),
        () = tokio::time::sleep(PROBE_LIMIT) => {
            Err(format!("/dev/kvm is there, but a kernel does not boot with it within {} s", PROBE_LIMIT.as_secs()))
        }
    };
    vm.end().await;
    outcome
}

/// One line: the whole of QEMU's complaint would hide the answer.
fn refused(error: &QemuError) -> String {
    let text = error.to_string();
    let complaint = text.lines().find_map(|line| line.split_once("qemu-system-x86_64: ")).map(|(_, rest)| rest);
    format!("QEMU does not start with it: {}", complaint.or(text.lines().next()).unwrap_or_default())
}
