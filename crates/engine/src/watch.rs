//! Learns at once that an instance ended by itself, where the driver can tell.

use std::sync::Arc;

use futures::FutureExt as _;
use kiln_pool::{Instance, State};

use crate::Engine;

impl Engine {
    /// Waits beside the passes for the end of each instance of ours that runs, and signals then. The next pass finds out
    /// what it means.
    pub(crate) fn watch_ends(self: &Arc<Self>, instances: &[Instance]) {
        for row in instances.iter().filter(|i| matches!(i.state, State::Booting | State::Ready | State::Claimed)) {
            let Some(driver) = self.drivers.get(&row.driver).cloned() else { continue };
            if !self.memory().watched.insert(row.id.clone()) {
                continue;
            }
            let (engine, id) = (Arc::clone(self), row.id.clone());
            let work = async move {
                let evidence = driver.ended(id.as_str()).await;
                tracing::debug!(instance = %id, evidence, "the instance ended");
                engine.host.signal();
            };
            self.host.spawn(work.boxed());
        }
    }
}
