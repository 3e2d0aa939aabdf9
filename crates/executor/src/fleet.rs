//! Instances for stages: from a driver's launch to an agent that answers under the stage's own name, and back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kiln_agent_client::{Agent, AgentError, Credentials};
use kiln_driver::{Driver, DriverError, ErrorClass, LaunchRequest, Launched};
use kiln_tls::Authority;
use kiln_wire::agent::kiln::ClaimRequest;
use tokio::sync::Notify;

use crate::event::Phase;

/// A launched instance answers within this, or it is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of entropy that a clone gets from us.
const ENTROPY_BYTES: usize = 64;
/// A stage that waits for room looks again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The size of the instances.
#[derive(Debug, Clone)]
pub struct Size {
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Smallest root disk in GiB.
    pub disk_gib: u32,
}

/// Makes instances for stages and ends them.
pub struct Fleet {
    driver: Arc<dyn Driver>,
    authority: Arc<Authority>,
    credentials: Credentials,
    size: Size,
    room: Arc<Room>,
}

/// How many instances are held now.
#[derive(Default)]
struct Room {
    held: AtomicUsize,
    released: Notify,
}

/// One instance held, or about to be.
struct Held(Arc<Room>);

impl Held {
    fn new(room: &Arc<Room>) -> Self {
        room.held.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(room))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
        self.0.released.notify_waiters();
    }
}

/// An instance in the hands of one stage.
pub struct Lease {
    /// Its id.
    pub id: String,
    /// Its agent.
    pub agent: Agent,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// What was waited for.
    pub phases: Vec<Phase>,
    _held: Held,
}

/// Why there is no instance.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The driver could not make one.
    #[error("no instance could be started")]
    Launch(#[from] DriverError),
    /// It was made, and its agent does not answer or does not take its identity.
    #[error("instance {id} does not answer; its console ends with:\n{console}")]
    Agent {
        /// Which.
        id: String,
        /// Its last words.
        console: String,
        /// Why.
        #[source]
        source: AgentError,
    },
    /// Its certificate could not be made.
    #[error("no certificate could be made for the instance")]
    Tls(#[from] kiln_tls::TlsError),
    /// The host gave no random bytes.
    #[error("the host gave no random bytes for the instance: {0}")]
    Entropy(String),
}

impl Fleet {
    /// A fleet over a driver. The authority must be the one whose CA the driver's images trust.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, authority: Arc<Authority>, credentials: Credentials, size: Size) -> Self {
        Self { driver, authority, credentials, size, room: Arc::default() }
    }

    /// A new instance's id.
    #[must_use]
    pub fn new_id(&self) -> String {
        format!("kiln-{}", uuid::Uuid::now_v7().simple())
    }

    /// Starts instance `id` of `image` and gives it an identity of its own. When there is no room and other stages
    /// hold instances, it waits for one of them to end; `waiting` is told why, once. One that is given up before it
    /// answers must be ended with [`Fleet::abandon`].
    pub async fn acquire(&self, id: &str, image: &str, waiting: impl Fn(&str)) -> Result<Lease, FleetError> {
        let request = LaunchRequest {
            id: id.to_owned(),
            image: image.to_owned(),
            cpus: self.size.cpus,
            memory_mib: self.size.memory_mib,
            disk_gib: self.size.disk_gib,
            labels: kiln_driver::Labels::new(),
        };
        let mut told = false;
        loop {
            let room = self.room.released.notified();
            let held = Held::new(&self.room);
            let (error, held) = match self.start(&request, held).await {
                Ok(lease) => return Ok(lease),
                Err(failed) => failed,
            };
            self.abandon(id).await;
            drop(held);
            let others = self.room.held.load(Ordering::SeqCst);
            let full =
                matches!(&error, FleetError::Launch(e) if matches!(e.class, ErrorClass::Capacity | ErrorClass::Quota));
            if !full || others == 0 {
                return Err(error);
            }
            if !told {
                waiting(&error_chain(&error));
                told = true;
            }
            // Room may also come from outside, so the wait has an end.
            drop(tokio::time::timeout(LOOK_AGAIN, room).await);
        }
    }

    /// Ends an instance. Safe to repeat.
    pub async fn release(&self, lease: &Lease) -> Result<(), DriverError> {
        self.driver.destroy(&lease.id).await
    }

    /// Ends what there may be of an instance whose start failed or was given up.
    pub async fn abandon(&self, id: &str) {
        if let Err(error) = self.driver.destroy(id).await {
            tracing::warn!(instance = id, error = error_chain(&error), "what was half started could not be ended");
        }
    }

    /// Returns when the instance ends by itself, with the evidence.
    pub async fn ended(&self, lease: &Lease) -> String {
        self.driver.ended(&lease.id).await
    }

    async fn start(&self, request: &LaunchRequest, held: Held) -> Result<Lease, (FleetError, Held)> {
        let launched = match self.driver.launch(request).await {
            Ok(launched) => launched,
            Err(error) => return Err((error.into(), held)),
        };
        let mut phases: Vec<Phase> = launched
            .phases
            .iter()
            .map(|(name, duration)| Phase { name: (*name).to_owned(), duration: *duration })
            .collect();
        match self.claim(&launched, &mut phases).await {
            Ok(agent) => Ok(Lease { id: launched.id, agent, address: launched.agent, phases, _held: held }),
            Err(ClaimError::Other(error)) => Err((error, held)),
            Err(ClaimError::Agent(source)) => {
                let console = self.driver.console_tail(&request.id).await;
                Err((FleetError::Agent { id: request.id.clone(), console, source }, held))
            }
        }
    }

    async fn claim(&self, launched: &Launched, phases: &mut Vec<Phase>) -> Result<Agent, ClaimError> {
        let mut clock = Instant::now();
        let mut phase = |name: &str| {
            phases.push(Phase { name: name.to_owned(), duration: clock.elapsed() });
            clock = Instant::now();
        };
        let agent = Agent::new(launched.agent, &launched.server_name, &self.credentials)?;
        agent.wait_healthy(ANSWER_WITHIN).await?;
        phase("answer");
        if !launched.needs_claim {
            return Ok(agent);
        }
        agent.claim(&self.claim_request(&launched.id)?).await?;
        // From here on the instance goes by its own name; the first call that follows proves it.
        let agent = Agent::new(launched.agent, &launched.id, &self.credentials)?;
        phase("claim");
        Ok(agent)
    }

    fn claim_request(&self, id: &str) -> Result<ClaimRequest, FleetError> {
        use base64::Engine as _;
        let identity = self.authority.issue_server(id)?;
        let mut entropy = [0_u8; ENTROPY_BYTES];
        getrandom::fill(&mut entropy).map_err(|e| FleetError::Entropy(e.to_string()))?;
        // The clock is read last: it is what ages.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(ClaimRequest {
            id: id.to_owned(),
            hostname: id.to_owned(),
            unix_time_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            entropy: base64::engine::general_purpose::STANDARD.encode(entropy),
            cert_pem: identity.cert_pem.clone(),
            key_pem: identity.key_pem.to_string(),
            ..ClaimRequest::default()
        })
    }
}

enum ClaimError {
    Agent(AgentError),
    Other(FleetError),
}

impl From<AgentError> for ClaimError {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

impl From<FleetError> for ClaimError {
    fn from(error: FleetError) -> Self {
        Self::Other(error)
    }
}

/// An error and everything behind it, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
