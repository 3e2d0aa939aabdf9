//! Instances from a runner, over its HTTP API. The runner passes on what is asked of an agent, so nothing but its address is
//! needed here.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_agent_client::Agent;
use kiln_wire::runner::kiln::{HoldRequest, INSTANCES, STAGES, StageDetail};
use kiln_wire::runner::{self as wire, DestroyVmRequest, ErrorBody, SetupVmRequest, SetupVmResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::Phase;
use crate::fleet::{Fleet, FleetError, Lease, Want};

/// A runner that nobody could reach for this long is lost; one that is restarted is back before.
const UNREACHABLE_FOR: Duration = Duration::from_secs(60);
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// Pause between two looks at a stage.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A question that waits for nothing is answered within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A runner as a fleet.
pub struct RunnerFleet {
    http: reqwest::Client,
    base: String,
}

impl RunnerFleet {
    /// `http` shows what the runner wants to see of callers and has no limit on the time of an answer: a stage may wait long.
    #[must_use]
    pub fn new(http: reqwest::Client, base: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned() }
    }

    async fn set_up(&self, want: &Want<'_>, pool: &str) -> Result<SetupVmResponse, FleetError> {
        let mut setup = want.setup.clone();
        setup.timeout = want.timeout.map_or(0, |limit| i64::try_from(limit.as_secs()).unwrap_or(i64::MAX));
        let request = SetupVmRequest {
            id: want.stage.clone(),
            pool_id: pool.to_owned(),
            setup_request: Some(setup),
            ..SetupVmRequest::default()
        };
        // Safe to repeat: the runner joins a repetition to what the first one began.
        let answer = self.persist(|| self.http.post(format!("{}{}", self.base, wire::SETUP)).json(&request)).await?;
        decode(answer).await
    }

    /// Tells why the stage waits, for ever.
    async fn follow(&self, stage: &str, waiting: &(dyn Fn(&str) + Send + Sync)) -> FleetError {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Ok(Some(found)) = self.stage(stage).await
                && !found.stage.why.is_empty()
                && found.stage.why != told
            {
                waiting(&found.stage.why);
                told = found.stage.why;
            }
        }
    }

    /// The stage, unless the runner does not know it.
    async fn stage(&self, id: &str) -> Result<Option<StageDetail>, FleetError> {
        let request = self.http.get(format!("{}{STAGES}/{}", self.base, encoded(id))).timeout(ANSWER_WITHIN);
        let answer = request.send().await.map_err(|error| FleetError::Runner(Box::new(error.without_url())))?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        decode(answer).await.map(Some)
    }

    async fn end(&self, stage: &str) -> Result<(), FleetError> {
        let request = DestroyVmRequest { id: stage.to_owned(), ..DestroyVmRequest::default() };
        let send = || self.http.post(format!("{}{}", self.base, wire::DESTROY)).timeout(ANSWER_WITHIN).json(&request);
        refused(self.persist(send).await?).await.map(drop)
    }

    async fn post<T: Serialize>(&self, path: &str, body: &T) -> Result<(), FleetError> {
        let send = || self.http.post(format!("{}{path}", self.base)).timeout(ANSWER_WITHIN).json(body);
        refused(self.persist(send).await?).await.map(drop)
    }

    /// Sends again and again while nobody answers, for a while.
    async fn persist(&self, request: impl Fn() -> reqwest::RequestBuilder) -> Result<reqwest::Response, FleetError> {
        let began = Instant::now();
        loop {
            match request().send().await {
                Ok(answer) => return Ok(answer),
                Err(error) if began.elapsed() >= UNREACHABLE_FOR || error.is_builder() => {
                    return Err(FleetError::Runner(Box::new(error.without_url())));
                }
                Err(error) => tracing::debug!(%error, "the runner does not answer; it is asked again"),
            }
            tokio::time::sleep(TRY_PAUSE).await;
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
            let ready = tokio::select! {
                ready = self.set_up(want, pool) => ready?,
                error = self.follow(&want.stage, waiting) => return Err(error),
            };
            let base = format!("{}{STAGES}/{}", self.base, encoded(&want.stage));
            Ok(Lease {
                stage: want.stage.clone(),
                id: ready.instance_id,
                agent: Agent::through_runner(self.http.clone(), &base),
                address: None,
                phases: vec![Phase { name: "runner".to_owned(), duration: began.elapsed() }],
            })
        }
        .boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), FleetError>> {
        self.end(&lease.stage).boxed()
    }

    fn abandon<'a>(&'a self, stage: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.end(stage).await {
                tracing::warn!(stage, %error, "the wait for an instance could not be given up in order");
            }
        }
        .boxed()
    }

    fn hold<'a>(&'a self, lease: &'a Lease, duration: Duration) -> BoxFuture<'a, Result<bool, FleetError>> {
        async move {
            let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
            let path = format!("{INSTANCES}/{}/hold", encoded(&lease.id));
            self.post(&path, &HoldRequest { seconds }).await?;
            Ok(true)
        }
        .boxed()
    }

    fn ended<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, String> {
        async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match self.stage(&lease.stage).await {
                    Ok(Some(found)) if found.stage.ended_unix_ms.is_none() => {}
                    Ok(Some(found)) => {
                        let cause = found.stage.cause.map(|cause| format!("{}: {}", cause.code, cause.evidence));
                        return cause.unwrap_or_else(|| "the runner ended the stage".to_owned());
                    }
                    Ok(None) => return "the runner does not know the stage any more".to_owned(),
                    // A runner that is away says nothing about the instance; whoever asks its agent finds out.
                    Err(error) => tracing::debug!(%error, "the stage could not be looked at"),
                }
            }
        }
        .boxed()
    }
}

async fn decode<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, FleetError> {
    let bytes = refused(answer).await?.bytes().await.map_err(|error| FleetError::Runner(Box::new(error)))?;
    serde_json::from_slice(&bytes).map_err(|error| FleetError::Runner(Box::new(error)))
}

/// The answer, unless it is a refusal.
async fn refused(answer: reqwest::Response) -> Result<reqwest::Response, FleetError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.text().await.map_err(|error| FleetError::Runner(Box::new(error)))?;
    let message = serde_json::from_str::<ErrorBody>(&text).map(|body| body.error_msg).unwrap_or_default();
    let advice =
        if status == reqwest::StatusCode::UNAUTHORIZED { "; give its token with --token-file FILE" } else { "" };
    let message = if message.is_empty() { format!("the runner answered {status}") } else { message };
    Err(FleetError::Refused(format!("{message}{advice}")))
}

/// An id as a part of a path.
fn encoded(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}
