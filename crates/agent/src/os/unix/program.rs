//! The agent's own process.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

pub use super::orphans::adopt as adopt_orphans;

/// From -1000, never, to 1000, first of all.
const OOM_SCORE: &str = "-900";

/// Gives a future that is ready when the agent is asked to end, by SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be listened to.
pub fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// When memory runs out, a step is to go, not its supervisor.
///
/// # Errors
/// When this is not allowed: only root may say so.
pub fn spare_when_memory_runs_out() -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE)
}
