//! Whether KVM works here: decided by booting, not by looking.
//!
//! `/dev/kvm` may exist and accept a VM, and a stock kernel may hang in it all the same. So the real guest kernel is
//! booted for at most [`PROBE_LIMIT`], and the answer is remembered for this boot of the host.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::host::aside;
use crate::host::files;
use crate::host::proc;
use crate::paths::Layout;
use crate::progress::{Listener, Progress, Task};
use crate::vm::accel::{Accel, AccelChoice};
use crate::vm::binary::Binary;
use crate::vm::confinement::Confinement;
use crate::vm::descriptors::Descriptors;
use crate::vm::machine::Assembled;
use crate::vm::qemu::Vm;

/// A kernel that does not boot to its end within this does not boot.
pub const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// Without a root file system, this is how far a kernel gets.
const BOOTED_LINE: &str = "Kernel panic - not syncing";

/// Why KVM is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Trouble {
    /// This user may not use the device.
    #[error("/dev/kvm may not be opened; `sudo usermod -aG kvm $USER` and a new login allow it")]
    Denied,
    /// There is no such device, or it cannot be opened.
    #[error("/dev/kvm cannot be opened: {0}")]
    NoDevice(String),
    /// A kernel hangs in it.
    #[error("/dev/kvm is there, but a kernel does not boot with it within {} s", PROBE_LIMIT.as_secs())]
    DoesNotBoot,
    /// QEMU ends; its complaint.
    #[error("QEMU does not start with it: {0}")]
    Refused(String),
    /// A kernel boots with it, but a whole VM does not come up; what it failed with.
    #[error("a kernel boots with it, but a VM failed later: {0}")]
    FailsLater(String),
    /// There was nothing small to boot, and a wrong guess would cost minutes.
    #[error("it is probed with the kernel of an image made by `kiln image build`, and there is none yet")]
    NotProbed,
}

/// The answer of a probe, as it is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Memo {
    boot_id: String,
    qemu_version: String,
    answer: Result<(), Trouble>,
}

/// What is known about KVM without booting anything: the absence of the device, or a remembered answer.
pub(crate) fn known(layout: &Layout, qemu_version: &str) -> Option<Result<(), Trouble>> {
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Some(Err(match error.kind() {
            std::io::ErrorKind::PermissionDenied => Trouble::Denied,
            _ => Trouble::NoDevice(error.to_string()),
        }));
    }
    let text = std::fs::read(layout.kvm_memo()).ok()?;
    let memo: Memo = serde_json::from_slice(&text).ok()?;
    let fresh = !memo.boot_id.is_empty() && memo.boot_id == proc::boot_id() && memo.qemu_version == qemu_version;
    fresh.then_some(memo.answer)
}

/// Turns the user's wish into what is used, probing at most once per boot of the host.
///
/// # Errors
/// When the answer cannot be written down.
pub(crate) async fn decide(
    choice: AccelChoice,
    layout: &Layout,
    qemu: &Path,
    binary: &Binary,
    kernel: Option<&Path>,
    listener: &Listener,
) -> Result<Accel, QemuError> {
    match choice {
        AccelChoice::Kvm => return Ok(Accel::Kvm),
        AccelChoice::Tcg => return Ok(Accel::Tcg),
        AccelChoice::Auto => {}
    }
    let answer = match (known(layout, &binary.version), kernel) {
        (Some(answer), _) => answer,
        (None, Some(kernel)) => {
            let task = Task::begin(listener, "trying whether KVM works here");
            let answer = probe(qemu, binary, kernel).await;
            task.done();
            remember(layout, &binary.version, answer.clone())?;
            answer
        }
        (None, None) => Err(Trouble::NotProbed),
    };
    let Err(trouble) = answer else { return Ok(Accel::Kvm) };
    listener(Progress::Note(format!("KVM is not used ({trouble}); VMs run in software emulation, which is slower")));
    Ok(Accel::Tcg)
}

pub(crate) fn remember(layout: &Layout, qemu_version: &str, answer: Result<(), Trouble>) -> Result<(), QemuError> {
    let path = layout.kvm_memo();
    let memo = Memo { boot_id: proc::boot_id(), qemu_version: qemu_version.to_owned(), answer };
    let text = serde_json::to_vec_pretty(&memo).map_err(|e| QemuError::Invalid(e.to_string()))?;
    files::write_private(&path, &text).map_err(QemuError::io("write", path))
}

async fn probe(qemu: &Path, binary: &Binary, kernel: &Path) -> Result<(), Trouble> {
    let confinement = Confinement::of("kiln-probe", binary.sandbox, Accel::Kvm);
    let mut files = Descriptors::default();
    let kernel = files.file(kernel).map_err(|error| refused(&error))?;
    let mut command = confinement.command(qemu);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]);
    command.args(["-accel", "kvm", "-cpu", "host", "-m", "256M"]);
    command.args(["-chardev", "socket,id=monitor,fd=0", "-mon", "chardev=monitor,mode=control"]);
    command.args(["-chardev", "file,id=console,path=/dev/stdout", "-serial", "chardev:console"]);
    command.arg("-kernel").arg(kernel).args(["-append", "console=ttyS0 panic=0 nokaslr"]);
    let assembled = Assembled { command, inherit: files.into_inherited(), confinement, bounds: None, guard: None };
    let probe = aside(move || Vm::spawn("the KVM probe", assembled)).await.map_err(|error| refused(&error))?;
    let (vm, _monitor) = probe.speak().await.map_err(|error| refused(&error))?;
    let outcome = tokio::select! {
        () = vm.console_holds(BOOTED_LINE) => Ok(()),
        _ = vm.exited() => Err(refused(&vm.ended_early())),
        () = tokio::time::sleep(PROBE_LIMIT) => {
            Err(Trouble::DoesNotBoot)
        }
    };
    vm.end().await;
    outcome
}

/// One line: the whole of QEMU's complaint would hide the answer.
fn refused(error: &QemuError) -> Trouble {
    let text = error.to_string();
    let complaint = text.lines().find_map(|line| line.split_once("qemu-system-x86_64: ")).map(|(_, rest)| rest);
    Trouble::Refused(complaint.or(text.lines().next()).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_this_boot_and_this_qemu() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().to_owned(), state: dir.path().to_owned() };
        let device = known(&layout, "QEMU 7");
        for answer in [Err(Trouble::DoesNotBoot), Err(Trouble::Refused("no".to_owned())), Ok(())] {
            remember(&layout, "QEMU 7", answer.clone()).expect("write");
            // Without the device nothing is remembered about it.
            let expect = device.clone().unwrap_or(answer);
            assert_eq!(known(&layout, "QEMU 7"), Some(expect));
            assert_eq!(known(&layout, "QEMU 8"), device);
        }
    }
}
