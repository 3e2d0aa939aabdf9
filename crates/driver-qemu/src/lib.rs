//! Local VMs: images, golden snapshots and clones on QEMU.
//!
//! ```text
//! Images (and containers in them) ──► Golden (boots once through cloud-init, saved at rest) ──► clone per instance (0.1 s)
//! ```
//! A clone is a copy of a booted machine: until the agent's claim has given it its own name, clock, entropy and keys, it is
//! identical to every other clone, so [`kiln_driver::Launched::needs_claim`] is always true here. VMs need no root.
//!
//! VMs of [`Ownership::Process`] die with the process that owns them: the kernel kills them even on `kill -9`, and the next
//! owner removes their files. VMs of [`Ownership::Named`] go on, also after `kill -9`, and the next process of that name has
//! them in its listing, with their labels and addresses, and can end them. A service manager must be told not to kill them
//! along with the service (systemd: `KillMode=process`).
//!
//! A VM reaches the network through QEMU's own user-mode stack, in a network that is empty: its **warden**, a small process beside
//! each QEMU, makes the connections that its launch allows. Whoever opens the host's loopback to a VM, which sees it as 10.0.2.2, lets
//! the steps reach services that trust whoever connects from there.
//!
//! ```text
//! driver ─► clone ─► golden ─► containers ─► images ─► vm (one QEMU) ─► warden ─► host (processes, programs, locks, files)
//! ```
//! A folder uses those to its right, and no file uses one that uses it.
//!
//! The library prints nothing and reads no environment: the caller gives a [`Layout`], [`Settings`] and a [`Listener`].

#![cfg_attr(test, allow(clippy::disallowed_methods))] // Tests start what they like.

mod clone;
mod containers;
mod doctor;
mod driver;
mod error;
#[cfg(test)]
mod full_disk;
mod golden;
mod host;
mod images;
pub mod limits;
mod paths;
mod progress;
mod section;
mod settings;
mod vm;
mod warden;

pub use clone::owner::Ownership;
pub use containers::{ContainerError, Preloaded, Pull};
pub use doctor::{Check, doctor, isolation_check};
pub use driver::{AgentBinary, NAME, QemuDriver};
pub use error::QemuError;
pub use golden::of_image::GoldenUse;
pub use images::build::Addition;
pub use images::{ContainerImage, Image, Images, Layer, Source};
pub use paths::Layout;
pub use progress::{Listener, Progress};
pub use section::{QemuSection, pool};
pub use settings::Settings;
pub use vm::accel::{Accel, AccelChoice};
pub use vm::kvm::PROBE_LIMIT;
pub use vm::machine::Shape;
pub use warden::{WARDEN, WardenProgram, warden};
