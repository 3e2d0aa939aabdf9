//! The reconcile loop and what callers ask of it, over any store, drivers, agents and clock.
//!
//! ```text
//!            ┌──────────── observe ◄─ the latest listings, then rows
//!  signal ─► │ pass ─► plan (pure, in kiln-pool) ─► rows are changed at once ─► slow work is spawned ─► signal
//!  timer  ─► └─ claims, releases, waiting stages and listings, which are made beside, signal too
//! ```
//! Everything that touches the world goes through the traits of [`world`]. So the simulated world can run this very
//! code with a virtual clock and stop it before and after any call. For the same reason nothing here names a runtime:
//! work is spawned through [`world::Host`].
//!
//! A row is changed before the world is changed (intent first) and afterwards (outcome). Every change is a
//! compare-and-swap on the row's generation, so a late change has no effect.

mod act;
#[cfg(feature = "test-support")]
pub mod conformance;
mod forestalled;
mod health;
mod leases;
mod operator;
mod pass;
mod sites;
mod stages;
mod waiters;
mod watch;
mod work;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{AbortHandle, Either, select};
use kiln_pool::config::Config;
use kiln_pool::plan::{Health, Noticed, Target};
use kiln_pool::{End, Instance, InstanceId, SiteId};

pub use forestalled::FORESTALLED_FOR_MS;
pub use operator::OperatorError;
pub use pass::{PASS_EVERY_MS, PassReport};
pub use stages::{Assigned, Demand, SetupError};
pub use world::{Agents, Change, Drivers, Holder, Host, Lease, Leasing, Limits, Store, StoreError, WriteTrouble};

use crate::leases::Leases;
use crate::sites::Site;
use crate::waiters::Waiters;

/// Label under which an instance carries the id of the installation that it belongs to.
pub const INSTALLATION_LABEL: &str = "kiln-installation";
/// Label under which an instance carries its pool.
pub const POOL_LABEL: &str = "kiln-pool";
/// Label under which an instance carries the runner that launched it.
pub const RUNNER_LABEL: &str = "kiln-runner";

/// Poll interval while waiting for spawned actions to finish, in milliseconds.
const QUIET_LOOK_MS: i64 = 100;

/// The engine of one runner. Cheap to share; all state that must survive a restart is in the store.
pub struct Engine {
    me: Holder,
    installation: String,
    store: Arc<dyn Store>,
    agents: Arc<dyn Agents>,
    drivers: Arc<dyn Drivers>,
    host: Arc<dyn Host>,
    config: Mutex<Arc<Config>>,
    memory: Mutex<Memory>,
    /// Callers that wait for a stage to get its instance.
    waiters: Waiters,
    /// Callers that want to know when a stage loses its instance.
    losers: Waiters,
}

/// State of this process. Losing it does no harm.
#[derive(Default)]
struct Memory {
    /// Instances that a spawned action works on.
    busy: BTreeSet<InstanceId>,
    /// The sites, open or not.
    sites: BTreeMap<SiteId, Site>,
    /// Sites whose next listing may show a change, such as an instance that starts.
    changing_sites: BTreeSet<SiteId>,
    /// Generations of the rows that the latest pass read.
    generations: BTreeMap<InstanceId, i64>,
    /// The uptime at which this process saw each row change or go.
    noticed: Noticed,
    /// Ends of live instances that drivers have reported.
    ends: BTreeMap<InstanceId, End>,
    /// The uptime since which an agent has not answered; absent while it answers.
    failing_since: BTreeMap<InstanceId, i64>,
    /// The latest health of each instance's agent.
    health: BTreeMap<InstanceId, Health>,
    /// Instances whose end is being waited for. Dropping the value stops the waiting.
    watched: BTreeMap<InstanceId, Watch>,
    /// Instances whose agents are asked for their health, as of the latest successful read of the rows.
    contacts: BTreeMap<InstanceId, Instance>,
    /// Since when the rows have been watched.
    watch: pass::RowWatch,
    /// Instances that are left alone for now, each with the uptime until which this holds: orphans that were told to
    /// end, which listings still show for a while, and instances whose outcome could not be written down.
    resting_ms: BTreeMap<InstanceId, i64>,
    leases: Leases,
    /// The uptime since which a pool that still has rows has been missing from the pool file, by the names of its
    /// leases.
    pools_missing: BTreeMap<String, i64>,
    /// The uptime since which a flavor that stages wait for has been missing from the pool file.
    flavors_missing: BTreeMap<String, i64>,
    /// Ends that came before the demand of their stages.
    forestalled: forestalled::Forestalled,
    /// How many instances of each flavor the latest plan wanted.
    targets: BTreeMap<String, Target>,
    /// Whether a stage waits, as far as this process knows: the passes follow each other closely then.
    demand: bool,
}

/// Stops waiting for an instance's end when it is dropped.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The parts of an engine.
pub struct Parts {
    /// This runner's name; unique among those that share a store.
    pub me: String,
    /// The id of this process; unique for ever.
    pub process: String,
    /// Id of the installation, shared by all runners of one store and by no others.
    pub installation: String,
    /// The rows.
    pub store: Arc<dyn Store>,
    /// The agents.
    pub agents: Arc<dyn Agents>,
    /// Opens the sites' drivers.
    pub drivers: Arc<dyn Drivers>,
    /// Clock, tokens and spawning.
    pub host: Arc<dyn Host>,
    /// Desired state, from the pool file.
    pub config: Config,
}

impl Engine {
    /// Makes an engine, which does nothing until [`Engine::run`] or [`Engine::pass`] is called.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { me: name, process, installation, store, agents, drivers, host, config } = parts;
        let me = Holder { name, process };
        let (config, memory) = (Mutex::new(Arc::new(config)), Mutex::default());
        let (waiters, losers) = (Waiters::default(), Waiters::default());
        Arc::new(Self { me, installation, store, agents, drivers, host, config, memory, waiters, losers })
    }

    /// Returns the current desired state.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the desired state. Busy instances are left alone; idle ones that no longer fit are replaced by later
    /// passes.
    pub fn set_config(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.host.signal();
    }

    /// Returns this runner's name.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.me.name
    }

    /// Gives the leases up, so that another process takes over at once.
    ///
    /// # Errors
    /// When the store fails. The leases then expire by themselves.
    pub async fn release_leases(&self) -> Result<(), StoreError> {
        self.store.release_leases(&self.me).await
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns once no spawned action works on an instance.
    pub async fn quiet(&self) {
        loop {
            let seen = self.host.signals();
            if self.memory().busy.is_empty() {
                return;
            }
            self.host.wait(seen, QUIET_LOOK_MS).await;
        }
    }

    /// Returns the outcome of `work`. Drops it and returns none when it takes longer than `limit_ms`.
    async fn within<T>(&self, limit_ms: i64, work: impl Future<Output = T>) -> Option<T> {
        let work = std::pin::pin!(work);
        match select(work, self.host.wait(u64::MAX, limit_ms)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Returns how many instances of a flavor the latest plan wanted, or none when another runner sizes its pool.
    #[must_use]
    pub fn target(&self, flavor: &str) -> Option<Target> {
        self.memory().targets.get(flavor).copied()
    }

    /// Returns what is known about an instance's agent.
    #[must_use]
    pub fn health(&self, id: &InstanceId) -> Health {
        self.memory().health.get(id).cloned().unwrap_or_default()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats an error and all its sources in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
