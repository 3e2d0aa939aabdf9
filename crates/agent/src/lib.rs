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
//!
//!  log_service: spool ──► the log service of a stage, over web (requests of the agent's own)
//! ```
//!
//! What must hold: a step's result is published once and kept; its whole process tree ends with its timeout, its
//! cancel or destroy; no reader, slow or gone, can hold a step; memory does not grow with what a step prints; a
//! secret never reaches the spool.

pub mod agent;
mod annotations;
pub mod archive;
mod bulk;
pub mod container;
pub mod credentials;
pub mod dotenv;
pub mod durations;
pub mod egress;
pub mod ending;
pub mod glob;
pub mod host;
pub mod http;
mod identities;
mod journal;
pub mod load;
mod lock;
pub mod log;
pub mod log_service;
pub mod machine;
mod metrics;
mod moment;
pub mod os;
mod outgoing;
pub mod server;
mod services;
pub mod settings;
pub mod spool;
pub mod stage;
pub mod step;
pub mod supervise;
pub mod tls;
pub mod watchdog;
mod web;

/// Version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
