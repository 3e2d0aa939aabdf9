//! The agent's state and what its routes do with it.

mod self_test;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_wire::agent::kiln::{CancelRequest, ClaimRequest, Identity, StepList};
use kiln_wire::agent::{Cause, DestroyRequest, PollStepResponse, SetupRequest, StartStepRequest};
use tokio::sync::watch;

use crate::container::Containers;
use crate::durations::millis;
use crate::ending::Stop;
use crate::host::{Host, HostError};
use crate::load::Load;
use crate::lock::lock;
use crate::machine::{ClaimError, Machine};
use crate::os::terminal::Keyboard;
use crate::settings::Settings;
use crate::spool::{self, Limits, Writer};
use crate::stage::{self, Stage};
use crate::step::{Registry, Started, Step};
use crate::supervise::{self, Job, Runtime};
use crate::tls::Tls;
use crate::watchdog::Contact;
use kiln_mask::Secrets;

pub use self_test::SelfTestError;

/// How long destroy lets processes end by themselves.
const DESTROY_GRACE: Duration = Duration::from_secs(2);

/// Where output is kept, below the state directory.
const SPOOL_DIR: &str = "spool";

/// A request that is refused.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No id was given.
    #[error("ID needs to be set")]
    NoId,
    /// The step is not known.
    #[error("Step has not started")]
    UnknownStep,
    /// The step takes no input.
    #[error("the step has no terminal, or has ended")]
    NoTerminal,
    /// The spool cannot be made.
    #[error("cannot keep the output of the step in {dir}: {source}; free or make that directory")]
    Spool {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine cannot be prepared.
    #[error("setup failed: {0}")]
    Setup(HostError),
    /// A self-test is wanted of a machine that serves a stage.
    #[error("a stage was set up on this machine already, so it is not tested any more")]
    InUse,
    /// The self-test failed.
    #[error("the self-test failed: {0}")]
    SelfTest(SelfTestError),
}

/// How long the terminal of a step that was just started is waited for.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(5);

/// The one agent of a machine.
#[derive(Debug)]
pub struct Agent {
    /// How it is set.
    pub settings: Settings,
    /// The steps.
    pub steps: Registry,
    /// Who the machine is.
    pub machine: Machine,
    /// When the runner was last heard of.
    pub contact: Arc<Contact>,
    /// The machine's load.
    pub load: Load,
    secrets: Arc<Secrets>,
    stage: Mutex<Stage>,
    /// Setup and destroy one after the other.
    turn: tokio::sync::Mutex<()>,
    tls: Arc<Tls>,
    host: Arc<Host>,
    containers: Arc<Containers>,
    mark: String,
    started: AtomicU64,
}

impl Agent {
    /// An agent that has done nothing yet.
    pub(crate) fn new(mut settings: Settings, tls: Arc<Tls>) -> Arc<Self> {
        settings.state_dir = usable(&settings.state_dir).unwrap_or_else(|| settings.engine_dir.join("kiln"));
        let mark = crate::machine::random_hex(8);
        let host = Arc::new(Host::new(&mark, &settings));
        tracing::info!(version = crate::VERSION, "agent");
        Arc::new(Self {
            steps: Registry::new(settings.steps_kept),
            machine: Machine::new(&settings),
            contact: Contact::new(settings.lease, settings.max_age),
            load: Load::default(),
            secrets: Arc::default(),
            stage: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            tls,
            host,
            containers: Arc::default(),
            mark,
            started: AtomicU64::new(0),
            settings,
        })
    }

    /// The values that no text and no output shows.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Whether a stage was set up.
    pub fn in_use(&self) -> bool {
        lock(&self.stage).is_set_up()
    }

    /// Makes the machine somebody of its own, with the certificates and limits that the claim brings. A repetition
    /// changes nothing.
    ///
    /// # Errors
    /// When the machine is somebody else already, or the claim cannot be used; then nothing was changed.
    pub fn claim(&self, request: &ClaimRequest) -> Result<Identity, ClaimError> {
        let mut identity = None;
        let new = self.machine.claim(request, || {
            identity = self.tls.prepare(request)?;
            Ok(())
        })?;
        if new {
            self.contact.claimed(request.lease_s, request.max_age_s);
            if let Some(identity) = identity {
                self.tls.swap(identity);
            }
        }
        Ok(self.machine.identity())
    }

    /// Prepares the machine for a stage. A repetition changes nothing.
    pub async fn setup(&self, request: SetupRequest) -> Result<(), AgentError> {
        self.secrets.add(&request.secrets);
        let _turn = self.turn.lock().await;
        if lock(&self.stage).is_same(&request) {
            return Ok(());
        }
        self.machine.close();
        let (engine_dir, home) = (self.settings.engine_dir.clone(), self.settings.base_env.get("HOME").cloned());
        let prepared =
            tokio::task::spawn_blocking(move || stage::prepare(&request, &engine_dir, home.as_ref()).map(|()| request));
        let broken = |e: tokio::task::JoinError| HostError::File { path: "setup".into(), source: e.into() };
        let request = prepared.await.map_err(broken).and_then(|r| r).map_err(AgentError::Setup)?;
        self.steps.forget_ended();
        lock(&self.stage).set(request);
        Ok(())
    }

