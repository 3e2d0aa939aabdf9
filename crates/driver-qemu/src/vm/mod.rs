//! One QEMU, be it a golden VM or a clone: its command line, its process, its monitor and what it writes.

pub(crate) mod accel;
pub(crate) mod acceleration;
pub(crate) mod binary;
pub(crate) mod confinement;
pub(crate) mod console;
pub(crate) mod descriptors;
pub(crate) mod isolation;
pub(crate) mod kvm;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod monitor;
pub(crate) mod process;
pub(crate) mod qemu;
pub(crate) mod qmp;
mod started;
