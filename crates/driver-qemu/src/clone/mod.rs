//! Clones of golden VMs, which are the instances: how they start, who owns them, and what happens to them after their owner.

pub(crate) mod adopt;
pub(crate) mod book;
pub(crate) mod disk_watch;
pub(crate) mod instance;
pub(crate) mod owner;
pub(crate) mod reap;
pub(crate) mod record;
