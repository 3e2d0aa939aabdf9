//! The runner's connections to the agents in the instances: one each, kept as long as the instance lives.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiln_agent_client::{Agent, AgentError, Credentials, SelfTest};
use kiln_engine::Agents;
pub(crate) use kiln_engine::chain;
use kiln_pool::{Cause, Instance, InstanceId};
use kiln_tls::Authority;
use kiln_wire::agent::kiln::ClaimRequest;
use kiln_wire::reach::Reach;
use tokio::time::Instant;

use crate::over;

/// Time of one attempt to reach a booting agent. The engine makes further attempts.
const BOOT_TRY: Duration = Duration::from_secs(10);
/// Pause after the first attempt without an answer. A local copy answers within some milliseconds.
const ASK_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause between attempts. A machine in a cloud boots for a minute, and hundreds of them may boot at once.
const ASK_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Bytes of entropy for a copy.
const ENTROPY_BYTES: usize = 64;
/// Time limit of a health request.
const HEALTH_WITHIN: Duration = Duration::from_secs(10);
/// Greatest number of connections that are kept.
const KEPT: usize = 20_000;

/// Time after which an instance without calls is powered off by its watchdog, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Leases {
    /// Without contact.
    pub lease_s: u32,
    /// In any case. It is a little more than the greatest age that the runner itself allows.
    pub max_age_s: u32,
}

/// The condition under which an instance is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Its agent has carried out a step, which also makes the stage's first step fast. An agent without a self-test,
    /// which is not Kiln's, is ready when it answers.
    Proven,
    /// Its agent answers. This is for instances whose stage is already waiting: its first step is the proof.
    Answers,
}

/// Connections to the agents of instances that serve stages.
pub trait StageAgents: Send + Sync {
    /// Returns a client of the instance's agent, over the same connection each time.
    ///
    /// # Errors
    /// When its address is not known, or the connection cannot be prepared.
    fn agent(&self, instance: &Instance) -> Result<Agent, AgentError>;
}

/// Connections to the agents of all instances.
pub struct PooledAgents {
    authority: Arc<Authority>,
    credentials: Credentials,
    leases: Leases,
    ready_when: ReadyWhen,
    /// Pools in whose instances containers may see the engine's socket.
    showing_sockets: BTreeSet<String>,
    kept: Mutex<HashMap<InstanceId, Kept>>,
}

/// A connection and the address that it was made for. An instance that wakes may have another address.
#[derive(Clone)]
struct Kept {
    address: Reach,
    name: String,
    agent: Agent,
}

impl PooledAgents {
    /// Creates a pool without connections. `authority` is the one that the instances trust.
    #[must_use]
    pub fn new(authority: Arc<Authority>, credentials: Credentials, leases: Leases, ready_when: ReadyWhen) -> Self {
        Self { authority, credentials, leases, ready_when, showing_sockets: BTreeSet::new(), kept: Mutex::default() }
    }

    /// Lets containers in the instances of these pools see the socket of the container engine.
    #[must_use]
    pub fn showing_sockets_in(self, pools: impl IntoIterator<Item = String>) -> Self {
        Self { showing_sockets: pools.into_iter().collect(), ..self }
    }

    /// Returns the agent of an instance that is ready or serves a stage. If it serves one, each call names that stage.
    ///
    /// # Errors
    /// When its address is not known, or the connection cannot be prepared.
    pub fn agent(&self, instance: &Instance) -> Result<Agent, AgentError> {
        let address = reach(instance)?.clone();
        let name = instance.server_name.clone().unwrap_or_else(|| instance.id.to_string());
        let agent = self.connection(&instance.id, address, name)?;
        // The stage comes from the row alone, so each runner names the same one, even right after its start.
        Ok(instance.stage.as_ref().map_or_else(|| agent.clone(), |stage| agent.for_stage(stage.as_str())))
    }

