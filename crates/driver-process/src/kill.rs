//! The end of all processes of an instance.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::ProcessError;
use crate::name::ProcessName;
use crate::proc::{self, Stat};

/// Poll interval while processes end.
const LOOK: Duration = Duration::from_millis(5);
/// Time for a process in an uninterruptible wait, which outlives SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Ends every process of an instance, its agent last: orphans of steps stay children of the agent as long as it lives,
/// so none of them escapes. `mark` is the variable that each of them has in its environment.
pub(crate) fn end(agent: Option<&ProcessName>, mark: &str) -> Result<(), ProcessError> {
    let agent = agent.filter(|agent| agent.lives());
    let pid = agent.map(|agent| agent.pid);
    if let Some(agent) = agent {
        agent.signal(Signal::STOP);
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        let mut left: Vec<u32> = members(pid, mark).into_iter().filter(|member| Some(*member) != pid).collect();
        for member in &left {
            // The pid is taken from the present processes, not from a record.
            if let Some(member) = i32::try_from(*member).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile. The next round looks again.
                let _ = kill_process(member, Signal::KILL);
            }
        }
        if left.is_empty() {
            match agent.filter(|agent| agent.lives()) {
                Some(agent) => {
                    agent.signal(Signal::KILL);
                    left.push(agent.pid);
                }
                None => return Ok(()),
            }
        }
        if Instant::now() > deadline {
            return Err(ProcessError::Immortal(left));
        }
        std::thread::sleep(LOOK);
    }
}

/// Returns the living processes of an instance: those with its mark, those of its agent's session, and all their
/// descendants.
fn members(agent: Option<u32>, mark: &str) -> HashSet<u32> {
    let all: HashMap<u32, Stat> = proc::pids().into_iter().filter_map(|pid| Some((pid, proc::stat(pid)?))).collect();
    let own = |pid: u32, stat: &Stat| Some(pid) == agent || Some(stat.session) == agent || proc::has_mark(pid, mark);
    let mut found: HashSet<u32> = all.iter().filter(|(pid, stat)| own(**pid, stat)).map(|(pid, _)| *pid).collect();
    loop {
        let children = all.iter().filter(|(_, stat)| found.contains(&stat.parent)).map(|(pid, _)| *pid);
        let more: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
