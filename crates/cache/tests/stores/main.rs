//! Stores, as runs use them.

mod directory;
mod rig;
