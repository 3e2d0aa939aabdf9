//! A stage that is over before its end: the agent was started again, or a step tampered with it.
//!
//! ```text
//!  serving ──a journal is found at the start──► over (agent_restarted)
//!     └──── a step tampered ──────────────────► over (tampered): what runs is ended
//! ```
//! There is no way back. What tells about the past is answered as before, what would begin something is refused.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kiln_wire::agent::{Cause, PollStepResponse};
use tokio::sync::watch;

use super::{Agent, AgentError, DESTROY_GRACE, limits};
use crate::ending::Stop;
use crate::journal::Found;
use crate::lock::lock;
use crate::os::files::Stamp;
use crate::os::{identity, machine, program};
use crate::spool;
use crate::step::Step;
use crate::supervise::{self, Left, Runtime};

/// How often it is looked whether somebody tampered with the agent, beside the ends of steps.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A system that asks a process to end also wakes it, in case it was stopped. So a wake says nothing when the agent is asked to
/// end within this time.
const WAKE_DOUBT: Duration = Duration::from_millis(300);

/// Why a stage is over, for programs and for people.
#[derive(Debug, Clone)]
pub(super) struct Over {
    pub(super) cause: Cause,
    pub(super) message: String,
}

/// The agent's program as it was started.
#[derive(Debug)]
pub(super) struct ProgramFile {
    path: PathBuf,
    stamp: Stamp,
}

impl ProgramFile {
    /// None where it cannot be told.
    pub(super) fn own() -> Option<Self> {
        let path = std::env::current_exe().ok()?;
        let stamp = Stamp::at(&path).ok()?;
        Some(Self { path, stamp })
    }

    fn damage(&self) -> Option<&'static str> {
        (Stamp::at(&self.path).ok() != Some(self.stamp)).then_some("its program was replaced")
    }
}

impl Agent {
    /// Takes over what an earlier process left. Its stage is not carried on: nobody knows how far it got.
    pub(super) fn take_up(&self, found: &Found) {
        let same_boot = is_of_this_boot(found);
        let message = match same_boot {
            true => "the agent in the VM was restarted; what ran then was ended",
            false => "the VM was booted anew, and its agent with it; what ran then was ended",
        };
        tracing::warn!(dir = %found.dir.display(), steps = found.steps.len(), same_boot, "an earlier agent served here");
        self.machine.take_up(found.claim.as_ref().map_or("", |(id, ..)| id));
        let born_ms = match &found.claim {
            Some((_, lease_s, max_age_s, at_ms)) => {
                self.contact.claimed(*lease_s, *max_age_s);
                Some(*at_ms)
            }
            None => found.begin.as_ref().map(|begin| begin.born_ms),
        };
        if let Some(born_ms) = born_ms.filter(|_| same_boot) {
            self.contact.is_aged(Duration::from_millis(machine::since_boot_ms().saturating_sub(born_ms)));
        }
        lock(&self.stage).name(&found.epoch);
        for step in &found.steps {
            let path = self.spool_dir().join(spool::name(&step.mark));
            let response = supervise::over(Cause::AgentRestarted, message);
            let step = Step::left(step, spool::left(path, limits(&self.settings)), response);
            self.steps.add(step);
        }
        // Nothing was set before.
        let _ = self.over.set(Over { cause: Cause::AgentRestarted, message: message.to_owned() });
    }

    /// Ends what still runs of the steps of an earlier process.
    pub(crate) async fn end_left(&self) {
        let Some(found) = &self.found else { return };
        let named = found.steps.iter().filter(|_| is_of_this_boot(found));
        let handles = named.filter_map(|step| step.handle.as_deref()).collect();
        let left = Left { mark: found.mark(), handles, alone: self.settings.change_kernel };
        let now = Stop { cause: Cause::AgentRestarted, reason: String::new(), grace: Duration::ZERO };
        let wish = watch::Sender::new(Some(now));
        for runtime in [&*self.host as &dyn Runtime, &*self.containers] {
            runtime.end_left(&left, wish.subscribe()).await;
        }
    }

