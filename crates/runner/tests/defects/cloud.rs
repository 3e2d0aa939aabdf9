//! The fake driver, with calls that are recorded and can hang, and agents without machines.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_driver::fake::FakeDriver;
use kiln_driver::{Driver, DriverError, LaunchRequest, Launched, Listed};
use kiln_engine::Agents;
use kiln_pool::{Cause, Instance};
use tokio::sync::watch;

/// A driver that records its calls.
pub struct Cloud {
    pub fake: FakeDriver,
    /// Calls that hang: `list`, `launch`, `answer` (of a launch that was carried out), `destroy ID` or `console ID`.
    pub hanging: watch::Sender<BTreeSet<String>>,
    /// Calls that are hanging now.
    pub waiting: watch::Sender<BTreeSet<String>>,
    /// The time of each launch.
    pub launches_ms: Mutex<Vec<i64>>,
    /// Ids of the ended instances.
    pub destroyed: Mutex<Vec<String>>,
    /// Greatest number of instances at any time.
    pub most: AtomicUsize,
    ahead_ms: Arc<AtomicI64>,
}

impl Cloud {
    pub fn new(ahead_ms: Arc<AtomicI64>) -> Self {
        Self {
            fake: FakeDriver::new(&["debian", "alpine"], false),
            hanging: watch::Sender::default(),
            waiting: watch::Sender::default(),
            launches_ms: Mutex::default(),
            destroyed: Mutex::default(),
            most: AtomicUsize::new(0),
            ahead_ms,
        }
    }

    pub fn hang(&self, call: &str) {
        self.hanging.send_modify(|hanging| {
            hanging.insert(call.to_owned());
        });
    }

    /// Releases all hanging calls.
    pub fn go_on(&self) {
        self.hanging.send_modify(BTreeSet::clear);
    }

    /// Returns when such a call hangs.
    pub async fn hangs(&self, call: &str) {
        let mut waiting = self.waiting.subscribe();
        let hangs = waiting.wait_for(|waiting| waiting.contains(call));
        tokio::time::timeout(super::rig::PATIENCE, hangs).await.expect("the call comes").expect("a sender");
    }

    pub fn destroyed(&self) -> Vec<String> {
        self.destroyed.lock().expect("lock").clone()
    }

    /// Returns the ids of the existing instances.
    pub async fn ids(&self) -> BTreeSet<String> {
        self.fake.list().await.expect("a listing").into_iter().map(|listed| listed.id).collect()
    }

    async fn gate(&self, call: &str) {
        let mut hanging = self.hanging.subscribe();
        if hanging.borrow().contains(call) {
            self.waiting.send_modify(|waiting| {
                waiting.insert(call.to_owned());
            });
            // The sender lives as long as this object.
            drop(hanging.wait_for(|hanging| !hanging.contains(call)).await);
            self.waiting.send_modify(|waiting| {
                waiting.remove(call);
            });
        }
    }
}

impl Driver for Cloud {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        async move {
            self.launches_ms.lock().expect("lock").push(self.ahead_ms.load(Ordering::SeqCst));
            self.gate("launch").await;
            let launched = self.fake.launch(request).await;
            self.most.fetch_max(self.ids().await.len(), Ordering::SeqCst);
            self.gate("answer").await;
            launched
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        async move {
            self.gate("list").await;
            self.fake.list().await
        }
        .boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            self.gate(&format!("destroy {id}")).await;
            self.destroyed.lock().expect("lock").push(id.to_owned());
            self.fake.destroy(id).await
        }
        .boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, kiln_pool::End> {
        self.fake.ended(id)
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        async move {
            self.gate(&format!("console {id}")).await;
            self.fake.console_tail(id).await
        }
        .boxed()
    }
}

/// Agents that answer, or do not.
#[derive(Default)]
pub struct Answers {
    pub silent: AtomicBool,
}

impl Agents for Answers {
    fn boot<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>> {
        async move { self.health(instance).await.map(drop) }.boxed()
    }

    fn health<'a>(&'a self, _: &'a Instance) -> BoxFuture<'a, Result<Option<Cause>, String>> {
        let silent = self.silent.load(Ordering::SeqCst);
        async move { if silent { Err("connection refused".to_owned()) } else { Ok(None) } }.boxed()
    }
}
