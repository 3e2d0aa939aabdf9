//! Learns at once that an instance ended by itself, where the driver can tell.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::AbortHandle;
use kiln_pool::{Instance, State};

use crate::{Engine, Watch};

impl Engine {
    /// Waits beside the passes for the end of each instance that runs at an open site, remembers how it ended, and signals.
    /// The next pass finds out what it means.
    pub(crate) fn watch_ends(self: &Arc<Self>, instances: &[Instance]) {
        for row in instances.iter().filter(|i| matches!(i.state, State::Booting | State::Ready | State::Claimed)) {
            let Some(driver) = self.driver_of(&row.site) else { continue };
            let (stop, stopped) = AbortHandle::new_pair();
            {
                let mut memory = self.memory();
                if memory.watched.contains_key(&row.id) {
                    continue;
                }
                memory.watched.insert(row.id.clone(), Watch(stop));
            }
            let (engine, id) = (Arc::clone(self), row.id.clone());
            let watch = async move {
                let end = driver.ended(id.as_str()).await;
                tracing::debug!(instance = %id, kind = %end.kind, evidence = end.evidence, "the instance ended");
                let mut memory = engine.memory();
                if memory.watched.contains_key(&id) {
                    memory.ends.insert(id, end);
                }
                drop(memory);
                engine.host.signal();
            };
            self.host.spawn(futures::future::Abortable::new(watch, stopped).map(drop).boxed());
        }
    }
}
