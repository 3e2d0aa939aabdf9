//! What the agent sends to the services of its stage, beside the logs of steps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_wire::agent::{
    MintWorkloadTokenRequest, MintWorkloadTokenResponse, MtlsConfig, SetupRequest, StartStepRequest,
};

use super::{Agent, limits};
use crate::annotations::Annotations;
use crate::identities::MintError;
use crate::lock::lock;
use crate::log_service::Log;
use crate::metrics::Metrics;
use crate::services::Services;
use crate::spool::{self, Spool};
use crate::supervise::Annotate;
use crate::web::Web;

impl Agent {
    /// Begins to tell what the machine does, if the stage has a log for it.
    pub(super) fn begin_metrics(&self, request: &SetupRequest, services: &Services) {
        let key = &request.memory_metrics_log_key;
        if key.is_empty() {
            return;
        }
        let name = format!("{}-{:x}-metrics", self.mark, self.started.fetch_add(1, Ordering::Relaxed));
        let (writer, spool) = match spool::create(self.spool_dir().join(spool::name(&name)), limits(&self.settings)) {
            Ok(made) => made,
            // A stage runs without them.
            Err(error) => return tracing::warn!(%error, "metrics are not kept"),
        };
        self.deliveries.begin(services.logs.clone(), Log::whole(key), &spool);
        *lock(&self.metrics) = Some(Metrics::begin(writer, spool));
    }

    /// Ends that, and returns what holds them until they are delivered.
    pub(super) async fn end_metrics(&self) -> Option<Arc<Spool>> {
        let metrics = lock(&self.metrics).take()?;
        Some(metrics.end().await)
    }

    /// What posts the annotations of a step, if they are to be posted.
    pub(super) fn annotations_of(self: &Arc<Self>, request: &StartStepRequest) -> Option<Annotate> {
        let stage = lock(&self.stage);
        let (services, envs) = (stage.services(), [stage.envs(request), request.environment.clone()]);
        drop(stage);
        let variable = |name: &str| envs.iter().rev().find_map(|env| env.get(name));
        let annotations = Annotations::of(request, services, variable)?;
        let agent = self.clone();
        let post = move |text| {
            let secrets = agent.secrets.clone();
            agent.deliveries.also(async move { annotations.post(text, &secrets).await });
        };
        Some(Annotate(Box::new(post)))
    }

    /// Mints a token for a step that shows its handle. `user` is who asks, where that is known.
    pub(crate) async fn mint(
        &self,
        request: &MintWorkloadTokenRequest,
        user: Option<u32>,
    ) -> Result<MintWorkloadTokenResponse, MintError> {
        let services = lock(&self.stage).services();
        let web = match services {
            Some(services) => services.web,
            // A step needs no setup.
            None => Web::new(&[&self.settings.base_env], &MtlsConfig::default())
                .map(Arc::new)
                .map_err(|_| MintError::Broker)?,
        };
        let minted = self.identities.mint(request, user, web).await?;
        // Whatever asked for it may print it.
        self.secrets.add([&minted.oidc_token]);
        Ok(minted)
    }

    /// Waits for the logs of steps that have ended. What is not delivered within the time is given up.
    pub(crate) async fn deliver_logs(&self, within: Duration) {
        self.deliveries.finish(within).await;
    }
}