    /// Why the stage is over, for those who ask how the agent is.
    pub(crate) fn is_over(&self) -> Option<Cause> {
        self.over.get().map(|over| over.cause)
    }

    /// Refuses to begin anything once the stage is over.
    pub(crate) fn admit(&self) -> Result<(), AgentError> {
        match self.over.get() {
            Some(Over { cause, message }) => Err(AgentError::Over { cause: *cause, message: message.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses a call that is meant for another stage than the one that was set up.
    pub(crate) fn admit_epoch(&self, given: &str) -> Result<(), AgentError> {
        let stage = lock(&self.stage);
        // Where a journal could not be read, nobody knows the name; what the caller may do then is little enough.
        let unknown = stage.epoch().is_empty() && self.over.get().is_some();
        if stage.epoch() == given || unknown { Ok(()) } else { Err(AgentError::OtherEpoch) }
    }

    /// What became of a step of that id: nobody knows it.
    pub(crate) fn unknown_step(&self) -> AgentError {
        self.admit().err().unwrap_or(AgentError::UnknownStep)
    }

    /// Looks at a step's result before it is published. It counts only if the agent could tell the truth about the step.
    pub(super) fn settle(self: &Arc<Self>, step: &Step, stage: &str, response: &mut PollStepResponse) {
        lock(&self.stage).export(stage, response.envs.clone());
        if let Some(what) = self.journal.damage().or_else(|| step.spool.damage()) {
            self.was_tampered_with(what);
        }
        if let Some(Over { cause, message }) = self.over.get() {
            *response = supervise::over(*cause, message);
        }
    }

    /// Looks every now and then whether somebody tampers with the agent, until the agent is no more.
    pub(crate) async fn keep_watch(agent: Weak<Self>) {
        let mut resumed = program::resumed();
        loop {
            let stopped = tokio::select! {
                () = resumed.next() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            if stopped {
                tokio::time::sleep(WAKE_DOUBT).await;
            }
            let Some(agent) = agent.upgrade() else { return };
            if agent.stopping.load(Ordering::Acquire) {
                return;
            }
            // Before there is a stage nobody could be deceived.
            if !agent.journal.is_begun() {
                continue;
            }
            let what = if stopped { Some("it was stopped for a while") } else { agent.damage() };
            if let Some(what) = what {
                agent.was_tampered_with(what);
                return;
            }
        }
    }

    /// The agent was asked to end, and ends its steps itself.
    pub(crate) fn is_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn damage(&self) -> Option<&'static str> {
        let running = || self.steps.all().into_iter().filter(|step| step.ended().is_none());
        let output = || running().find_map(|step| step.spool.damage());
        let program = || self.program.as_ref().and_then(ProgramFile::damage);
        self.journal.damage().or_else(output).or_else(program)
    }

    fn was_tampered_with(self: &Arc<Self>, what: &str) {
        let message = format!("a step tampered with the agent in the VM: {what}");
        if self.over.set(Over { cause: Cause::Tampered, message: message.clone() }).is_err() {
            return;
        }
        tracing::error!(message, "the stage is over");
        let grace = DESTROY_GRACE.min(self.settings.kill_grace);
        let (agent, stop) = (self.clone(), Stop { cause: Cause::Tampered, reason: message, grace });
        tokio::spawn(async move { agent.end_all(stop).await });
    }
}

/// Whether the machine was not booted since. Numbers of processes mean something within a boot alone.
fn is_of_this_boot(found: &Found) -> bool {
    found.begin.as_ref().is_none_or(|begin| begin.boot == identity::boot_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_replaced_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("program");
        std::fs::write(&path, "one").expect("a file");
        let program = ProgramFile { stamp: Stamp::at(&path).expect("a file"), path: path.clone() };
        assert_eq!(program.damage(), None);
        std::fs::write(dir.path().join("other"), "one").expect("a file");
        std::fs::rename(dir.path().join("other"), &path).expect("a file");
        assert_eq!(program.damage(), Some("its program was replaced"));
    }
}
