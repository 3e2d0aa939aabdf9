//! The driver: the trait's calls, on threads of their own, because all of them block.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_driver::{Abilities, Driver, DriverError, LaunchRequest, Launched, Listed};
use kiln_pool::{End, EndKind, SiteId};
use kiln_tls::Authority;

use crate::agent::{self, Agent, Settings};
use crate::error::ProcessError;
use crate::instances;
use crate::launch::Launcher;
use crate::root::{Root, valid_id};
use crate::section::NAME;

/// The driver. Its clones share their state.
#[derive(Clone)]
pub struct ProcessDriver {
    launcher: Arc<Launcher>,
}

impl ProcessDriver {
    /// Opens a root. The agents trust the clients of this authority.
    ///
    /// # Errors
    /// When the root cannot be used, or the agent would change its machine.
    pub fn open(settings: &Settings, authority: &Authority) -> Result<Self, DriverError> {
        let (agent, root) = (Agent::new(settings, authority)?, Root::open(&settings.root)?);
        let launcher = Launcher { root, agent, limit: settings.limit, start_within: settings.start_within };
        Ok(Self { launcher: Arc::new(launcher) })
    }

    /// Returns the site of this root's instances, `process:ID`.
    #[must_use]
    pub fn site(&self) -> SiteId {
        SiteId::new(format!("{NAME}:{}", self.launcher.root.site()))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Launcher) -> Result<T, ProcessError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let launcher = Arc::clone(&self.launcher);
        // The work continues to its end when the caller gives up, so nothing is left half done.
        let done = tokio::task::spawn_blocking(move || work(&launcher)).await;
        Ok(done.map_err(|error| ProcessError::Broken(error.to_string()))??)
    }
}

impl Driver for ProcessDriver {
    fn launch<'a>(&'a self, request: &'a LaunchRequest) -> BoxFuture<'a, Result<Vec<Launched>, DriverError>> {
        let request = request.clone();
        async move { self.blocking(move |launcher| launcher.launch(&request).map(|one| vec![one])).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, DriverError>> {
        self.blocking(|launcher| instances::list(&launcher.root)).boxed()
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        let id = id.to_owned();
        async move { self.blocking(move |launcher| instances::destroy(&launcher.root, &id)).await }.boxed()
    }

    fn ended<'a>(&'a self, id: &'a str) -> BoxFuture<'a, End> {
        async move {
            let Some(process) = instances::process(&self.launcher.root, id) else {
                return End::new(EndKind::Unknown, format!("instance {id} has no process"));
            };
            if let Err(error) = process.ended().await {
                tracing::warn!(instance = id, %error, "its end cannot be waited for");
                // Listings show the end.
                return std::future::pending().await;
            }
            let log = agent::tail(&self.launcher.root.instance_dir(id));
            let evidence = format!("the agent's process {} has ended; its log ends with:\n{log}", process.pid);
            End::new(EndKind::Crashed, evidence)
        }
        .boxed()
    }

    fn console_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        let tail = || agent::tail(&self.launcher.root.instance_dir(id));
        std::future::ready(valid_id(id).then(tail).unwrap_or_default()).boxed()
    }

    fn abilities(&self) -> Abilities {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let launches_at_once = Some(u32::try_from(processors).unwrap_or(2).max(2));
        Abilities { outlives_owner: true, launches_at_once, ..Abilities::default() }
    }
}
