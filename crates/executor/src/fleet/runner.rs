//! Instances from a runner, over its HTTP API. The runner passes requests on to the agents, so that only the runner's address is
//! needed.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_runner_client::{Runner, RunnerError};
use kiln_wire::run::Phase;
use kiln_wire::runner::SetupVmRequest;

use crate::fleet::{Fleet, FleetError, Lease, Want, error_chain};

/// Pause between two looks at a stage.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A runner as a fleet.
pub struct RunnerFleet {
    runner: Runner,
}

impl RunnerFleet {
    /// Makes a fleet of a runner's instances.
    #[must_use]
    pub fn new(runner: Runner) -> Self {
        Self { runner }
    }

    /// Tells why the stage waits, each time the reason changes. Never returns.
    async fn follow(&self, stage: &str, waiting: &(dyn Fn(&str) + Send + Sync)) -> FleetError {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let why = match self.runner.stage(stage).await {
                Ok(found) => found.map(|found| found.stage.why).unwrap_or_default(),
                Err(error) => error_chain(&error),
            };
            if why != told {
                waiting(&why);
                told = why;
            }
        }
    }
}

impl Fleet for RunnerFleet {
    fn acquire<'a>(
        &'a self,
        want: &'a Want<'a>,
        waiting: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<Lease, FleetError>> {
        async move {
            let began = Instant::now();
            let Some(pool) = &want.pool.name else {
                let message = "the file names no pool, and a runner is asked for one by name: write `poolName`";
                return Err(FleetError::Refused(message.to_owned()));
            };
            let mut setup = want.setup.clone();
            setup.timeout = want.timeout.map_or(0, whole_seconds);
            let request = SetupVmRequest {
                id: want.stage.clone(),
                pool_id: pool.to_owned(),
                setup_request: Some(setup),
                ..SetupVmRequest::default()
            };
            let ready = tokio::select! {
                ready = self.runner.set_up(&request) => ready?,
                error = self.follow(&want.stage, waiting) => return Err(error),
            };
            Ok(Lease {
                stage: want.stage.clone(),
                id: ready.instance_id,
                agent: self.runner.agent(&want.stage),
                address: None,
                phases: vec![Phase { name: "runner".to_owned(), duration: began.elapsed() }],
            })
        }
        .boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>> {
        async move { Ok(self.runner.destroy(&lease.stage).await?) }.boxed()
    }

    fn abandon<'a>(&'a self, stage: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.runner.destroy(stage).await {
                tracing::warn!(stage, %error, "the wait for an instance could not be given up in order");
            }
        }
        .boxed()
    }

    fn hold<'a>(&'a self, lease: &'a Lease, duration: Duration) -> BoxFuture<'a, Result<bool, FleetError>> {
        async move {
            self.runner.hold(&lease.id, whole_seconds(duration)).await?;
            Ok(true)
        }
        .boxed()
    }

    fn ended<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, String> {
        async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match self.runner.stage(&lease.stage).await {
                    Ok(Some(found)) if found.stage.ended_unix_ms.is_none() => {}
                    Ok(Some(found)) => {
                        let cause = found.stage.cause.map(|cause| format!("{}: {}", cause.code, cause.evidence));
                        return cause.unwrap_or_else(|| "the runner ended the stage".to_owned());
                    }
                    Ok(None) => return "the runner does not know the stage any more".to_owned(),
                    // A runner that does not answer says nothing about the instance. Calls to its agent show whether it lives.
                    Err(error) => tracing::debug!(%error, "the stage could not be looked at"),
                }
            }
        }
        .boxed()
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

impl From<RunnerError> for FleetError {
    fn from(error: RunnerError) -> Self {
        match error {
            RunnerError::Refused { message, .. } => Self::Refused(message),
            RunnerError::Unauthorized { url, message } => {
                Self::Refused(format!("{message}; the token for {url} is missing or wrong"))
            }
            error => Self::Runner(Box::new(error)),
        }
    }
}
