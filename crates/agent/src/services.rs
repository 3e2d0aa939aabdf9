//! The services that a stage names in its setup, and how the agent speaks to them.

use std::sync::Arc;

use kiln_wire::agent::SetupRequest;

use crate::log_service::{LogError, LogService};
use crate::settings::Settings;
use crate::web::Web;

/// The services of one stage. A later setup has its own; steps that were started before it go on with these.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) web: Arc<Web>,
    pub(crate) logs: Arc<LogService>,
}

impl Services {
    /// Makes the services that a setup describes.
    ///
    /// # Errors
    /// When their description cannot be used.
    pub(crate) fn new(request: &SetupRequest, settings: &Settings) -> Result<Self, LogError> {
        let web = Arc::new(Web::new(&[&settings.base_env, &request.envs], &request.mtls_config)?);
        let logs = LogService::new(
            &request.log_config,
            &web,
            &settings.engine_dir,
            settings.disk_reserve_bytes,
            &settings.log_pace,
        )?;
        Ok(Self { web, logs: Arc::new(logs) })
    }
}
