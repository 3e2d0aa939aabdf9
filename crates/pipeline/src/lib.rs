//! Pipeline YAML (Harness v0, Drone) to a checked plan of stages and steps.
//!
//! ```text
//! bytes ──kiln_document──► tree with places ──harness | drone──► Plan
//!                                                     └──► findings in a kiln_document::Report
//! Plan ──scope, condition, strategy, failure──► what the executor asks while it runs
//! ```
//!
//! The crate does no I/O and reads no clock and no environment. Whatever a file says is in the [`Plan`] or in a finding;
//! nothing is left out silently.

mod builders;
pub mod condition;
mod dialect;
pub mod drone;
pub mod environment;
pub mod expr;
pub mod facts;
pub mod failure;
pub mod harness;
mod load;
mod options;
pub mod plan;
mod quantity;
pub mod reach;
pub mod requirements;
pub mod scope;
mod secret;
pub mod strategy;

pub use load::{Loaded, load};
pub use options::{Options, Source};
pub use plan::{Dialect, Plan};

/// Returns one JSON Schema for files of either dialect, for editors.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let ((harness, definitions), (drone, of_drone)) = (harness::schema(), drone::schema());
    let mut definitions = definitions.into_map();
    definitions.extend(of_drone.into_map());
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline that Kiln reads",
        "type": "object",
        "if": { "required": ["pipeline"] },
        "then": harness,
        "else": { "required": ["kind"], "allOf": [drone] },
        "$defs": definitions,
    })
}
