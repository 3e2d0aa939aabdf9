//! The runner: its HTTP API, its connections to agents, its process.
//!
//! What is to be done is decided in `kiln-pool` and carried out by `kiln-engine`; here both meet the world.

pub mod agents;
pub mod clock;
pub mod core;
pub mod host;
pub mod http;
pub mod over;
pub mod pools;
pub mod service;
pub mod stages;
