//! Keeps caches and artifacts of stages in a directory or an S3-compatible store.
//!
//! ```text
//! keys/HASH.json   one for each key: what it is, how it was packed, and the name and sum of its archive
//! data/ID          the archives, each under a name of its own
//! artifacts/...    what steps upload, under the names that they give
//! ```
//! An archive is written first and its key last, by one write that the store makes whole or not at all. So nobody sees half an
//! archive, whoever is killed when: of several that save one key, the last one to end wins, and what nobody refers to is removed when
//! the store is pruned. The key says where an archive's files go, not the archive, which was made in a VM.
//!
//! This crate reads no environment and prints nothing.

mod artifacts;
mod build_tools;
mod crypto;
mod entry;
mod error;
pub mod key;
mod location;
mod parts;
mod profile;
mod prune;
mod read;
mod save;
mod store;

pub use artifacts::Upload;
pub use build_tools::{BUILD_TOOLS, BuildTool};
pub use entry::{Entry, Listed, Name, Scope};
pub use error::{Error, Reason};
pub use kiln_tls::Sha256;
pub use location::{Location, LocationError, S3};
pub use profile::{ProfileError, settings};
pub use prune::{Limits, Pruned};
pub use read::{Fault, Reading};
pub use save::{Saved, Saving, Wanted};
pub use store::{Lookup, Store};
