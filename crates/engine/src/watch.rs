//! Waits for instances to end by themselves, so that the engine learns of it at once where the driver can tell.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::AbortHandle;
use kiln_pool::{Instance, State};

use crate::{Engine, Watch};

impl Engine {
    /// Spawns a wait for the end of each instance that runs at an open site. The end is remembered, and the next pass
    /// judges it.
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
