//! The agent inside the VM: runs steps, supervises them and serves their output over mTLS.
//!
//! ```text
//!  server ── http (routes) ── agent (the one stage) ── step::Registry ── step::Step
//!                                │
//!                        supervise::run: start, limits, stop, result
//!                                │                 │
//!        host, container (what runs)      supervise::pump (thread): output → mask → spool (disk) ← readers at any offset
//!                                │                 │
//!                                os (the one place that names an operating system)
//! ```
//!
//! What must hold: a step's result is published once and kept; its whole process tree ends with its timeout, its
//! cancel or destroy; no reader, slow or gone, can hold a step; memory does not grow with what a step prints; a
//! secret never reaches the spool.

pub mod agent;
pub mod archive;
mod bulk;
pub mod container;
pub mod credentials;
pub mod dotenv;
pub mod durations;
pub mod ending;
pub mod glob;
pub mod host;
pub mod http;
mod journal;
pub mod load;
mod lock;
pub mod log;
pub mod machine;
pub mod os;
mod outgoing;
pub mod server;
pub mod settings;
pub mod spool;
pub mod stage;
pub mod step;
pub mod supervise;
pub mod tls;
pub mod watchdog;

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
