//! Whether agents answer. Asking also renews the lease after which an instance powers itself off.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use kiln_pool::{Instance, InstanceId, State};

use crate::Engine;
use crate::world::StoreError;

/// Pause between two rounds.
pub const PROBE_EVERY_MS: i64 = 20_000;
/// Agents that are asked at once.
const PROBES_AT_ONCE: usize = 64;

impl Engine {
    /// Asks every agent again and again, for ever.
    pub async fn probe_for_ever(self: Arc<Self>) {
        loop {
            if let Err(error) = self.probe().await {
                tracing::warn!(%error, "the agents could not be asked in this round");
            }
            let until = self.host.uptime_ms() + PROBE_EVERY_MS;
            while self.host.uptime_ms() < until {
                // Signals are for others.
                self.host.wait(u64::MAX, until - self.host.uptime_ms()).await;
            }
        }
    }

    /// Asks the agent of each instance that is ready or serves a stage, of the pools that are ours.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn probe(self: &Arc<Self>) -> Result<(), StoreError> {
        let leases = self.memory().leases.held(self.host.uptime_ms());
        let rows = self.store.live_instances().await?;
        let asked = |row: &Instance| matches!(row.state, State::Ready | State::Claimed) && leases.contains(&row.pool);
        let probes = rows.into_iter().filter(asked).map(|row| {
            let engine = Arc::clone(self);
            async move {
                let answer = engine.agents.health(&row).await;
                engine.note_health(&row.id, answer);
            }
        });
        futures::stream::iter(probes).buffer_unordered(PROBES_AT_ONCE).for_each(|()| async {}.boxed()).await;
        Ok(())
    }

    fn note_health(&self, id: &InstanceId, answer: Result<(), String>) {
        let now = self.host.now_ms();
        match answer {
            Ok(()) => self.answered(id, now),
            Err(why) => {
                tracing::debug!(instance = %id, why, "its agent does not answer");
                let (uptime, mut memory) = (self.host.uptime_ms(), self.memory());
                memory.failing_since.entry(id.clone()).or_insert(uptime);
                memory.health.entry(id.clone()).or_default().failing_since_ms.get_or_insert(now);
            }
        }
    }

    /// Notes that an agent answered.
    pub fn answered(&self, id: &InstanceId, now_ms: i64) {
        let mut memory = self.memory();
        memory.failing_since.remove(id);
        let health = memory.health.entry(id.clone()).or_default();
        (health.answered_ms, health.failing_since_ms) = (Some(now_ms), None);
    }
}
