//! Launches. An agent is started at most once per id, however many callers ask and how often.
//!
//! ```text
//! entered (labels written) ─► locked ─► spawned ─► process written ─► it listens ─► answer written
//!     └── a launch that was killed on the way is taken up where it stood, by its record or by the agent's mark ──┘
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use kiln_driver::{LaunchRequest, Launched};

use crate::agent::{self, Agent};
use crate::error::ProcessError;
use crate::name::ProcessName;
use crate::record::{Answer, Record};
use crate::root::{self, Entry, Root};
use crate::section::{IMAGE, Spec};
use crate::{kill, proc};

/// Poll interval for the address in an agent's log.
const LOOK: Duration = Duration::from_millis(2);

/// Launches the instances of a root.
pub(crate) struct Launcher {
    pub(crate) root: Root,
    pub(crate) agent: Agent,
    /// Most instances in the root.
    pub(crate) limit: Option<usize>,
    /// Time within which an agent must listen; otherwise its launch has failed.
    pub(crate) start_within: Duration,
}

/// Refuses a request that can never succeed, before anything is done.
pub(crate) fn check(request: &LaunchRequest) -> Result<Spec, ProcessError> {
    if !root::valid_id(&request.token) {
        return Err(ProcessError::Invalid(format!(
            "`{}` is not an id of an instance: use 1 to 63 lower-case letters, digits and inner hyphens",
            request.token
        )));
    }
    if request.image != IMAGE {
        return Err(ProcessError::NoImage { asked: request.image.clone(), known: IMAGE });
    }
    if request.count != 1 {
        return Err(ProcessError::Invalid(format!("{} instances at once: processes start one by one", request.count)));
    }
    if request.cpus == 0 || request.memory_mib == 0 {
        return Err(ProcessError::Invalid(format!("{} is to have no processor or no memory", request.token)));
    }
    Spec::of(&request.spec)
}

impl Launcher {
    /// Launches the instance of a request, or returns the answer of an earlier launch of it.
    pub(crate) fn launch(&self, request: &LaunchRequest) -> Result<Launched, ProcessError> {
        let (id, spec) = (&request.token, check(request)?);
        loop {
            let entry = self.root.enter(request, self.limit)?;
            // A failed concurrent start may have removed it meanwhile; then it is entered again.
            let Some(_lock) = self.root.lock_instance(id)? else { continue };
            return match self.start(id, spec, entry) {
                // The start failed by itself, so nothing of it stays and its id may be tried again.
                Err(error @ (ProcessError::NotUp { .. } | ProcessError::Io { .. })) if !self.root.has_ended(id) => {
                    let process = Record::read(&self.root.instance_dir(id)).and_then(|record| record.process);
                    kill::end(process.as_ref(), &self.root.mark(id))?;
                    self.root.remove(id)?;
                    Err(error)
                }
                outcome => outcome,
            };
        }
    }

    /// Starts the agent, or continues a start. The caller holds the instance's lock.
    fn start(&self, id: &str, spec: Spec, entry: Entry) -> Result<Launched, ProcessError> {
        let (dir, began) = (self.root.instance_dir(id), Instant::now());
        if self.root.has_ended(id) {
            return Err(ProcessError::Ended(id.to_owned()));
        }
        let missing = || ProcessError::Broken(format!("{} has no record", dir.display()));
        let mut record = Record::read(&dir).ok_or_else(missing)?;
        if record.process.is_none() {
            // The process that entered it may have been killed right after the start.
            let running = if entry == Entry::New { None } else { self.find(id) };
            let spawned = match running {
                Some(process) => Some(process),
                None => ProcessName::of(self.agent.spawn(&dir, self.root.variable(id), spec.nice)?),
            };
            // The log of an agent that has already ended contains the reason.
            let process = spawned.ok_or_else(|| not_up(id, &dir, "it ended at once"))?;
            record.process = Some(process);
            record.write(&dir)?;
        }
        let process = record.process.clone().ok_or_else(missing)?;
        if let Some(launched) = record.launched(id) {
            return if process.lives() { Ok(launched) } else { Err(ProcessError::Ended(id.to_owned())) };
        }
        let agent = self.wait_for_address(id, &dir, &process, began + self.start_within)?;
        record.answer = Some(Answer { agent, start: began.elapsed() });
        record.write(&dir)?;
        record.launched(id).ok_or_else(missing)
    }

    /// Finds the agent by its mark: it is the first of the marked processes.
    fn find(&self, id: &str) -> Option<ProcessName> {
        let marked = proc::marked(&self.root.mark(id)).into_iter().filter_map(ProcessName::of);
        marked.min_by_key(|process| (process.start_time, process.pid))
    }

    fn wait_for_address(
        &self,
        id: &str,
        dir: &Path,
        process: &ProcessName,
        deadline: Instant,
    ) -> Result<std::net::SocketAddr, ProcessError> {
        loop {
            // This is checked before the log is read, so that the last lines before an end are seen.
            let lives = process.lives();
            if let Some(address) = agent::address(dir) {
                return Ok(address);
            }
            if self.root.has_ended(id) {
                return Err(ProcessError::Ended(id.to_owned()));
            }
            if !lives {
                return Err(not_up(id, dir, "it ended"));
            }
            if Instant::now() > deadline {
                return Err(not_up(id, dir, "it takes too long"));
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn not_up(id: &str, dir: &Path, why: &'static str) -> ProcessError {
    ProcessError::NotUp { id: id.to_owned(), why, log: agent::tail(dir) }
}
