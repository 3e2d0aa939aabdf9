//! Caches and uploads: what of a stage's files is kept beyond it.
//!
//! ```text
//! step ──► steps ──┐
//! stage ─► stage ──┴─► keeper: key, restore, save, upload ──► the instance's agent
//!                                                        └──► the stores of the run
//! ```
//! All bytes go through this process, from the agent to a store or back. No instance knows where that is.

mod failure;
mod keeper;
mod key;
mod owner;
mod restore;
mod save;
mod stage;
mod steps;
mod upload;

pub(crate) use steps::Keeping;
