//! Asks agents whether they answer, which also renews the lease after which an instance powers itself off.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use kiln_pool::plan::pool_lease;
use kiln_pool::{Cause, Instance, InstanceId, State};

use crate::Engine;

/// Pause between two rounds of questions, in milliseconds.
pub const PROBE_EVERY_MS: i64 = 20_000;
/// Most agents that are asked at the same time.
const PROBES_AT_ONCE: usize = 64;

impl Engine {
    /// Asks every agent again and again, for ever.
    pub async fn probe_for_ever(self: Arc<Self>) {
        loop {
            self.probe().await;
            let until = self.host.uptime_ms() + PROBE_EVERY_MS;
            while self.host.uptime_ms() < until {
                // Signals are for others.
                self.host.wait(u64::MAX, until - self.host.uptime_ms()).await;
            }
        }
    }

    /// Asks the agents of all instances that are ready or serve a stage, in pools that this runner works on or worked on
    /// last. While the store cannot be read or written, the instances of the latest successful read are asked: the
    /// leases of their VMs must not run out.
    pub async fn probe(self: &Arc<Self>) {
        let rows = self.contacts().await;
        let probes = rows.into_iter().map(|row| {
            let engine = Arc::clone(self);
            async move {
                let answer = engine.agents.health(&row).await;
                engine.note_health(&row.id, answer);
            }
        });
        futures::stream::iter(probes).buffer_unordered(PROBES_AT_ONCE).for_each(|()| async {}.boxed()).await;
    }

    async fn contacts(&self) -> Vec<Instance> {
        match self.store.live_instances().await {
            Ok(rows) => self.note_contacts(&rows),
            Err(error) => {
                tracing::warn!(%error, "the rows cannot be read; the latest known agents are asked");
            }
        }
        self.memory().contacts.values().cloned().collect()
    }

    /// Remembers the instances whose agents are asked from now on.
    pub(crate) fn note_contacts(&self, rows: &[Instance]) {
        let mut memory = self.memory();
        let leases = memory.leases.last_known();
        let ours = |row: &&Instance| {
            matches!(row.state, State::Ready | State::Claimed) && leases.contains(&pool_lease(&row.pool, &row.site))
        };
        memory.contacts = rows.iter().filter(ours).map(|row| (row.id.clone(), row.clone())).collect();
    }

    fn note_health(&self, id: &InstanceId, answer: Result<Option<Cause>, String>) {
        let now = self.host.now_ms();
        match answer {
            Ok(over) => {
                self.answered(id, now);
                if let Some(cause) = over {
                    self.agent_is_over(id, cause);
                }
            }
            Err(why) => {
                tracing::debug!(instance = %id, why, "its agent does not answer");
                let (uptime, mut memory) = (self.host.uptime_ms(), self.memory());
                memory.failing_since.entry(id.clone()).or_insert(uptime);
                memory.health.entry(id.clone()).or_default().failing_since_ms.get_or_insert(now);
            }
        }
    }

    /// Notes that an agent said that it serves no stage any more. The next pass, which comes at once, ends its instance with
    /// this cause, and the stage with it. The first cause counts.
    pub fn agent_is_over(&self, id: &InstanceId, cause: Cause) {
        let mut memory = self.memory();
        let over = &mut memory.health.entry(id.clone()).or_default().over;
        if over.is_none() {
            tracing::warn!(instance = %id, %cause, "an agent no longer serves its stage");
            *over = Some(cause);
            drop(memory);
            self.host.signal();
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
