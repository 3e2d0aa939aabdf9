//! What every file that a person writes for Kiln has in common, whatever it says.
//!
//! ```text
//! bytes ──yaml──► tree with places ──schema──► keys and kinds checked ──► a reader of the file's own crate
//!                        └──────────────┴────► findings ──report──► text, JSON
//! ```
//!
//! The crate knows no file format of its own: the tables of keys and the readers live with whoever owns the format. It
//! does no I/O and reads no clock and no environment.

pub mod count;
pub mod diagnostic;
pub mod duration;
mod lookalike;
pub mod report;
pub mod schema;
pub mod yaml;

pub use diagnostic::{Diagnostic, Location, Severity};
pub use report::{Report, Status};
