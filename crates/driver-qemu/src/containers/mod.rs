//! Container images in VM images, so that a step's first use of them pulls nothing.
//!
//! ```text
//! reference ─registry─► manifest, blobs ─archive─► one raw disk ─loader (a VM)─► overlay ─flatten─► layer
//! ```
//! The host asks the registries, so that credentials enter no VM, and needs no engine of its own. The engine in the VM image
//! unpacks what was fetched, in a VM that does nothing else. A layer is put in place whole or not at all; until then all VMs
//! go on with what they have.

mod archive;
mod build_cache;
mod credentials;
mod error;
mod fetch;
mod loader;
mod openings;
mod preload;
mod reference;
mod registry;
mod shelf;
mod wish;

pub(crate) use build_cache::check_build_cache;
pub use error::ContainerError;
pub use preload::{Preloaded, Pull};
pub(crate) use reference::{check_mirror, check_registry, parse};
pub(crate) use shelf::forget_unused;
pub(crate) use wish::Wish;
