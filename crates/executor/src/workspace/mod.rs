//! The working tree as a compressed stream: what git would carry, plus what is not committed yet.
//!
//! ```text
//! sources: reads a tree ──► repository: what of a `.git` ──► settings: its configuration ──► url
//!     └──────────────────────────┴──► tree: what is sent ──► stream: packs it
//! ```
//! `.gitignore` files are obeyed, because build products of this machine do not belong on another; `.git` itself goes
//! along, because builds ask it for versions. What git would use to prove who the user is stays here.

mod repository;
mod settings;
mod sources;
mod stream;
mod tree;
mod url;

#[cfg(test)]
mod tests;

pub use sources::read;
pub use stream::empty;
pub use url::without_credentials;
