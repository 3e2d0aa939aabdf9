//! A driver whose instances are agents as processes of this machine. They are not VMs: a step sees, and may change, the
//! machine it runs on. For tests that need many real agents, real connections and real deaths.
//!
//! ```text
//! ROOT/lock                  held while an id is entered or ended: one at a time, whatever the process
//! ROOT/ended/ID              an id that was destroyed; it is never run again
//! ROOT/instances/ID/         record.json (labels before anything runs, then the process, then the port), lock, agent.log,
//!                            certificates, state and work directories of the agent
//! ```
//! The root is to this driver what an account is to a cloud: every driver that opens it, in whatever process, sees and ends
//! the same instances, and none of them ends with the process that made it. Only a process that cleaned its environment, left
//! its session and lost its agent to a crash outlives its instance; the agent ends such processes of its steps while it lives.

mod error;
mod kernel;
mod launch;
mod place;
mod pools;
mod record;
#[cfg(test)]
mod tests;
mod unix;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_driver::{Abilities, Driver, DriverError, LaunchRequest, Launched, Listed};
use kiln_pool::{End, EndKind, Life};
use kiln_tls::{Authority, Identity};

use error::ProcessError;
use place::Place;
pub use pools::pools;
use record::Record;

/// The name that pools give this driver.
pub const TYPE: &str = "process";
/// The one image there is.
pub const IMAGE: &str = "process";
/// The name in the certificate that every agent has until it is given its own.
pub const SERVER_NAME: &str = "process-agent";
/// Bytes of an agent's log that are shown.
const TAIL_BYTES: u64 = 4096;

/// Where builds put the agent, below the target directory.
const AGENTS: [&str; 3] = ["release/kiln-agent", "x86_64-unknown-linux-gnu/agent/kiln-agent", "debug/kiln-agent"];

/// How instances are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where they are kept; made when it is not there.
    pub root: PathBuf,
    /// The program `kiln-agent`.
    pub agent: PathBuf,
    /// An agent that nobody asks for ends after this.
    pub lease: Option<Duration>,
    /// An agent ends at this age.
    pub max_age: Option<Duration>,
    /// At most this many instances; more is refused for lack of capacity.
    pub limit: Option<usize>,
    /// An agent listens within this, or its launch has failed.
    pub start_within: Duration,
    /// Further settings of the agent.
    pub agent_env: BTreeMap<String, String>,
}

impl Settings {
    /// Without lease, age and limit.
    #[must_use]
    pub fn new(root: &Path, agent: &Path) -> Self {
        Self {
            root: root.to_owned(),
            agent: agent.to_owned(),
            lease: None,
            max_age: None,
            limit: None,
            start_within: Duration::from_secs(30),
            agent_env: BTreeMap::new(),
        }
    }
}

/// The driver. Clones of it are the same one.
#[derive(Clone)]
pub struct ProcessDriver {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    place: Place,
    ca_pem: String,
    identity: Identity,
}

impl ProcessDriver {
    /// Opens a root. The agents trust the clients of this authority.
    ///
    /// # Errors
    /// When the root cannot be used, or the agent is not one that leaves its machine alone.
    pub fn open(settings: Settings, authority: &Authority) -> Result<Self, DriverError> {
        launch::require_harmless(&settings.agent)?;
        let place = Place::open(&settings.root)?;
        let identity = authority.issue_server(SERVER_NAME).map_err(ProcessError::from)?;
        let inner = Inner { settings, place, ca_pem: authority.ca_pem().to_owned(), identity };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ProcessError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let inner = Arc::clone(&self.inner);
        // Goes on to its end when the caller gives up: nothing is left half done by us.
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        Ok(done.map_err(|error| ProcessError::Broken(error.to_string()))??)
    }
}

