//! The agent inside the VM: runs steps, supervises them and serves their output over mTLS.
//!
//! ```text
//!  server ── http (routes) ── agent (the one stage) ── step::Registry ── step::Step
//!                                                                          │
//!                                           exec::run: spawn, wait, end the tree
//!                                                                          │
//!                           exec::pump (thread): pipe → mask → spool (disk) ← readers at any offset
//! ```
//!
//! What must hold: a step's result is published once and kept; its whole process tree ends with its timeout, its
//! cancel or destroy; no reader, slow or gone, can hold a step; memory does not grow with what a step prints; a
//! secret never reaches the spool.

pub mod agent;
pub mod archive;
pub mod dotenv;
pub mod exec;
pub mod glob;
pub mod http;
pub mod load;
pub mod log;
pub mod machine;
pub mod mask;
pub mod server;
pub mod settings;
pub mod spool;
pub mod stage;
pub mod step;
pub mod watchdog;

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
