//! The pool file: YAML in the incumbent's words to a checked configuration of pools.
//!
//! ```text
//! bytes ──yaml──► tree with places ──substitute──► values known ──tables──► keys and kinds checked
//!                   ──instance, flavors, additions──► kiln_pool::Config
//!                                              └────► findings ──► text, JSON
//! ```
//!
//! The crate does no I/O and reads no clock and no environment: the caller passes the variables in. Whatever a file says is
//! in the configuration or in a finding; nothing is left out silently. `docs/pool-file.md` describes the file for people.

mod additions;
mod amazon;
mod driver;
mod file;
mod flavors;
mod instance;
mod json;
mod load;
mod local;
mod qemu;
mod reader;
mod secrets;
mod spelling;
mod substitute;
mod tables;
mod tenant;
mod variant;

pub use load::{Loaded, Options, load};
pub use local::default_qemu;
