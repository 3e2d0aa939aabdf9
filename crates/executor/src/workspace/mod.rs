//! The working tree as a compressed stream: what git would carry, plus what is not committed yet.
//!
//! ```text
//! git, walk: lists a folder
//!     ▲
//! sources: reads a tree ──► repository: what of a `.git` ──► settings: its configuration ──► url
//!     │                          ├──► objects: what it borrows from others
//!     └──────────────────────────┴──► tree: what is sent ──► stream: packs it ──► frames: compressed where pace says so
//!                                       └──► left: what is not
//! ```
//! Git itself says which files there are: the tracked ones, and others that are not ignored, because build products of this machine do
//! not belong on another. Without git, or in a folder without a repository, the patterns of `.gitignore` decide. `.git` goes along
//! whole, because builds ask it for versions; only what git would use to prove who the user is stays here.

mod frames;
mod git;
mod left;
mod names;
mod objects;
mod pace;
mod repository;
mod settings;
mod sources;
mod stream;
mod tree;
mod url;
mod walk;

#[cfg(test)]
mod tests;

pub use git::git;
pub use sources::read;
pub use stream::empty;
pub use tree::Tree;
pub use url::without_credentials;
