//! The processes of a step, and their end.
//!
//! They are found by cgroup, by ancestry, by process group and session, and by a mark in their environment. Of these a
//! process can leave all but ancestry: its parent may end, and it is then the child of the next process above that
//! adopts orphans. The main process of each step does (`PR_SET_CHILD_SUBREAPER`), and so does the agent. So nothing
//! leaves a step while its main process lives, and nothing leaves the agent.
//!
//! ```text
//!  look ──► SIGTERM, the oldest first ──grace──► SIGSTOP until nobody new is found ──► SIGKILL, the main process last
//!    └─ whoever was found once stays a member, by number and start, and so do its children
//! ```
//! The main process is asked first, so that it does not go on with its next command when the present one is ended. It is
//! killed last, because what it adopts is found by it. When it goes earlier, as it may at a SIGTERM, the members that were
//! seen before still are, with all that they start.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::cgroup::{Cgroup, Parent};
use super::proc::{self, Process};
use crate::ending::Wish;

/// The variable that every process of a step has in its environment.
pub(super) const MARK: &str = "KILN_STEP_MARK";
/// How often the end of the processes is looked for.
const LOOK: Duration = Duration::from_millis(15);
/// How long killing goes on before it is given up: a process in an uninterruptible wait outlives SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How often the processes are killed.
const KILL_LOOK: Duration = Duration::from_millis(2);
/// How long those that have left the cgroup may keep the main process from being killed.
const ORDER_PATIENCE: Duration = Duration::from_secs(2);
/// Looks for processes that were not stopped yet. Each look that finds one was needed; a storm of forks that is still
/// not caught after so many goes on being killed.
const STOP_ROUNDS: usize = 50;
/// Looks at what is adopted, of some 20 microseconds each, between two looks at all processes,
const CHASE_ROUNDS: usize = 2000;
/// and how many of them in a row that find nothing new are enough.
const QUIET_ROUNDS: usize = 40;

/// The processes of one step, or of all.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    top: Top,
    /// What to look for in the environment of processes.
    variable: Vec<u8>,
    cgroup: Option<Cgroup>,
}

/// What members descend from.
#[derive(Debug, Clone, Copy)]
enum Top {
    /// The main process of a step, not yet reaped.
    Main(i32),
    /// The agent: all processes below it are steps', because it adopts their orphans.
    Agent,
    /// Nothing in particular.
    None,
}

/// Members that were seen: their numbers, with their starts.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    members: HashMap<i32, u64>,
    main: Option<Process>,
}

impl Tree {
    /// The tree below `main`.
    pub(super) fn of_step(main: i32, mark: &str, cgroup: Option<Cgroup>) -> Self {
        Self { top: Top::Main(main), variable: format!("{MARK}={mark}\0").into_bytes(), cgroup }
    }

    /// All steps whose marks begin with `mark`; all processes below the agent too, if it `adopts` orphans.
    pub(super) fn of_all(mark: &str, cgroups: Option<&Parent>, adopts: bool) -> Self {
        let top = if adopts { Top::Agent } else { Top::None };
        Self { top, variable: format!("{MARK}={mark}-").into_bytes(), cgroup: cgroups.map(Parent::whole) }
    }

    /// The steps of an earlier agent whose marks begin with `mark`; without one, the steps of anybody. What they are
    /// known by beside their mark is in [`Seen::of_left`].
    pub(super) fn of_left(mark: Option<&str>, main: Option<&Process>, cgroups: Option<&Parent>) -> Self {
        let variable = mark.map_or_else(|| format!("{MARK}="), |mark| format!("{MARK}={mark}-"));
        let top = main.map_or(Top::None, |main| Top::Main(main.pid));
        Self { top, variable: variable.into_bytes(), cgroup: cgroups.map(Parent::whole) }
    }