    fn connection(&self, id: &InstanceId, address: Reach, name: String) -> Result<Agent, AgentError> {
        if let Some(kept) = self.kept().get(id)
            && kept.address == address
            && kept.name == name
        {
            return Ok(kept.agent.clone());
        }
        let agent = Agent::new(&address, &name, &self.credentials)?;
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id.clone(), Kept { address, name, agent: agent.clone() });
        Ok(agent)
    }

    /// Closes the connections to all instances for which `live` does not hold.
    pub fn keep_only(&self, live: impl Fn(&InstanceId) -> bool) {
        self.kept().retain(|id, _| live(id));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<InstanceId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make_ready(&self, instance: &Instance) -> Result<(), BootError> {
        // This opens the connection that the stage's calls will use.
        let own = self.agent(&Instance { server_name: Some(instance.id.to_string()), ..instance.clone() })?;
        self.give_identity(instance, &own).await?;
        match self.ready_when {
            ReadyWhen::Answers => {}
            ReadyWhen::Proven => match own.self_test().await? {
                SelfTest::Passed(test) => tracing::debug!(instance = %instance.id, test.duration_ms, "self-test"),
                SelfTest::Unknown => tracing::debug!(instance = %instance.id, "its agent has no self-test"),
            },
        }
        Ok(())
    }

    /// Returns once the agent answers under the instance's own name.
    async fn give_identity(&self, instance: &Instance, own: &Agent) -> Result<(), BootError> {
        let address = reach(instance)?;
        let launched_as = instance.server_name.as_deref().unwrap_or(instance.id.as_str());
        if !instance.needs_claim || launched_as == instance.id.as_str() {
            // A machine of its own gets its limits from its user data. Sending them again does no harm.
            return Ok(wait_healthy(own).await?);
        }
        let copy = Agent::new(address, launched_as, &self.credentials)?;
        // An earlier attempt may have set the new name, and then the old one does not answer.
        if copy.health().await.is_err() && own.health().await.is_ok() {
            return Ok(());
        }
        wait_healthy(&copy).await?;
        copy.claim(&self.claim_request(instance)?).await?;
        Ok(wait_healthy(own).await?)
    }

    fn claim_request(&self, instance: &Instance) -> Result<ClaimRequest, BootError> {
        let id = instance.id.as_str();
        let identity = self.authority.issue_server(id).map_err(AgentError::from)?;
        let mut entropy = [0_u8; ENTROPY_BYTES];
        getrandom::fill(&mut entropy).map_err(|e| BootError::Entropy(e.to_string()))?;
        // The clock is read last, because it goes out of date.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(ClaimRequest {
            id: id.to_owned(),
            hostname: id.to_owned(),
            unix_time_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            entropy: base64::engine::general_purpose::STANDARD.encode(entropy),
            cert_pem: identity.cert_pem.clone(),
            key_pem: identity.key_pem.to_string(),
            lease_s: i64::from(self.leases.lease_s),
            max_age_s: i64::from(self.leases.max_age_s),
            docker_socket: self.showing_sockets.contains(&instance.pool),
            ..ClaimRequest::default()
        })
    }
}

/// The reason why an instance is not ready.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("the host gave no random bytes: {0}")]
    Entropy(String),
}

/// Polls until the agent serves.
///
/// # Errors
/// The last error after [`BOOT_TRY`].
async fn wait_healthy(agent: &Agent) -> Result<(), AgentError> {
    let (deadline, mut pause) = (Instant::now() + BOOT_TRY, ASK_PAUSE_MIN);
    loop {
        match agent.health().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() + pause >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 3 / 2).min(ASK_PAUSE_MAX);
    }
}

fn reach(instance: &Instance) -> Result<&Reach, AgentError> {
    instance.address.as_ref().ok_or_else(|| AgentError::Unknown(instance.id.to_string()))
}

impl StageAgents for PooledAgents {
    fn agent(&self, instance: &Instance) -> Result<Agent, AgentError> {
        Self::agent(self, instance)
    }
}

impl Agents for PooledAgents {
    fn boot<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), String>> {
        async move { self.make_ready(instance).await.map_err(|error| chain(&error)) }.boxed()
    }

    fn health<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<Option<Cause>, String>> {
        async move {
            let agent = self.agent(instance).map_err(|error| chain(&error))?;
            match tokio::time::timeout(HEALTH_WITHIN, agent.health()).await {
                Ok(answer) => answer.map(|answer| over::cause_of(answer.reason)).map_err(|error| chain(&error)),
                Err(_) => Err(format!("no answer within {} s", HEALTH_WITHIN.as_secs())),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use kiln_pool::SiteId;
    use kiln_pool::instance::Batch;

    use super::*;

    #[test]
    fn a_claim_shows_the_engines_socket_to_containers_of_the_pools_that_say_so() {
        let authority = Arc::new(Authority::create().expect("a CA"));
        let client = authority.issue_client("runner").expect("a certificate");
        let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
        let agents = PooledAgents::new(authority, credentials, Leases { lease_s: 0, max_age_s: 0 }, ReadyWhen::Answers)
            .showing_sockets_in(["open".to_owned()]);
        for (pool, expected) in [("open", true), ("closed", false)] {
            let batch = Batch {
                token: "i-1".into(),
                pool: pool.into(),
                flavor: pool.into(),
                site: SiteId::new("fake"),
                place: String::new(),
                image: "debian".into(),
                digest: String::new(),
                size: 1,
                runner: "r".into(),
            };
            let claim = agents.claim_request(&batch.intended(1)[0]).expect("a claim");
            assert_eq!(claim.docker_socket, expected, "{pool}");
        }
    }
}
