//! A VM of the trial: its identity, and steps on it.

use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use kiln_agent_client::Agent;
use kiln_driver::Launched;
use kiln_engine::Agents as _;
use kiln_pool::SiteId;
use kiln_pool::instance::Batch;
use kiln_runner::agents::PooledAgents;
use kiln_wire::agent::{PullPolicy, RunConfig, SetupRequest, StartStepRequest};

use super::part::{Seen, Trouble};

/// Most output of a step that is read. The steps here print little.
const OUTPUT_MAX_BYTES: usize = 64 << 10;
/// Longest run of a step, for the agent. The parts have limits of their own.
const STEP_LIMIT: Duration = Duration::from_secs(120);
/// How long the agent may be out of reach while a step runs.
const UNREACHABLE_FOR: Duration = Duration::from_secs(30);

/// A VM that has its identity and is set up.
pub struct Guest {
    agent: Agent,
}

/// What a step printed, and the host's clock around it.
#[derive(Debug)]
pub struct Said {
    /// Its output, without white space around it.
    pub output: String,
    /// Before it was started.
    pub before: SystemTime,
    /// After it was known to have ended.
    pub after: SystemTime,
}

impl Guest {
    /// Gives a VM its identity, lets it prove that it can carry out a step, and prepares it for steps.
    pub async fn claim(agents: &PooledAgents, site: &SiteId, launched: &Launched) -> Seen<Self> {
        let batch = Batch {
            token: launched.id.clone(),
            size: 1,
            pool: String::new(),
            flavor: String::new(),
            site: site.clone(),
            place: String::new(),
            image: String::new(),
            digest: String::new(),
            runner: String::new(),
        };
        let mut row = batch.intended(0).pop().ok_or_else(|| Trouble::new("a batch of one has no instance", ""))?;
        row.address.clone_from(&launched.reach);
        row.server_name = Some(launched.server_name.clone());
        row.needs_claim = launched.needs_claim;
        agents.boot(&row).await.map_err(|error| Trouble::new(error, ""))?;
        row.server_name = Some(launched.id.clone());
        let agent = agents.agent(&row).map_err(Trouble::of)?;
        let identity = agent.identity().await.map_err(Trouble::of)?;
        if identity.id != launched.id || !identity.shortfalls.is_empty() {
            let what =
                format!("the VM says that it is `{}`, and lacks: {}", identity.id, identity.shortfalls.join(", "));
            return Err(Trouble::new(what, ""));
        }
        agent.setup(&SetupRequest::default()).await.map_err(Trouble::of)?;
        Ok((Self { agent }, format!("it has its own name, key, entropy and time; agent {}", identity.version)))
    }

    /// Runs a script as the VM's default user.
    pub async fn runs(&self, id: &str, script: &str) -> Result<Said, Trouble> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let run = RunConfig { entrypoint: words(&["sh", "-c"]), commands: words(&[script]) };
        self.ends_well(StartStepRequest { run, working_dir: "/".to_owned(), ..step(id) }).await
    }

    /// Runs a program in a container of an image that the VM has.
    pub async fn contains(&self, id: &str, image: &str, program: &[&str]) -> Result<Said, Trouble> {
        let run =
            RunConfig { entrypoint: program.iter().map(|word| (*word).to_owned()).collect(), ..RunConfig::default() };
        let (image, pull) = (image.to_owned(), PullPolicy::Never);
        self.ends_well(StartStepRequest { run, image, pull, ..step(id) }).await
    }

    async fn ends_well(&self, request: StartStepRequest) -> Result<Said, Trouble> {
        let before = SystemTime::now();
        self.agent.start_step(&request).await.map_err(Trouble::of)?;
        let ended = self.agent.poll_step(&request.id, UNREACHABLE_FOR).await.map_err(Trouble::of)?;
        let after = SystemTime::now();
        let output = self.output(&request.id).await?;
        if !ended.exited || ended.exit_code != 0 {
            let what = format!("the step `{}` ended with {} {}\n{output}", request.id, ended.exit_code, ended.error);
            return Err(Trouble::new(what.trim_end(), ""));
        }
        Ok(Said { output, before, after })
    }

    async fn output(&self, id: &str) -> Result<String, Trouble> {
        let mut bytes = Vec::new();
        let mut chunks = Box::pin(self.agent.output(id, 0, UNREACHABLE_FOR));
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.map_err(Trouble::of)?.bytes);
            if bytes.len() > OUTPUT_MAX_BYTES {
                let what =
                    format!("the step `{id}` printed more than {OUTPUT_MAX_BYTES} bytes, and was to print some words");
                return Err(Trouble::new(what, ""));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

fn step(id: &str) -> StartStepRequest {
    let timeout = i64::try_from(STEP_LIMIT.as_secs()).unwrap_or(i64::MAX);
    StartStepRequest { id: id.to_owned(), name: id.to_owned(), timeout, log_drone: true, ..StartStepRequest::default() }
}