    /// Those that can be seen now. For a step: to be called before the main process is reaped.
    pub(super) async fn seen(&self) -> Seen {
        let tree = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut seen = Seen::default();
            if let Top::Main(pid) = tree.top {
                seen.main = proc::find(pid);
            }
            tree.look(&mut seen);
            seen
        });
        looked.await.unwrap_or_default()
    }

    /// Ends everything: SIGTERM, the grace of the wish, SIGKILL. The wish may be hastened meanwhile.
    pub(super) async fn end(&self, mut seen: Seen, mut wish: Wish) {
        let start = Instant::now();
        let mut asked = false;
        loop {
            let grace = wish.borrow_and_update().as_ref().map_or(Duration::ZERO, |stop| stop.grace);
            let ask = !asked && !grace.is_zero();
            let living;
            (seen, living) = self
                .blocking(seen, move |tree, seen| {
                    let living = tree.look(seen);
                    if ask {
                        Self::signal(&living, Signal::SIGTERM);
                    }
                    living.len()
                })
                .await;
            asked |= ask;
            if living == 0 {
                return self.forget();
            }
            if start.elapsed() >= grace {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill(seen).await;
        self.forget();
    }

    async fn kill(&self, seen: Seen) {
        let start = Instant::now();
        let (mut seen, mut living) = self.blocking(seen, Self::stop).await;
        while living > 0 {
            let elapsed = start.elapsed();
            if elapsed > KILL_PATIENCE {
                tracing::warn!(pids = ?seen.members.keys(), "processes outlive SIGKILL");
                return;
            }
            (seen, living) =
                self.blocking(seen, move |tree, seen| tree.kill_once(seen, elapsed > ORDER_PATIENCE)).await;
            tokio::time::sleep(KILL_LOOK).await;
        }
    }

    /// Removes what is left of the cgroup.
    pub(super) fn forget(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }

    /// Looks and signals on a thread that may wait.
    async fn blocking(
        &self,
        mut seen: Seen,
        work: impl FnOnce(&Self, &mut Seen) -> usize + Send + 'static,
    ) -> (Seen, usize) {
        let tree = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let found = work(&tree, &mut seen);
            (seen, found)
        });
        // An error means that the agent's process ends.
        done.await.unwrap_or_default()
    }

    /// Stops all, until nobody new is found, so that nobody starts another one while they are being killed. Gives how
    /// many live.
    fn stop(&self, seen: &mut Seen) -> usize {
        let mut stopped = HashSet::new();
        let mut living = Vec::new();
        for _ in 0..STOP_ROUNDS {
            living = self.look(seen);
            let new: Vec<Process> = living.iter().filter(|p| stopped.insert((p.pid, p.start))).copied().collect();
            if new.is_empty() {
                break;
            }
            Self::signal(&new, Signal::SIGSTOP);
            self.chase(seen, Signal::SIGSTOP);
        }
        living.len()
    }

    /// Signals what is adopted at the top, until nothing new is for a while. Of processes that start the next one and
    /// end, none may live as long as a look at all processes takes; this look is a hundred times as quick.
    fn chase(&self, seen: &mut Seen, signal: Signal) {
        let top = match self.top {
            Top::Main(_) => seen.main.filter(|main| proc::find(main.pid).is_some_and(|now| now.start == main.start)),
            Top::Agent => proc::find(proc::own()),
            Top::None => None,
        };
        let Some(top) = top else { return };
        let mut met: HashSet<i32> = seen.members.keys().copied().collect();
        let mut quiet = 0;
        for _ in 0..CHASE_ROUNDS {
            let new: Vec<i32> = proc::children(top.pid).into_iter().filter(|pid| met.insert(*pid)).collect();
            let new: Vec<Process> = new.into_iter().filter_map(proc::find).filter(|p| !p.zombie).collect();
            quiet = if new.is_empty() { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                return;
            }
            Self::signal(&new, signal);
            seen.members.extend(new.iter().map(|p| (p.pid, p.start)));
        }
    }

    /// Kills those that have left the cgroup, or when there are none, or it has to be `all`, the others and the main
    /// process. Gives how many lived.
    fn kill_once(&self, seen: &mut Seen, all: bool) -> usize {
        self.chase(seen, Signal::SIGKILL);
        let living = self.look(seen);
        let inside: HashSet<i32> = self.cgroup.as_ref().map(Cgroup::members).unwrap_or_default().into_iter().collect();
        let outside = |p: &&Process| !seen.is_main(p) && !inside.contains(&p.pid);
        let outsiders: Vec<Process> = living.iter().filter(outside).copied().collect();
        if !all && !outsiders.is_empty() {
            Self::signal(&outsiders, Signal::SIGKILL);
            return living.len();
        }
        if let Some(cgroup) = &self.cgroup {
            // All at once and without a race with fork.
            cgroup.kill();
        }
        Self::signal(&living, Signal::SIGKILL);
        living.len()
    }

    /// The living members.
    fn look(&self, seen: &mut Seen) -> Vec<Process> {
        let all = proc::all();
        let own = proc::own();
        let alive = |pid: &i32, start: u64| all.get(pid).is_some_and(|p| p.start == start);
        seen.members.retain(|pid, start| alive(pid, *start));
        let mut found: HashSet<i32> = seen.members.keys().copied().collect();
        found.extend(self.cgroup.as_ref().map(Cgroup::members).unwrap_or_default());
        // Group and session bear the number of the main process as long as they have members. Once that number is
        // another process's, there are none.
        let leader = seen.main.filter(|main| all.get(&main.pid).is_none_or(|p| p.start == main.start));
        for p in all.values() {
            let led = leader.is_some_and(|main| p.pid == main.pid || p.group == main.pid || p.session == main.pid);
            let adopted = matches!(self.top, Top::Agent) && p.parent == own;
            if led || adopted || proc::has_variable(p.pid, &self.variable) {
                found.insert(p.pid);
            }
        }
        // The agent is nobody's member, whatever is written into a cgroup; else its other children would be too.
        found.remove(&own);
        // Children of a member are members. A parent may be listed behind its child, hence the loop.
        loop {
            let before = found.len();
            found.extend(all.values().filter(|p| found.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
            if found.len() == before {
                break;
            }
        }
        let living: Vec<Process> =
            all.into_values().filter(|p| !p.zombie && p.pid != own && found.contains(&p.pid)).collect();
        seen.members.extend(living.iter().map(|p| (p.pid, p.start)));
        living
    }

    /// Signals these, the oldest first: the main process, and parents before their children.
    fn signal(processes: &[Process], signal: Signal) {
        let mut processes = processes.to_vec();
        processes.sort_by_key(|p| (p.start, p.pid));
        for p in processes {
            // Its number may belong to another process since it was looked at.
            if proc::find(p.pid).is_none_or(|now| now.start != p.start) {
                continue;
            }
            match kill(Pid::from_raw(p.pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::warn!(pid = p.pid, %signal, %error, "cannot signal a process"),
            }
        }
    }
}

impl Seen {
    /// The main process of an earlier agent's step, dead or alive.
    pub(super) fn of_left(main: Process) -> Self {
        Self { members: HashMap::from([(main.pid, main.start)]), main: Some(main) }
    }

    fn is_main(&self, process: &Process) -> bool {
        self.main.is_some_and(|main| (main.pid, main.start) == (process.pid, process.start))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process that is ended with this.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> (Self, Process) {
            let child = Command::new("sleep").arg("1000").spawn().expect("a process");
            let process = proc::find(i32::try_from(child.id()).expect("a number")).expect("a process");
            (Self(child), process)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    #[test]
    fn a_number_that_is_another_processs_by_now_is_neither_a_member_nor_signalled() {
        let (mut other, now) = Sleeper::start();
        let before = Process { start: now.start - 1, ..now };
        let tree = Tree::of_step(now.pid, "no-process-has-this-mark", None);
        let mut seen = Seen { members: HashMap::from([(before.pid, before.start)]), main: Some(before) };
        assert_eq!(tree.look(&mut seen), []);
        Tree::signal(&[before], Signal::SIGKILL);
        assert!(other.0.try_wait().expect("a status").is_none());
        seen.main = Some(now);
        assert_eq!(tree.look(&mut seen), [now]);
        Tree::signal(&[now], Signal::SIGKILL);
        assert!(!other.0.wait().expect("a status").success());
    }

    #[test]
    fn a_member_that_was_seen_stays_one_with_what_it_starts_though_nothing_else_tells() {
        let (_child, child) = Sleeper::start();
        let tree = Tree { top: Top::None, variable: b"NO_SUCH_VARIABLE=".to_vec(), cgroup: None };
        let parent = proc::find(child.parent).expect("this process");
        assert_eq!(tree.look(&mut Seen::default()), []);
        let mut seen = Seen { members: HashMap::from([(child.pid, child.start)]), main: None };
        assert_eq!(tree.look(&mut seen), [child]);
        // The agent itself is no member, and neither are its other children by it.
        let mut seen = Seen { members: HashMap::from([(parent.pid, parent.start)]), main: None };
        assert_eq!(tree.look(&mut seen), []);
    }
}
