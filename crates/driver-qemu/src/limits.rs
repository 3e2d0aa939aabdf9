//! Sizes of local VMs: what is possible, and what a VM gets when nobody says. The section of the pool file, the command line
//! and the launch use these numbers.

use std::ops::RangeInclusive;

use crate::error::QemuError;
use crate::vm::machine::Shape;

/// Size of a VM unless the pool file or the command line says otherwise.
pub const DEFAULT_SHAPE: Shape = Shape { cpus: 2, memory_mib: 1280, disk_gib: 16 };

/// Virtual processors that a VM can have.
pub const CPUS: RangeInclusive<u32> = 1..=64;
/// Memory in MiB that a VM can have. With less than the smallest a distribution's image does not boot.
pub const MEMORY_MIB: RangeInclusive<u32> = 256..=4 * 1024 * 1024;
/// Sizes in GiB that can be asked for as the smallest of the root disk. A smaller one than the image has changes nothing.
pub const DISK_GIB: RangeInclusive<u32> = 1..=64 * 1024;

/// Refuses a size that is not possible.
pub(crate) fn check(shape: Shape) -> Result<(), QemuError> {
    for (what, number, range) in [
        ("processors", shape.cpus, CPUS),
        ("MiB of memory", shape.memory_mib, MEMORY_MIB),
        ("GiB of disk", shape.disk_gib, DISK_GIB),
    ] {
        if !range.contains(&number) {
            let (start, end) = (range.start(), range.end());
            return Err(QemuError::Invalid(format!("{number} {what}: a local VM has {start} to {end}")));
        }
    }
    Ok(())
}
