//! The VM that loads container images into a disk: its first process is a script from the archive.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ContainerError;
use super::fetch::{Fetched, SCRIPT_NAME};
use crate::error::QemuError;
use crate::host::aside;
use crate::host::program;
use crate::host::room::{Host, Promised};
use crate::images::Image;
use crate::images::Images;
use crate::limits::DEFAULT_SHAPE;
use crate::progress::Task;
use crate::vm::binary::Binary;
use crate::vm::confinement::Confinement;
use crate::vm::kvm;
use crate::vm::machine::{DirectKernel, KERNEL_LINE, Life, Link, Machine, Role};
use crate::vm::qemu::Vm;

/// What the script says when the engine answers.
const ENGINE_LINE: &str = "kiln: engine up";
/// What it says when all is done.
const LOADED_LINE: &str = "kiln: containers loaded";
/// Time for loading whatever is loaded, and for each MiB of it. Under emulation it takes about a second for each.
const LOAD_LIMIT: Duration = Duration::from_secs(600);
const LOAD_LIMIT_PER_MIB: Duration = Duration::from_secs(10);
/// The last words of a VM that has ended are read within this.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Name of the VM.
const NAME: &str = "kiln-containers";

/// Boots `image` with an overlay in `half`, and loads into it what was fetched. Returns the overlay.
pub(super) async fn load(
    images: &Images,
    image: &Image,
    half: &Path,
    fetched: &Fetched,
    task: &Task<'_>,
) -> Result<PathBuf, QemuError> {
    let (settings, layout) = (&images.settings, &images.layout);
    let host = Host::now(half)?;
    settings.room().admit_memory(DEFAULT_SHAPE.memory_mib, &host, &Promised::default())?;
    let binary = Binary::look(&settings.qemu).await?;
    let kernel = image.kernel_file();
    let accel = kvm::decide(settings.accel, layout, &settings.qemu, &binary, Some(&kernel), &images.listener).await?;
    let overlay = half.join("overlay.qcow2");
    let disks = image.disks();
    if let Some(below) = disks.first() {
        program::create_overlay(&settings.qemu_img, &overlay, below, image.virtual_bytes).await?;
    }
    let start = format!("tar -xOf /dev/vdb {SCRIPT_NAME} >/run/load.sh; exec sh /run/load.sh /dev/vdb");
    let machine = Machine {
        qemu: settings.qemu.clone(),
        name: NAME.to_owned(),
        accel,
        cpus: DEFAULT_SHAPE.cpus,
        memory_mib: DEFAULT_SHAPE.memory_mib,
        memory: half.join("memory"),
        disk: overlay.clone(),
        backing: disks,
        // The second disk, which is only read.
        seed: fetched.archive.clone(),
        kernel: Some(DirectKernel {
            kernel,
            initrd: image.initrd_file(),
            line: format!("{KERNEL_LINE} init=/bin/sh -- -c \"{start}\""),
        }),
        firmware: None,
        role: Role::Golden,
        life: Life::Tied,
        link: Link::None,
        confinement: Confinement::of(NAME, binary.sandbox, accel),
    };
    task.step("starting an engine that loads them");
    let assembled = machine.assemble(Vec::new())?;
    let (vm, _monitor) = aside(move || Vm::spawn(NAME, assembled)).await?.speak().await?;
    let outcome = watch(&vm, image, fetched, settings.boot_timeout, task).await;
    vm.end().await;
    outcome.map(|()| overlay)
}

async fn watch(
    vm: &Vm,
    image: &Image,
    fetched: &Fetched,
    boot_timeout: Duration,
    task: &Task<'_>,
) -> Result<(), QemuError> {
    until(vm, image, ENGINE_LINE, boot_timeout).await?;
    let mib = fetched.unpacked_bytes >> 20;
    task.step(format!("loading {} container images ({mib} MiB)", fetched.containers.len()));
    let limit = LOAD_LIMIT + LOAD_LIMIT_PER_MIB.saturating_mul(u32::try_from(mib).unwrap_or(u32::MAX));
    until(vm, image, LOADED_LINE, limit).await?;
    match tokio::time::timeout(LOAD_LIMIT, vm.exited()).await {
        Ok(_) => Ok(()),
        Err(_) => Err(not_loaded(vm, image, "it did not power off")),
    }
}

async fn until(vm: &Vm, image: &Image, line: &str, limit: Duration) -> Result<(), QemuError> {
    tokio::select! {
        () = vm.console_holds(line) => return Ok(()),
        _ = vm.exited() => {}
        () = tokio::time::sleep(limit) => return Err(not_loaded(vm, image, &format!("it took over {limit:?}"))),
    }
    // Its end may be known before its last words are read.
    match tokio::time::timeout(LAST_WORDS, vm.console_holds(line)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(not_loaded(vm, image, "the VM ended")),
    }
}

fn not_loaded(vm: &Vm, image: &Image, why: &str) -> QemuError {
    ContainerError::NotLoaded { image: image.name.clone(), evidence: format!("{why}: {}", vm.evidence()) }.into()
}
