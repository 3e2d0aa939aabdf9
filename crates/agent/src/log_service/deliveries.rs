//! Runs the deliveries of all logs.
//!
//! They share a thread with a runtime of its own as long as there are any. Searching lines for patterns and encrypting
//! them takes time, and neither supervision nor answers wait for that.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::delivery::Delivery;
use super::{Log, LogService};
use crate::lock::lock;
use crate::spool::Spool;

/// Number of batches that are made and sent at a time. Each holds up to half a megabyte.
const SENDS: usize = 8;

/// The deliveries of an agent.
#[derive(Debug)]
pub(crate) struct Deliveries {
    running: Mutex<Running>,
    sends: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Running {
    logs: JoinSet<()>,
    thread: Option<Thread>,
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Thread {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("logs".into()).spawn(move || {
            // The other end says nothing; it is dropped, and that is the end.
            drop(runtime.block_on(ended));
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _end: end })
    }
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { running: Mutex::default(), sends: Arc::new(Semaphore::new(SENDS)) }
    }
}

/// A delivery that can be waited for.
#[derive(Debug)]
pub(crate) struct Delivered {
    done: watch::Receiver<bool>,
    service: Arc<LogService>,
}

impl Deliveries {
    /// Starts to deliver what a spool holds and will hold.
    pub(crate) fn begin(&self, service: Arc<LogService>, log: Log, spool: &Spool) -> Option<Delivered> {
        let delivery = Delivery::new(Arc::clone(&service), log, spool, Arc::clone(&self.sends))?;
        let (finished, done) = watch::channel(false);
        self.also(async move {
            delivery.run().await;
            // Nobody may wait for it.
            finished.send_replace(true);
        });
        Some(Delivered { done, service })
    }

    /// Runs other work on the same thread, which the end of the stage waits for as well.
    pub(crate) fn also(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = lock(&self.running);
        let Running { logs, thread } = &mut *running;
        // Those that have ended are forgotten.
        while logs.try_join_next().is_some() {}
        if thread.is_none() {
            *thread =
                Thread::start().inspect_err(|error| tracing::warn!(%error, "logs have no thread of their own")).ok();
        }
        match thread {
            Some(thread) => logs.spawn_on(work, &thread.runtime),
            None => logs.spawn(work),
        };
    }

    /// Waits for all deliveries after the output of all steps has ended. What is not delivered in time is given up.
    pub(crate) async fn finish(&self, within: Duration) {
        let Running { mut logs, thread } = std::mem::take(&mut *lock(&self.running));
        let all = async { while logs.join_next().await.is_some() {} };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!(logs = logs.len(), "the stage ends before all of its logs are delivered");
        }
        logs.shutdown().await;
        drop(thread);
    }
}

impl Delivered {
    /// Waits for the delivery as long as no call to its service fails, and for a limited time.
    pub(crate) async fn settled(mut self) {
        let patience = self.service.pace.patience;
        let mut failing = self.service.failing.subscribe();
        // The sender lives in the service.
        let unwell = async { drop(failing.wait_for(|failing| *failing).await) };
        tokio::select! {
            biased;
            // An error means that the delivery was given up.
            _ = self.done.wait_for(|done| *done) => {}
            () = unwell => {}
            () = tokio::time::sleep(patience) => {}
        }
    }
}
