//! The agent's state and what its routes do with it.

mod idle;
mod over;
mod self_test;
mod served;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kiln_wire::agent::kiln::{CancelRequest, ClaimRequest, EPOCH_HEADER, Identity, StepList};
use kiln_wire::agent::{Cause, DestroyRequest, PollStepResponse, SetupRequest, StartStepRequest, SuspendRequest};
use tokio::sync::watch;

use crate::container::{ContainerError, Containers, EngineError};
use crate::credentials;
use crate::durations::millis;
use crate::egress::{self, EgressError};
use crate::ending::Stop;
use crate::host::{Host, HostError, account_of, make_home};
use crate::identities::Identities;
use crate::journal::{Begin, Found, Journal, JournalError, Record};
use crate::load::Load;
use crate::lock::lock;
use crate::log_service::{Deliveries, KeyError, Log, LogError};
use crate::machine::{ClaimError, Machine};
use crate::metrics::Metrics;
use crate::os::account::Account;
use crate::os::terminal::Keyboard;
use crate::os::{identity, machine};
use crate::services::Services;
use crate::settings::Settings;
use crate::spool::{self, Limits, Writer};
use crate::stage::{self, Stage};
use crate::step::{Registry, Started, Step};
use crate::supervise::{self, Job, Runtime};
use crate::tls::Tls;
use crate::watchdog::Contact;
use kiln_mask::Secrets;

use over::{Over, ProgramFile};
pub use self_test::SelfTestError;

/// How long destroy lets processes end by themselves.
const DESTROY_GRACE: Duration = Duration::from_secs(2);

/// How long destroy waits for logs that are on their way. Callers wait for 30 s.
const LOGS_WITHIN: Duration = Duration::from_secs(15);

/// Random bytes of what the marks of an agent's steps begin with.
const MARK_BYTES: usize = 8;

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
    /// What the containers of the stage share cannot be made.
    #[error("setup failed: {0}")]
    Containers(ContainerError),
    /// The container engine does not do what it is asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The container engine cannot have the proxy of the setup.
    #[error("setup failed: {0}")]
    Egress(EgressError),
    /// Steps cannot be given their identities.
    #[error("cannot listen on {path} for steps that want tokens: {source}; free or make that place")]
    Identities {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The services of the stage cannot be used as the setup describes them.
    #[error(transparent)]
    Services(LogError),
    /// The log of the step has no place.
    #[error(transparent)]
    LogKey(KeyError),
    /// A self-test is wanted of a machine that serves a stage.
    #[error("a stage was set up on this machine already, so it is not tested any more")]
    InUse,
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The stage is over before its end.
    #[error("{message}")]
    Over {
        /// Why, for programs.
        cause: Cause,
        /// Why, for people.
        message: String,
    },
    /// The call is meant for another stage.
    #[error("this agent was not set up with the stage that the call names in {EPOCH_HEADER}; set up a machine for it")]
    OtherEpoch,
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
    journal: Arc<Journal>,
    deliveries: Deliveries,
    identities: Arc<Identities>,
    /// Of the stage, if it has a log for them.
    metrics: Mutex<Option<Metrics>>,
    /// What an earlier process of the agent left.
    found: Option<Found>,
    over: OnceLock<Over>,
    stopping: AtomicBool,
    /// Where the machine is the agent's own.
    program: Option<ProgramFile>,
}

impl Agent {
    /// An agent that has done nothing yet, or one that takes over what an earlier process of it left.
    pub(crate) fn new(mut settings: Settings, tls: Arc<Tls>) -> Arc<Self> {
        let beside = settings.engine_dir.join("kiln");
        let found = Found::look([settings.state_dir.as_path(), &beside]);
        settings.state_dir = match &found {
            Some(found) => found.dir.clone(),
            None => usable(&settings.state_dir).unwrap_or(beside),
        };
        let mark = crate::machine::random_hex(MARK_BYTES);
        let begin = Begin { boot: identity::boot_id(), mark: mark.clone(), born_ms: machine::since_boot_ms() };
        let host = Arc::new(Host::new(&mark, &settings));
        let containers = Arc::new(Containers::new(&mark, &settings));
        tracing::info!(version = crate::VERSION, "agent");
        let agent = Self {
            steps: Registry::new(settings.steps_kept),
            machine: Machine::new(&settings),
            contact: Contact::new(settings.lease, settings.max_age),
            load: Load::default(),
            secrets: Arc::default(),
            stage: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            tls,
            host,
            containers,
            mark,
            started: AtomicU64::new(0),
            journal: Arc::new(Journal::new(&settings.state_dir, begin)),
            deliveries: Deliveries::default(),
            identities: Arc::default(),
            metrics: Mutex::default(),
            found,
            over: OnceLock::new(),
            stopping: AtomicBool::new(false),
            program: settings.change_kernel.then(ProgramFile::own).flatten(),
            settings,
        };
        if let Some(found) = &agent.found {
            agent.take_up(found);
        }
        Arc::new(agent)
    }

