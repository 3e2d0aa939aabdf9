//! The engine's environment in a real process: clock, ids, spawning, signals.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::Host;
use tokio::sync::watch;

use crate::clock;

/// The clock, ids, tasks and signals of this process, on tokio.
pub struct TokioHost {
    epoch_ms: i64,
    started_ms: i64,
    signals: watch::Sender<u64>,
}

impl Default for TokioHost {
    /// Takes the epoch from the wall clock.
    fn default() -> Self {
        Self::with_epoch(clock::wall_ms() - clock::boot_ms())
    }
}

impl TokioHost {
    /// Takes the time at which the host booted, in milliseconds since 1970.
    #[must_use]
    pub fn with_epoch(epoch_ms: i64) -> Self {
        Self { epoch_ms, started_ms: clock::boot_ms(), signals: watch::Sender::new(0) }
    }
}

impl Host for TokioHost {
    fn now_ms(&self) -> i64 {
        self.epoch_ms + clock::boot_ms()
    }

    fn uptime_ms(&self) -> i64 {
        clock::boot_ms() - self.started_ms
    }

    fn new_token(&self) -> String {
        format!("kiln-{}", uuid::Uuid::now_v7().simple())
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }

    fn signals(&self) -> u64 {
        *self.signals.borrow()
    }

    fn wait(&self, seen: u64, limit_ms: i64) -> BoxFuture<'static, ()> {
        let mut signals = self.signals.subscribe();
        let limit = Duration::from_millis(u64::try_from(limit_ms).unwrap_or(0));
        async move {
            let more = signals.wait_for(|count| *count > seen);
            // In either case the caller looks again.
            drop(tokio::time::timeout(limit, more).await);
        }
        .boxed()
    }

    fn signal(&self) {
        self.signals.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_signal_between_looking_and_waiting_is_not_missed() {
        let host = TokioHost::default();
        let seen = host.signals();
        host.signal();
        let since = tokio::time::Instant::now();
        host.wait(seen, 60_000).await;
        assert_eq!(since.elapsed(), Duration::ZERO);
        host.wait(host.signals(), 60_000).await;
        assert_eq!(since.elapsed(), Duration::from_secs(60));
    }
}
