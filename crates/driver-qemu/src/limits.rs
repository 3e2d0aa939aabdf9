//! Sizes of local VMs: their limits and defaults. The section of the pool file, the command line and the launch use
//! these numbers.

use std::ops::RangeInclusive;

use crate::error::QemuError;
use crate::vm::machine::Shape;

/// Default size of a VM.
pub const DEFAULT_SHAPE: Shape = Shape { cpus: 2, memory_mib: 1280, disk_gib: 16 };

/// Virtual processors that a VM can have.
pub const CPUS: RangeInclusive<u32> = 1..=64;
/// Memory in MiB that a VM can have. With less than the minimum, a distribution's image does not boot.
pub const MEMORY_MIB: RangeInclusive<u32> = 256..=4 * 1024 * 1024;
/// Sizes in GiB that can be requested as the minimum of the root disk. A minimum below the image's own size has no
/// effect.
pub const DISK_GIB: RangeInclusive<u32> = 1..=64 * 1024;

/// Refuses an impossible size.
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
