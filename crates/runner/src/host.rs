//! The engine's surroundings in a real process: clock, ids, spawning, signals.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_engine::Host;
use kiln_pool::InstanceId;
use tokio::sync::watch;

/// The clock, ids, tasks and signals of this process, on tokio.
pub struct TokioHost {
    started: Instant,
    signals: watch::Sender<u64>,
}

impl Default for TokioHost {
    fn default() -> Self {
        Self { started: Instant::now(), signals: watch::Sender::new(0) }
    }
}

impl Host for TokioHost {
    fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
    }

    fn uptime_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn new_instance_id(&self) -> InstanceId {
        InstanceId::new(format!("kiln-{}", uuid::Uuid::now_v7().simple()))
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
            // Either way the caller looks again.
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
