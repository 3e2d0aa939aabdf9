//! The warden of one VM: it makes the connections that the VM may make, and no others.
//!
//! ```text
//!            kiln's process            the VM's network, which is empty but for its loopback
//!  host ◄──── connections ──── QEMU (its sockets, as the warden has made them)
//!   ▲  ▲                        │ connect, sendto …      ▲ 127.0.0.1:AGENT_PORT, forwarded into the guest
//!   │  └── sockets by policy ── warden ─────────────────┘
//!   └───── agent.sock ──────────┘ carries bytes
//! ```
//! Kiln starts the warden's program with [`Orders`]. That process divides itself: one half stays in the host's network and is the
//! warden, the other goes into a network of its own, puts itself under a filter of system calls, and becomes QEMU. So QEMU is
//! Kiln's own child, under the pid that Kiln has seen start, and all that is known of QEMUs holds for it.
//!
//! Each ends with the other: the kernel kills the warden when its parent dies, and QEMU when the pipe closes whose other end only
//! the warden has. A call that nobody answers fails, so nothing is open in between.
//!
//! An ordinary user makes these namespaces in one of users, in which everybody is who he was; root does too, as the VM's own user,
//! so that the warden has no rights over the host either.

mod broker;
mod denials;
mod orders;
mod policy;
mod program;
mod relay;
mod resolvers;
mod setup;
mod unix;

pub(crate) use orders::{Orders, TOLD, Trouble};
pub use program::{WARDEN, WardenProgram};
pub use setup::warden;
