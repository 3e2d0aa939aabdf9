//! Pipeline YAML (Harness v0, Drone) to a checked plan of stages and steps.
//!
//! ```text
//! bytes ──yaml──► tree with places ──schema──► keys and types checked ──harness | drone──► Plan
//!                                                                     └──► Diagnostics ──report──► text, JSON
//! Plan ──scope, condition, strategy, failure──► what the executor asks while it runs
//! ```
//!
//! The crate does no I/O, reads no clock and no environment. What a file says is in the [`plan::Plan`] or in a
//! diagnostic; nothing is left out silently.

pub mod condition;
pub mod diagnostic;
mod dialect;
pub mod drone;
pub mod duration;
pub mod expr;
pub mod facts;
pub mod failure;
pub mod harness;
mod load;
pub mod plan;
pub mod report;
pub mod requirements;
pub mod schema;
pub mod scope;
pub mod strategy;
pub mod yaml;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use load::{Loaded, Options, Status, load};
pub use plan::{Dialect, Plan};

/// One JSON Schema for files of either dialect, for editors.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schema::json::whole(harness::schema(), drone::schema())
}
