//! Whether the host has memory and disk for one more VM: a pure decision over what the host has and what is promised.
//!
//! ```text
//! memory   declared by all VMs + this one       ≤ the host's memory × overcommit
//!          starting VMs + this one + reserve    ≤ what is available now × overcommit
//! disk     owed to all VMs + this one           ≤ what is free now
//! ```
//! What a VM is owed is its reservation less what it has written: that is no longer free.

use std::path::Path;

use crate::error::{QemuError, Shortage};
use crate::host::{proc, unix};

/// Memory that the host itself needs to stay usable.
const RESERVE_MIB: u64 = 256;
/// A setting below this would promise nothing.
const LEAST_OVERCOMMIT: f64 = 0.01;

/// How far memory and disk are promised, as settings say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Free disk that is reserved for each VM.
    pub(crate) disk_reserve_bytes: u64,
    /// The VMs may declare this many times the host's memory.
    pub(crate) memory_overcommit: f64,
}

/// What the host has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    /// All memory; none where the kernel does not say.
    pub(crate) memory_mib: Option<u64>,
    /// What can be given away without swapping; none where the kernel does not say.
    pub(crate) available_mib: Option<u64>,
    /// Free disk where VMs write.
    pub(crate) free_bytes: u64,
}

/// What VMs that start or run are promised already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Memory that all of them declare.
    pub(crate) declared_mib: u64,
    /// Memory of those that have only begun to start, and so have not taken it yet.
    pub(crate) starting_mib: u64,
    /// Disk that they are owed.
    pub(crate) owed_bytes: u64,
}

impl Host {
    /// The host as it is now. `dir` is where VMs write.
    ///
    /// # Errors
    /// When the file system does not say what is free.
    pub(crate) fn now(dir: &Path) -> Result<Self, QemuError> {
        let free_bytes = unix::free_bytes(dir).map_err(QemuError::io("ask for free space of", dir))?;
        let memory = proc::memory_mib();
        Ok(Self { memory_mib: memory.total, available_mib: memory.available, free_bytes })
    }
}

/// Checks that `dir` has room for a file of so many bytes. `purpose` says what for: "building an image".
///
/// # Errors
/// When it has not, or the file system does not say.
pub(crate) fn require_for_file(dir: &Path, bytes: u64, purpose: &str) -> Result<(), QemuError> {
    let free = unix::free_bytes(dir).map_err(QemuError::io("ask for free space of", dir))?;
    if free >= bytes {
        return Ok(());
    }
    let (purpose, dir) = (purpose.to_owned(), dir.to_owned());
    Err(Shortage::File { purpose, need_mib: bytes >> 20, free_mib: free >> 20, dir }.into())
}

impl Promised {
    /// Adds a VM that runs and has written so much.
    pub(crate) fn add_running(&mut self, policy: &Policy, memory_mib: u32, written_bytes: u64) {
        self.declared_mib += u64::from(memory_mib);
        self.owed_bytes += policy.disk_reserve_bytes.saturating_sub(written_bytes);
    }

    /// Adds a VM that has begun to start.
    pub(crate) fn add_starting(&mut self, policy: &Policy, memory_mib: u32) {
        self.starting_mib += u64::from(memory_mib);
        self.add_running(policy, memory_mib, 0);
    }
}

impl Policy {
    /// Decides whether a VM of this size fits.
    pub(crate) fn admit(&self, memory_mib: u32, host: &Host, promised: &Promised) -> Result<(), Shortage> {
        self.admit_memory(memory_mib, host, promised)?;
        let need_bytes = promised.owed_bytes.saturating_add(self.disk_reserve_bytes);
        if host.free_bytes < need_bytes {
            return Err(Shortage::Disk {
                free_mib: host.free_bytes >> 20,
                owed_mib: promised.owed_bytes >> 20,
                reserve_mib: self.disk_reserve_bytes >> 20,
            });
        }
        Ok(())
    }

