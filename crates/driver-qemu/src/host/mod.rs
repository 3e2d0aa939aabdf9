//! What the host has and does: processes, programs, locks, files, room.

pub(crate) mod cgroup;
pub(crate) mod files;
pub(crate) mod ids;
pub(crate) mod lines;
pub(crate) mod lock;
pub(crate) mod proc;
pub(crate) mod program;
pub(crate) mod room;
pub(crate) mod unix;

use crate::error::QemuError;

/// Does work that blocks (files, forks) on a thread where that holds up nobody. A caller that gives up waiting does not stop
/// it; what it returns is dropped then.
///
/// # Errors
/// Those of the work.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QemuError> + Send + 'static,
) -> Result<T, QemuError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| QemuError::Invalid(error.to_string()))?
}
