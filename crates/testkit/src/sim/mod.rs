//! The simulated world: the **real** engine on a virtual clock, with a store, clouds, agents, clients and operators
//! that follow from a seed.
//!
//! ```text
//! seed ─► setting, faults, people ─► N steps with faults ─► calm: everybody behaves ─► everything must settle
//!                                      │ after each step: invariants                    (liveness)
//! ```
//! A step is one decision of the scheduler: one ready task continues, or time does. Every call of the engine registers,
//! takes effect at a later step and is answered at a still later one, so that a crash may fall before or after any
//! effect. The same seed gives the same transcript, byte for byte.

pub mod agents;
pub mod clients;
pub mod clock;
pub mod cloud;
pub mod command;
pub mod crowd;
pub mod driver;
pub mod executor;
pub mod fault;
pub mod invariant;
mod launch;
pub mod rng;
pub mod rows;
mod run;
pub mod runner;
pub mod scenario;
pub mod setting;
mod settle;
pub mod store;
pub mod transcript;
pub mod trouble;
pub mod world;

pub use run::{Outcome, Plan, run};