    /// The part of it that is about memory.
    pub(crate) fn admit_memory(&self, memory_mib: u32, host: &Host, promised: &Promised) -> Result<(), Shortage> {
        let memory = u64::from(memory_mib);
        if let Some(host_mib) = host.memory_mib
            && promised.declared_mib + memory > self.times_overcommit(host_mib)
        {
            let (declared_mib, overcommit) = (promised.declared_mib, self.memory_overcommit);
            return Err(Shortage::DeclaredMemory { memory_mib, declared_mib, host_mib, overcommit });
        }
        let need = memory + promised.starting_mib + RESERVE_MIB;
        match host.available_mib {
            Some(available_mib) if need > self.times_overcommit(available_mib) => {
                let (starting_mib, reserve_mib) = (promised.starting_mib, RESERVE_MIB);
                Err(Shortage::Memory { memory_mib, available_mib, starting_mib, reserve_mib })
            }
            _ => Ok(()),
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn times_overcommit(&self, mib: u64) -> u64 {
        // Exact up to 2^53 MiB; a result beyond u64 is cut to its largest value.
        (mib as f64 * self.memory_overcommit.max(LEAST_OVERCOMMIT)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn check(overcommit: f64, host: (u64, u64, u64), running: &[(u32, u64)], starting: &[u32], expect: &str) {
        let policy = Policy { disk_reserve_bytes: 2 * GIB, memory_overcommit: overcommit };
        let (total, available, free_gib) = host;
        let host = Host { memory_mib: Some(total), available_mib: Some(available), free_bytes: free_gib * GIB };
        let mut promised = Promised::default();
        running.iter().for_each(|(memory, written_gib)| promised.add_running(&policy, *memory, written_gib * GIB));
        starting.iter().for_each(|memory| promised.add_starting(&policy, *memory));
        let said = policy.admit(1024, &host, &promised).map_or_else(|e| e.to_string(), |()| "fits".to_owned());
        assert!(said.starts_with(expect), "{running:?} {starting:?}: {said}");
    }

    #[test]
    fn declared_memory_is_bounded_by_the_hosts() {
        check(1.0, (4096, 4000, 99), &[(1024, 0); 3], &[], "fits");
        check(
            1.0,
            (4095, 4000, 99),
            &[(1024, 0); 3],
            &[],
            "a VM of 1024 MiB does not fit: the VMs of this host declare",
        );
        check(1.5, (4095, 4000, 99), &[(1024, 0); 3], &[], "fits");
        check(
            0.5,
            (4096, 4000, 99),
            &[(1024, 0); 2],
            &[],
            "a VM of 1024 MiB does not fit: the VMs of this host declare",
        );
    }

    #[test]
    fn available_memory_is_left_to_those_that_start() {
        check(1.0, (9000, 1280, 99), &[(1024, 0)], &[], "fits");
        check(1.0, (9000, 1279, 99), &[(1024, 0)], &[], "a VM of 1024 MiB does not fit: 1279 MiB");
        check(1.0, (9000, 2000, 99), &[], &[1024], "a VM of 1024 MiB does not fit: 2000 MiB");
        check(2.0, (9000, 1279, 99), &[(1024, 0)], &[], "fits");
    }

    #[test]
    fn disk_is_left_to_those_that_were_promised_some() {
        check(1.0, (9000, 9000, 2), &[], &[], "fits");
        check(1.0, (9000, 9000, 1), &[], &[], "1024 MiB of disk are free");
        check(1.0, (9000, 9000, 3), &[(1024, 1)], &[], "fits");
        check(1.0, (9000, 9000, 3), &[(1024, 0)], &[], "3072 MiB of disk are free");
        check(1.0, (9000, 9000, 3), &[], &[1024], "3072 MiB of disk are free");
        // What a VM has written beyond its reservation is nobody's debt.
        check(1.0, (9000, 9000, 2), &[(1024, 7)], &[], "fits");
    }
}
