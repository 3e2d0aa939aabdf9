//! What the host has and does: processes, programs, locks, files, room.

pub(crate) mod cgroup;
pub(crate) mod files;
pub(crate) mod ids;
pub(crate) mod lines;
pub(crate) mod lock;
pub(crate) mod peer;
pub(crate) mod proc;
pub(crate) mod program;
pub(crate) mod room;
pub(crate) mod unix;