/// The agent that this repository built: what `KILN_AGENT` names, else the newest one in the target directory that leaves its
/// machine alone.
///
/// # Errors
/// When there is none; the message says how to build it.
pub fn built_agent() -> Result<PathBuf, DriverError> {
    if let Some(agent) = std::env::var_os("KILN_AGENT").map(PathBuf::from) {
        launch::require_harmless(&agent)?;
        return Ok(agent);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let found = AGENTS.iter().map(|path| target.join(path)).filter(|path| launch::require_harmless(path).is_ok());
    let age = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    let none =
        || ProcessError::Invalid(format!("there is no agent below {}: build it with tools/build", target.display()));
    Ok(found.max_by_key(age).ok_or_else(none)?)
}

/// The pids of all processes that belong to instances below a root, also of instances whose directory is gone.
#[must_use]
pub fn processes(root: &Path) -> Vec<u32> {
    kernel::marked(&place::mark_of_all(root))
}

/// The pids of all processes with a path at or below this one in their command line.
#[must_use]
pub fn processes_that_name(path: &Path) -> Vec<u32> {
    kernel::with_arguments(&path.display().to_string())
}

/// The process of an instance's agent, if it runs.
#[must_use]
pub fn process_of(root: &Path, id: &str) -> Option<u32> {
    let record = Record::read(&place::instance_dir(root, id))?;
    record.process.filter(record::ProcessName::lives).map(|process| process.pid)
}

impl Inner {
    fn list(&self) -> Result<Vec<Listed>, ProcessError> {
        let mut listed = Vec::new();
        for id in self.place.instances()? {
            let dir = self.place.instance_dir(&id);
            // One that went between the two looks.
            let Some(record) = Record::read(&dir) else { continue };
            let life = match &record.process {
                None => Life::Starting,
                Some(process) if process.lives() => Life::Running,
                Some(_) => Life::LeftOver,
            };
            let launched = record.launched(&id).filter(|_| !life.is_over());
            listed.push(Listed { id, life, labels: record.labels, launched });
        }
        Ok(listed)
    }

    fn destroy(&self, id: &str) -> Result<(), ProcessError> {
        if !place::valid_id(id) {
            return Ok(());
        }
        self.place.end(id)?;
        let dir = self.place.instance_dir(id);
        // Whoever starts it sees that it is to end and lets go.
        let lock = self.place.lock_instance(id)?;
        let process = Record::read(&dir).and_then(|record| record.process);
        kernel::end(process.as_ref(), &self.place.mark(id))?;
        self.place.remove(id)?;
        drop(lock);
        Ok(())
    }

    fn tail(&self, id: &str) -> String {
        if place::valid_id(id) { launch::tail(&self.place.instance_dir(id), TAIL_BYTES) } else { String::new() }
    }
}

impl Driver for ProcessDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        let request = request.clone();
        async move { self.blocking(move |inner| inner.launch(&request).map(|launched| vec![launched])).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        self.blocking(Inner::list).boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        let id = id.to_owned();
        async move { self.blocking(move |inner| inner.destroy(&id)).await }.boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End> {
        async move {
            let record = place::valid_id(id).then(|| Record::read(&self.inner.place.instance_dir(id))).flatten();
            let Some(process) = record.and_then(|record| record.process) else {
                return End::new(EndKind::Unknown, format!("instance {id} has no process"));
            };
            if let Err(error) = kernel::ended(&process).await {
                tracing::warn!(instance = id, %error, "its end cannot be waited for");
                return std::future::pending().await;
            }
            let log = self.inner.tail(id);
            End::new(
                EndKind::Crashed,
                format!("the agent's process {} has ended; its log ends with:\n{log}", process.pid),
            )
        }
        .boxed()
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        async move { self.inner.tail(id) }.boxed()
    }

    fn abilities(&self) -> Abilities {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let launches_at_once = Some(u32::try_from(processors).unwrap_or(2).max(2));
        Abilities { outlives_owner: true, launches_at_once, ..Abilities::default() }
    }
}
