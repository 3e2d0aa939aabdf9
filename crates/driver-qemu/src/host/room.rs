//! Whether the host has memory and disk for one more VM.

use std::path::Path;

use crate::error::QemuError;
use crate::host::{proc, unix};

/// Memory that the host itself needs to stay usable.
const RESERVE_MIB: u64 = 256;

/// Checks that a VM of this size fits. `promised_mib` is what VMs that are just starting will take.
pub(crate) fn require_memory(memory_mib: u32, promised_mib: u64) -> Result<(), QemuError> {
    let Some(available) = proc::available_memory_mib() else { return Ok(()) };
    let need = u64::from(memory_mib) + promised_mib + RESERVE_MIB;
    if available >= need {
        return Ok(());
    }
    Err(QemuError::NoRoom(format!(
        "a VM of {memory_mib} MiB does not fit: {available} MiB of memory are available, {promised_mib} MiB are promised to \
         VMs that are starting, and {RESERVE_MIB} MiB are kept for the host; end other programs or VMs, or ask for less memory"
    )))
}

/// A clone's disk begins empty; with less than this a step could not write anything of size.
const LEAST_DISK_MIB: u64 = 512;

/// Checks that there is some disk for what a VM writes.
pub(crate) fn require_disk(dir: &Path) -> Result<(), QemuError> {
    let free_mib = unix::free_bytes(dir).map_err(QemuError::io("ask for free space of", dir))? >> 20;
    if free_mib >= LEAST_DISK_MIB {
        return Ok(());
    }
    Err(QemuError::NoRoom(format!(
        "{free_mib} MiB of disk are free below {}, and a VM needs at least {LEAST_DISK_MIB} MiB: make room there",
        dir.display()
    )))
}
