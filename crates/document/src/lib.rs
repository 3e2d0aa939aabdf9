//! The common base of all files that a person writes for Kiln.
//!
//! ```text
//! bytes ──yaml──► tree with places ──schema──► keys and kinds checked ──► a reader of the file's own crate
//!                        └──────────────┴────► findings ──report──► text, JSON
//! ```
//!
//! The crate knows no file format: the tables of keys and the readers are in the crate of each format. It does no I/O
//! and reads no clock and no environment.

pub mod count;
pub mod diagnostic;
pub mod duration;
mod lookalike;
pub mod report;
pub mod schema;
pub mod yaml;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use report::{Report, Status};
