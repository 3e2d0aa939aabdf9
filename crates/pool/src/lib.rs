//! Pools of instances as pure data and decisions: states, matching, sizing, plan.
//!
//! ```text
//! pool file ──► config ─┐
//! rows ─────────────────┼─► plan() ──► actions, each with its reason
//! cloud, agents ────────┘
//! ```
//! Nothing here does I/O, is async, or reads a clock or randomness: decisions depend on the arguments alone. So the
//! same code decides in a runner and in the simulated world that checks it.

pub mod cause;
pub mod config;
pub mod id;
pub mod instance;
pub mod life;
pub mod network;
pub mod plan;
pub mod request;
pub mod schedule;
pub mod site;
pub mod stage;
pub mod subject;
pub mod wait;

pub use cause::{Cause, Code};
pub use config::{Config, Flavor, Pool, Timing};
pub use id::{InstanceId, StageId};
pub use instance::{Instance, State};
pub use life::{End, EndKind, Life};
pub use network::Network;
pub use request::{Request, candidates};
pub use site::SiteId;
pub use stage::{Candidate, Stage, StageState};
pub use subject::Subject;
pub use wait::WaitReason;
