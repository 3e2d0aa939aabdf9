//! Judges how an attempt ended.

use kiln_pipeline::plan::{ErrorKind, Limit};
use kiln_wire::agent::{Cause as AgentCause, OutputType, PollStepResponse};
use kiln_wire::run::{Cause, Tests};

use crate::attempt::Outcome;
use crate::fleet::error_chain;
use crate::why::Why;

/// A value that a step left for others.
#[derive(Debug, Clone)]
pub struct Output {
    pub name: String,
    pub value: String,
}

/// How an attempt ended, and why.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Why it failed; `None` when it passed.
    pub cause: Option<Cause>,
    pub exit_code: Option<i32>,
    pub message: Option<String>,
    pub outputs: Vec<Output>,
    /// Values that are masked from now on.
    pub secrets: Vec<String>,
    pub tests: Option<Tests>,
}

impl Judged {
    pub fn failed(cause: Cause, message: impl Into<String>) -> Self {
        let message = Some(message.into());
        Self { cause: Some(cause), exit_code: None, message, outputs: Vec::new(), secrets: Vec::new(), tests: None }
    }

    /// Returns what an attempt that passed is, with what is said of it, if anything.
    pub fn passed(message: Option<String>) -> Self {
        Self { cause: None, exit_code: None, message, outputs: Vec::new(), secrets: Vec::new(), tests: None }
    }

    /// Makes an exit with the code that ends a stage well a pass, and returns whether it was one.
    pub fn ends_well(&mut self, code: Option<i32>) -> bool {
        let ends = self.cause == Some(Cause::ExitCode) && self.exit_code.is_some() && self.exit_code == code;
        if ends {
            self.cause = None;
            self.message =
                code.map(|code| format!("exit code {code} ends the pipeline, and what has not begun is skipped"));
        }
        ends
    }

    /// Returns the kind of failure for which strategies decide, or `None` when there is nothing to decide.
    pub fn failed_for(&self) -> Option<ErrorKind> {
        kind(self.cause?)
    }
}

/// Returns the kind of failure that a cause is to strategies. To be cancelled is none.
pub(crate) fn kind(cause: Cause) -> Option<ErrorKind> {
    match cause {
        Cause::Cancelled => None,
        Cause::Timeout => Some(ErrorKind::Timeout),
        Cause::Infrastructure => Some(ErrorKind::Infrastructure),
        Cause::ExitCode | Cause::Signal | Cause::OutOfMemory | Cause::Plan | Cause::Unknown => Some(ErrorKind::Step),
    }
}

/// Judges how an attempt ended. `why` is the reason for the early end of its stage, if there is one, and `limit` the step's
/// own.
pub(crate) fn judge(outcome: Outcome, why: Option<Why>, limit: Option<&Limit>) -> Judged {
    match outcome {
        Outcome::Ended(answer) => ended(*answer, why, limit),
        Outcome::Overdue if why.is_some() => Judged::failed(Cause::Cancelled, cancelled(why)),
        Outcome::Overdue => Judged::failed(Cause::Infrastructure, "its time was up and the agent did not end it"),
        Outcome::Gone(evidence) => Judged::failed(Cause::Infrastructure, format!("the instance ended: {evidence}")),
        Outcome::Agent(error) => Judged::failed(Cause::Infrastructure, error_chain(&error)),
    }
}

/// Returns why a step was cancelled. Without a reason of this run, somebody else asked the agent for it.
fn cancelled(why: Option<Why>) -> String {
    why.map_or_else(|| "cancelled".to_owned(), |why| why.text())
}

fn ended(answer: PollStepResponse, why: Option<Why>, limit: Option<&Limit>) -> Judged {
    let exit_code = i32::try_from(answer.exit_code).ok();
    let failed = |cause, message: String| Judged { exit_code, ..Judged::failed(cause, message) };
    let mut judged = match answer.cause {
        AgentCause::Cancelled => failed(Cause::Cancelled, cancelled(why)),
        AgentCause::Destroyed => failed(Cause::Cancelled, "ended with its stage".into()),
        AgentCause::Timeout => {
            let limit = limit.map(|limit| format!(" (timeout: {})", limit.written)).unwrap_or_default();
            failed(Cause::Timeout, format!("its time was up{limit}"))
        }
        AgentCause::Failed => failed(Cause::ExitCode, answer.error),
        // Of the VM, not of the step: nothing runs there any more.
        AgentCause::AgentRestarted | AgentCause::Tampered => Judged::failed(Cause::Infrastructure, answer.error),
        _ if answer.oom_killed => failed(Cause::OutOfMemory, "it ran out of memory".into()),
        _ if answer.signal != 0 => failed(Cause::Signal, format!("ended by signal {}", answer.signal)),
        _ if answer.exit_code != 0 => failed(Cause::ExitCode, format!("exit code {}", answer.exit_code)),
        // The program ended well, and the agent could not do what goes with it, such as reading its outputs.
        _ if !answer.error.is_empty() => failed(Cause::ExitCode, answer.error),
        _ => Judged { cause: None, message: None, ..failed(Cause::Unknown, String::new()) },
    };
    judged.secrets = answer.secrets;
    let secret = answer.outputs_v2.iter().filter(|output| output.kind == OutputType::Secret);
    judged.secrets.extend(secret.map(|output| output.value.clone()));
    judged.outputs = answer.outputs_v2.into_iter().map(|o| Output { name: o.key, value: o.value }).collect();
    for (name, value) in answer.outputs {
        if !judged.outputs.iter().any(|o| o.name == name) {
            judged.outputs.push(Output { name, value });
        }
    }
    judged
}