    /// Starts a step and returns. A step of the same id is not started again.
    pub fn start_step(self: &Arc<Self>, request: StartStepRequest) -> Result<(), AgentError> {
        self.secrets.add(&request.secrets);
        if request.id.is_empty() {
            return Err(AgentError::NoId);
        }
        let mut output = None;
        let started = self.steps.start(&request.id, || {
            let mark = format!("{}-{}", self.mark, self.started.fetch_add(1, Ordering::Relaxed));
            let (step, writer) = self.new_step(&request, mark)?;
            output = Some(writer);
            Ok(step)
        });
        let started = started.map_err(|source| AgentError::Spool { dir: self.settings.state_dir.clone(), source })?;
        let Started::New(step) = started else { return Ok(()) };
        let stage_runtime_id = request.stage_runtime_id.clone();
        let job = self.job(step, request, output, self.secrets.clone());
        let agent = self.clone();
        tokio::spawn(supervise::run(job, move |exported| lock(&agent.stage).export(&stage_runtime_id, exported)));
        Ok(())
    }

    /// A step that is about to run, and where its output goes.
    fn new_step(&self, request: &StartStepRequest, mark: String) -> std::io::Result<(Step, Writer)> {
        let path = self.spool_dir().join(format!("{mark}.out"));
        let limits = Limits {
            bytes: self.settings.step_output_limit_bytes,
            disk_reserve_bytes: self.settings.disk_reserve_bytes,
        };
        let (writer, spool) = spool::create(path, limits)?;
        Ok((Step::new(request.id.clone(), request.name.clone(), request.detach, mark, spool), writer))
    }

    fn job(&self, step: Arc<Step>, request: StartStepRequest, output: Option<Writer>, secrets: Arc<Secrets>) -> Job {
        let envs = {
            let stage = lock(&self.stage);
            vec![self.settings.base_env.clone(), stage.envs(), stage.exports(&request.stage_runtime_id)]
        };
        let runtime: Arc<dyn Runtime> =
            if request.image.is_empty() { self.host.clone() } else { self.containers.clone() };
        Job {
            step,
            request,
            runtime,
            envs,
            output,
            secrets,
            engine_dir: self.settings.engine_dir.clone(),
            kill_grace: self.settings.kill_grace,
            drain_grace: self.settings.drain_grace,
        }
    }

    fn spool_dir(&self) -> PathBuf {
        self.settings.state_dir.join(SPOOL_DIR)
    }

    /// Waits for a step's result.
    pub async fn poll_step(&self, id: &str) -> Result<PollStepResponse, AgentError> {
        let step = self.steps.get(id).ok_or(AgentError::UnknownStep)?;
        if step.detach && step.ended().is_none() {
            return Ok(PollStepResponse::default());
        }
        Ok(step.wait().await.response.clone())
    }

    /// Ends a step and everything it started.
    pub fn cancel(&self, request: &CancelRequest) -> Result<(), AgentError> {
        let step = self.steps.get(&request.id).ok_or(AgentError::UnknownStep)?;
        let grace = request.grace_ms.map_or(self.settings.kill_grace, millis);
        step.stop(Stop { cause: Cause::Cancelled, reason: request.reason.clone(), grace });
        Ok(())
    }

    /// Our side of a step's terminal.
    pub(crate) async fn keyboard(&self, id: &str) -> Result<Keyboard, AgentError> {
        let step = self.steps.get(id).ok_or(AgentError::UnknownStep)?;
        // A step that was only just started has its terminal in a moment.
        let keyboard = tokio::time::timeout(TERMINAL_PATIENCE, step.keyboard()).await;
        keyboard.ok().flatten().ok_or(AgentError::NoTerminal)
    }

    /// The steps that are known.
    pub fn list(&self) -> StepList {
        StepList { steps: self.steps.all().iter().map(|step| step.summary()).collect() }
    }

    /// Ends the stage: every process, and the volumes that are to be removed. May be repeated.
    pub async fn destroy(&self, request: &DestroyRequest) {
        let _turn = self.turn.lock().await;
        self.end_steps().await;
        lock(&self.stage).end(&request.stage_runtime_id);
    }

    /// Ends every process of every step, also those that outlived their step.
    pub async fn end_steps(&self) {
        let stop =
            Stop { cause: Cause::Destroyed, reason: String::new(), grace: DESTROY_GRACE.min(self.settings.kill_grace) };
        let running: Vec<_> = self.steps.all().into_iter().filter(|step| step.ended().is_none()).collect();
        for step in &running {
            step.stop(stop.clone());
        }
        for step in running {
            step.wait().await;
        }
        let wish = watch::Sender::new(Some(stop));
        for runtime in [&*self.host as &dyn Runtime, &*self.containers] {
            runtime.end_all(wish.subscribe()).await;
        }
    }
}

/// The directory, if the agent can use it, without the output of an agent that ran before.
fn usable(state_dir: &Path) -> Option<PathBuf> {
    let spool = state_dir.join(SPOOL_DIR);
    // Nothing is there at the first start.
    drop(std::fs::remove_dir_all(&spool));
    match std::fs::create_dir_all(&spool) {
        Ok(()) => Some(state_dir.into()),
        Err(error) => {
            tracing::warn!(dir = %spool.display(), %error, "output is kept under the engine directory instead");
            None
        }
    }
}
