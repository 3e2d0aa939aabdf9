//! The agent's own process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

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

/// Tells when this process goes on after it was stopped.
pub(crate) struct Resumed(Option<Signal>);

/// Listens to that from now on. Where it cannot be listened to it is never told.
pub(crate) fn resumed() -> Resumed {
    let heard = signal(SignalKind::from_raw(nix::libc::SIGCONT));
    Resumed(heard.inspect_err(|error| tracing::warn!(%error, "it is not noticed when the agent is stopped")).ok())
}

impl Resumed {
    /// Returns the next time.
    pub(crate) async fn next(&mut self) {
        let told = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if told.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// When memory runs out, a step is to go, not its supervisor.
///
/// # Errors
/// When this is not allowed: only root may say so.
pub fn spare_when_memory_runs_out() -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", OOM_SCORE)
}
