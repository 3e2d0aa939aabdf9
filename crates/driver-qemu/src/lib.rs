//! Local VMs: images, golden snapshots and clones on QEMU
