//! The working tree as a compressed stream: what git would carry, plus what is not committed yet.
//!
//! ```text
//! tree: what is sent ──► repository: what of a `.git` ──► settings: its configuration ──► url
//!  └── stream: packs it
//! ```
//! `.gitignore` files are obeyed, because build products of this machine do not belong on another; `.git` itself goes
//! along, because builds ask it for versions. What git would use to prove who the user is stays here.

mod repository;
mod settings;
mod stream;
mod tree;
mod url;

#[cfg(test)]
mod tests;

pub use stream::empty;
pub use tree::Tree;
pub use url::without_credentials;
