//! Linux.

pub(crate) mod account;
mod cgroup;
mod child;
mod clone;
pub(crate) mod engine;
pub(crate) mod engine_proxy;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod identity;
pub(crate) mod load;
pub(crate) mod local;
pub(crate) mod machine;
pub mod memory;
pub(crate) mod net;
mod oom;
pub(crate) mod orphans;
pub(crate) mod output;
pub(crate) mod power;
mod proc;
pub(crate) mod process;
pub mod program;
mod spawn;
pub(crate) mod terminal;
pub(crate) mod tools;
mod tree;
mod wait;
