//! From how a command ended to what pollers are told.

use kiln_wire::agent::{Cause, PollStepResponse};

use super::StartError;
use crate::ending::{Exit, Stop};

/// The exit code of a step that the agent, not its command, ended.
pub const AGENT_EXIT_CODE: i64 = 255;
/// What a shell exits with when its command was ended by force.
const SHELL_KILLED: i64 = 137;

/// A step that could not be run.
pub(super) fn failed(error: &StartError) -> PollStepResponse {
    agent_ended(Cause::Failed, error.to_string())
}

/// A step whose supervision broke. This is a defect of the agent, and still the poller must hear of it.
pub(super) fn broken(what: &str) -> PollStepResponse {
    agent_ended(Cause::Failed, format!("the agent failed while it ran this step: {what}"))
}

/// A step of which nobody knows how it ended, for a reason outside of the agent.
pub(super) fn lost(error: &std::io::Error) -> PollStepResponse {
    agent_ended(Cause::Failed, format!("nobody knows how the step ended: {error}"))
}

/// A step that was ended, or whose result counts no more, because the stage is over.
pub(crate) fn over(cause: Cause, error: &str) -> PollStepResponse {
    agent_ended(cause, error.to_owned())
}

fn agent_ended(cause: Cause, error: String) -> PollStepResponse {
    PollStepResponse { exited: true, exit_code: AGENT_EXIT_CODE, error, cause, ..Default::default() }
}

/// A step that was ended, maybe before its command began.
pub(super) fn stopped(stop: &Stop) -> PollStepResponse {
    let error = match stop.cause {
        Cause::Timeout => "context deadline exceeded".to_owned(),
        Cause::Cancelled if stop.reason.is_empty() => "the step was cancelled".to_owned(),
        Cause::Cancelled => format!("the step was cancelled: {}", stop.reason),
        Cause::Tampered => stop.reason.clone(),
        _ => "the stage was destroyed while the step ran".to_owned(),
    };
    PollStepResponse { cancel_reason: stop.reason.clone(), ..agent_ended(stop.cause, error) }
}

/// A step whose command ended. The error texts of the original are kept where it has one.
pub(super) fn ended(exit: Exit, stop: Option<&Stop>, memory_ran_out: bool) -> PollStepResponse {
    let (exit_code, signal) = match exit {
        Exit::Code(code) => (i64::from(code), 0),
        Exit::Signal(signal) => (-1, signal),
    };
    if let Some(stop) = stop {
        return PollStepResponse { signal, ..stopped(stop) };
    }
    let killed = exit == Exit::KILLED || exit_code == SHELL_KILLED;
    let oom_killed = memory_ran_out && exit_code != 0 && (killed || exit_code > 0);
    let cause = match () {
        () if oom_killed => Cause::OutOfMemory,
        () if signal != 0 => Cause::Signal,
        () => Cause::Exited,
    };
    let what = match cause {
        Cause::OutOfMemory => "oom killed".to_owned(),
        Cause::Signal => format!("exit status -1 (ended by signal {signal})"),
        _ => format!("exit status {exit_code}"),
    };
    let error = if exit_code == 0 { String::new() } else { format!("1 error occurred:\n\t* {what}\n\n") };
    PollStepResponse { exited: true, exit_code, error, oom_killed, signal, cause, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(exit: Exit, oom: bool, exit_code: i64, signal: i32, cause: Cause, error: &str) {
        let r = ended(exit, None, oom);
        assert_eq!((r.exit_code, r.signal, r.cause, r.error.as_str()), (exit_code, signal, cause, error));
        assert!(r.exited);
        assert_eq!(r.oom_killed, cause == Cause::OutOfMemory);
    }

    #[test]
    fn ends_are_told_apart() {
        check(Exit::Code(0), false, 0, 0, Cause::Exited, "");
        check(Exit::Code(0), true, 0, 0, Cause::Exited, "");
        check(Exit::Code(3), false, 3, 0, Cause::Exited, "1 error occurred:\n\t* exit status 3\n\n");
        check(
            Exit::Signal(11),
            false,
            -1,
            11,
            Cause::Signal,
            "1 error occurred:\n\t* exit status -1 (ended by signal 11)\n\n",
        );
        check(Exit::KILLED, true, -1, 9, Cause::OutOfMemory, "1 error occurred:\n\t* oom killed\n\n");
        check(Exit::Code(137), true, 137, 0, Cause::OutOfMemory, "1 error occurred:\n\t* oom killed\n\n");
        check(Exit::Code(137), false, 137, 0, Cause::Exited, "1 error occurred:\n\t* exit status 137\n\n");
    }

    #[test]
    fn what_the_agent_ends_is_255() {
        let stop = |cause| Stop { cause, reason: "why".into(), grace: Duration::ZERO };
        let end = |cause| ended(Exit::Signal(15), Some(&stop(cause)), false);
        assert_eq!(
            (end(Cause::Timeout).exit_code, end(Cause::Timeout).error.as_str()),
            (255, "context deadline exceeded")
        );
        assert_eq!(end(Cause::Cancelled).error, "the step was cancelled: why");
        assert_eq!(end(Cause::Destroyed).cause, Cause::Destroyed);
    }
}
