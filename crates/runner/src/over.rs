//! Agents that serve their stage no more, and the cause of the instance's end that follows.

use kiln_agent_client::AgentError;
use kiln_pool::{Cause, Code};
use kiln_wire::agent::{self, PollStepResponse};

/// Returns the cause for an agent's word; none for words about the end of a step.
#[must_use]
pub fn cause_of(word: agent::Cause) -> Option<Cause> {
    match word {
        agent::Cause::AgentRestarted => {
            Some(Cause::new(Code::AgentRestarted, "the agent in the VM was restarted; what ran then was ended"))
        }
        agent::Cause::OtherEpoch => {
            Some(Cause::new(Code::AgentRestarted, "the agent in the VM no longer knows its stage"))
        }
        agent::Cause::Tampered => {
            Some(Cause::new(Code::AgentTampered, "a step changed what the agent in the VM needs to supervise steps"))
        }
        agent::Cause::Unknown
        | agent::Cause::Exited
        | agent::Cause::Signal
        | agent::Cause::OutOfMemory
        | agent::Cause::Timeout
        | agent::Cause::Cancelled
        | agent::Cause::Destroyed
        | agent::Cause::Failed => None,
    }
}

/// Returns the cause when an agent refused a call because its stage is over.
#[must_use]
pub fn cause_in(error: &AgentError) -> Option<Cause> {
    cause_of(error.over()?)
}

/// Returns the cause when a step's result says that the stage is over. The evidence of tampering is in the agent's
/// words.
#[must_use]
pub fn cause_of_step(result: &PollStepResponse) -> Option<Cause> {
    let cause = cause_of(result.cause)?;
    let told = cause.code == Code::AgentTampered && !result.error.is_empty();
    Some(if told { Cause::new(cause.code, result.error.as_str()) } else { cause })
}
