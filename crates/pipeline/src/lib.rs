//! Pipeline YAML (Harness v0, Drone) to a checked plan of stages and steps.

pub mod diagnostic;
pub mod duration;
pub mod schema;
pub mod yaml;
