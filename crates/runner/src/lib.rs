//! The runner: its HTTP API, its connections to agents, its process.
//!
//! `kiln-pool` decides and `kiln-engine` acts; this crate connects both to the world.

pub mod agents;
pub mod clock;
pub mod core;
pub mod host;
pub mod http;
pub mod over;
pub mod pools;
pub mod service;
pub mod stages;