    /// The values that no text and no output shows.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// With what the marks of its steps begin.
    pub fn mark(&self) -> &str {
        &self.mark
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
            let ClaimRequest { lease_s, max_age_s, .. } = *request;
            let at_ms = machine::since_boot_ms();
            Ok(self.journal.write(&Record::Claim { id: request.id.clone(), lease_s, max_age_s, at_ms })?)
        })?;
        if new {
            self.contact.claimed(request.lease_s, request.max_age_s);
            self.containers.claimed(request.docker_socket);
            if let Some(identity) = identity {
                self.tls.swap(identity);
            }
        }
        Ok(self.machine.identity())
    }

    /// Prepares the machine for a stage, which its caller may name by `epoch`. A repetition changes nothing.
    pub async fn setup(&self, request: SetupRequest, epoch: &str) -> Result<(), AgentError> {
        self.secrets.add(credentials::of_setup(&request));
        let _turn = self.turn.lock().await;
        self.admit()?;
        {
            let stage = lock(&self.stage);
            let named = epoch.is_empty() || stage.epoch() == epoch;
            if !named && !stage.epoch().is_empty() {
                return Err(AgentError::OtherEpoch);
            }
            if named && stage.is_same(&request) {
                return Ok(());
            }
        }
        let services = Services::new(&request, &self.settings).map_err(AgentError::Services)?;
        if !request.memory_metrics_log_key.is_empty() {
            let log = Log::whole(&request.memory_metrics_log_key);
            services.logs.admit(&log).map_err(AgentError::LogKey)?;
        }
        self.journal.write(&Record::Setup { epoch: epoch.to_owned() })?;
        self.machine.close();
        let account = self.step_account().map_err(AgentError::Setup)?;
        let (engine_dir, home) = (self.settings.engine_dir.clone(), self.home(account.as_ref()));
        let prepared = tokio::task::spawn_blocking(move || {
            account.as_ref().map_or(Ok(()), make_home)?;
            stage::prepare(&request, &engine_dir, home.as_ref(), account.as_ref()).map(|()| request)
        });
        let broken = |e: tokio::task::JoinError| HostError::File { path: "setup".into(), source: e.into() };
        let request = prepared.await.map_err(broken).and_then(|r| r).map_err(AgentError::Setup)?;
        egress::set(&request, &self.settings).await.map_err(AgentError::Egress)?;
        self.containers.set_up(&request).await.map_err(AgentError::Containers)?;
        self.steps.forget_ended();
        // What is still read of an earlier one stays readable.
        if let Some(earlier) = self.end_metrics().await {
            earlier.remove();
        }
        self.load.begin();
        self.begin_metrics(&request, &services);
        let mut stage = lock(&self.stage);
        stage.name(epoch);
        stage.set(request, services);
        Ok(())
    }

    /// Whom steps run as that do not say it; none for the agent's own user.
    pub(crate) fn step_account(&self) -> Result<Option<Account>, HostError> {
        account_of(&self.settings, "")
    }

    /// The home of that account.
    pub(crate) fn home(&self, account: Option<&Account>) -> Option<String> {
        account.and_then(|account| account.home.clone()).or_else(|| self.settings.base_env.get("HOME").cloned())
    }

    /// Starts a step and returns. A step of the same id is not started again.
    pub fn start_step(self: &Arc<Self>, mut request: StartStepRequest) -> Result<(), AgentError> {
        self.secrets.add(credentials::of_step(&request));
        if request.id.is_empty() {
            return Err(AgentError::NoId);
        }
        let log = Log::of(&request).zip(lock(&self.stage).services());
        if let Some((log, services)) = &log {
            services.logs.admit(log).map_err(AgentError::LogKey)?;
        }
        let has_identities = !request.workload_identities.is_empty();
        if has_identities {
            self.identities
                .listen(&self.settings.mint_socket, self)
                .map_err(|source| AgentError::Identities { path: self.settings.mint_socket.clone(), source })?;
        }
        let mut output = None;
        let started = self.steps.start(&request.id, || {
            // While nobody else changes the steps: whoever ends the stage sees either this step, or none of it.
            self.admit()?;
            let mark = format!("{}-{:x}", self.mark, self.started.fetch_add(1, Ordering::Relaxed));
            let no_spool = |source| AgentError::Spool { dir: self.settings.state_dir.clone(), source };
            let (step, writer) = self.new_step(&request, mark).map_err(no_spool)?;
            self.note_start(&step).inspect_err(|_| step.spool.remove())?;
            output = Some(writer);
            Ok::<_, AgentError>(step)
        });
        let Started::New(step) = started? else { return Ok(()) };
        let stage_runtime_id = request.stage_runtime_id.clone();
        let delivered = log.and_then(|(log, services)| self.deliveries.begin(services.logs, log, &step.spool));
        let ticket = has_identities.then(|| self.identities.register(&mut request, &self.settings));
        let annotations = self.annotations_of(&request);
        let job = self.job(step.clone(), request, output, self.secrets.clone());
        let job = Job { journal: Some(self.journal.clone()), annotate: annotations, delivered, ..job };
        let agent = self.clone();
        tokio::spawn(supervise::run(job, move |response| {
            // What has ended may ask for nothing any more.
            drop(ticket);
            agent.settle(&step, &stage_runtime_id, response);
        }));
        Ok(())
    }

    fn note_start(&self, step: &Step) -> Result<(), JournalError> {
        // Whoever reads it does not know the secrets any more.
        let name = self.secrets.mask(step.name.clone()).into_inner();
        let (id, mark) = (step.id.clone(), step.mark.clone());
        self.journal.write(&Record::Start { id, name, mark, at_unix_ms: step.started_unix_ms() })
    }

    /// A step that is about to run, and where its output goes.
    fn new_step(&self, request: &StartStepRequest, mark: String) -> std::io::Result<(Step, Writer)> {
        let path = self.spool_dir().join(spool::name(&mark));
        let (writer, spool) = spool::create(path, limits(&self.settings))?;
        Ok((Step::new(request.id.clone(), request.name.clone(), request.detach, mark, spool), writer))
    }

    fn job(&self, step: Arc<Step>, request: StartStepRequest, output: Option<Writer>, secrets: Arc<Secrets>) -> Job {
        let envs = {
            let stage = lock(&self.stage);
            vec![self.settings.base_env.clone(), stage.envs(&request), stage.exports(&request.stage_runtime_id)]
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
            journal: None,
            annotate: None,
            delivered: None,
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
        let step = self.steps.get(id).ok_or_else(|| self.unknown_step())?;
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
        let metrics = self.end_metrics().await;
        self.deliver_logs(LOGS_WITHIN).await;
        if let Some(metrics) = metrics {
            metrics.remove();
        }
        lock(&self.stage).end(&request.stage_runtime_id);
        // The machine may wait for long before it is destroyed, or sleep until the next stage.
        idle::give_back().await;
    }

    /// Removes the containers that have exited and carry all of these labels, before the machine sleeps.
    pub async fn suspend(&self, request: &SuspendRequest) -> Result<(), AgentError> {
        Ok(self.containers.suspend(&request.labels).await?)
    }

    /// Ends every process of every step, also those that outlived their step.
    pub async fn end_steps(&self) {
        let grace = DESTROY_GRACE.min(self.settings.kill_grace);
        self.end_all(Stop { cause: Cause::Destroyed, reason: String::new(), grace }).await;
    }

    async fn end_all(&self, stop: Stop) {
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

fn limits(settings: &Settings) -> Limits {
    Limits { bytes: settings.step_output_limit_bytes, disk_reserve_bytes: settings.disk_reserve_bytes }
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
