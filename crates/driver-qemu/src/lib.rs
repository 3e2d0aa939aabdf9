//! Local VMs: images, golden snapshots and clones on QEMU.
//!
//! ```text
//! Images ──► Golden (boots once through cloud-init, saved at rest) ──► clone per instance (0.1 s)
//! ```
//! A clone is a copy of a booted machine: until the agent's claim has given it its own name, clock, entropy and keys, it is
//! identical to every other clone, so [`kiln_driver::Launched::needs_claim`] is always true here. VMs need no root.
//!
//! VMs of [`Ownership::Process`] die with the process that owns them: the kernel kills them even on `kill -9`, and the next
//! owner removes their files. VMs of [`Ownership::Named`] go on, also after `kill -9`, and the next process of that name has
//! them in its listing, with their labels and addresses, and can end them. A service manager must be told not to kill them
//! along with the service (systemd: `KillMode=process`).
//!
//! A VM reaches the network through QEMU's own user-mode stack. That stack also lets it reach the host's loopback, as
//! 10.0.2.2: a service on this host that trusts whoever connects from loopback trusts the steps too, unless it asks [`is_vm`].
//!
//! The library prints nothing and reads no environment: the caller gives a [`Layout`], [`Settings`] and a [`Listener`].

mod accel;
mod adopt;
mod book;
mod console;
mod doctor;
mod driver;
mod error;
mod golden;
mod host;
mod images;
mod instance;
mod lock;
mod log;
mod machine;
mod monitor;
mod owner;
mod paths;
mod peer;
mod process;
mod program;
mod progress;
mod qmp;
mod reap;
mod record;
mod seed;
mod settings;
mod shelf;
mod unix;
mod vm;

pub use accel::{Accel, AccelChoice, PROBE_LIMIT};
pub use doctor::{Check, doctor};
pub use driver::{AgentBinary, QemuDriver};
pub use error::QemuError;
pub use golden::Shape;
pub use images::{Image, Images, Source};
pub use owner::Ownership;
pub use paths::Layout;
pub use peer::is_vm;
pub use progress::{Listener, Progress};
pub use settings::Settings;
