//! Reads the pool file: YAML in the incumbent's format, into a checked configuration of pools.
//!
//! ```text
//! bytes ──yaml──► tree with places ──substitute──► values known ──tables──► keys and kinds checked
//!                   ──instance, flavors, additions──► kiln_pool::Config
//!                                              └────► findings ──► text, JSON
//! ```
//!
//! The crate does no I/O and reads no clock and no environment. The caller passes in the variables and the [`Section`]
//! of each driver, which owns the words of `spec`. Everything in a file ends up in the configuration or in a finding;
//! nothing is dropped silently. `docs/pool-file.md` describes the file for people.

pub mod amazon;
#[cfg(feature = "test-support")]
pub mod conformance;
pub mod json;
pub mod section;

mod additions;
mod file;
mod flavors;
mod instance;
mod limit;
mod load;
mod network;
mod reader;
mod secrets;
mod spec;
mod spelling;
mod substitute;
mod tables;
mod tenant;
mod types;
mod variant;

pub use load::{Loaded, MAX_BYTES, Options, load};
pub use section::Section;
