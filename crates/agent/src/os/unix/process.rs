//! The processes of steps: each is started, waited for, and ended with all that it started.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kiln_wire::agent::kiln::Terminal;
use tokio::process::{Child, Command};

use super::account::Account;
use super::cgroup::{Cgroup, Parent};
use super::output::{CommandRuns, Output};
use super::terminal::{Ends, Keyboard};
use super::tree::{MARK, Tree};
use super::{child, oom, orphans};
use crate::ending::{Exit, Wish};

/// How long the exit status of a killed process is waited for.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// All processes of an agent's steps.
#[derive(Debug)]
pub(crate) struct Processes {
    mark: String,
    cgroups: Option<Arc<Parent>>,
    adopts: bool,
}

/// What a process is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The file.
    pub(crate) program: &'a Path,
    /// Its name for itself, and its first arguments. Not empty.
    pub(crate) words: &'a [String],
    /// Further arguments.
    pub(crate) more: &'a [String],
    /// All of its environment but the mark.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Where it starts.
    pub(crate) dir: &'a Path,
    /// Whom it runs as; none for the agent's own user.
    pub(crate) account: Option<&'a Account>,
    /// The size of its terminal, if it has one.
    pub(crate) terminal: Option<&'a Terminal>,
    /// What it and all that it starts is found by. It begins with the mark of the agent.
    pub(crate) mark: &'a str,
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) output: Output,
    pub(crate) runs: CommandRuns,
    pub(crate) keyboard: Option<Keyboard>,
}

/// The main process of a step, and all that it started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Until its exit status was taken.
    pid: Option<i32>,
    tree: Tree,
    cgroup: Option<Cgroup>,
    oom_before: u64,
}

impl Processes {
    /// The processes of steps whose marks begin with `mark`. When the agent `adopts` orphans, it has no children but
    /// steps and what they left behind.
    pub(crate) fn new(mark: &str, cgroups: bool, adopts: bool) -> Self {
        let cgroups = cgroups.then(|| Parent::create(mark)).flatten().map(Arc::new);
        tracing::info!(cgroups = cgroups.is_some(), "processes of steps");
        Self { mark: mark.into(), cgroups, adopts }
    }

    /// Starts a process.
    pub(crate) fn start(&self, start: &Start<'_>) -> io::Result<Started> {
        let mut command = Command::new(start.program);
        command.arg0(&start.words[0]).args(&start.words[1..]).args(start.more);
        command.env_clear().envs(start.env).env(MARK, start.mark).current_dir(start.dir);
        let cgroup = self.cgroups.as_ref().and_then(|parent| parent.child(start.mark));
        let ends = Ends::open(start.terminal)?;
        match ends.stdin {
            None => command.stdin(Stdio::null()).process_group(0),
            Some(terminal) => {
                child::in_terminal(&mut command);
                command.stdin(terminal)
            }
        };
        command.stdout(ends.stdout.try_clone()?).stderr(ends.stdout);
        // Without it the step still runs and is supervised by the other means.
        let procs = cgroup.as_ref().and_then(|cgroup| {
            let opened = cgroup.procs().inspect_err(|error| tracing::warn!(%error, "no cgroup"));
            opened.ok()
        });
        child::enter(&mut command, procs, start.account);
        let (output, runs) = Output::new(ends.reader)?;
        let (child, pid) = orphans::spawn(&mut command)?;
        // It holds the writing end of the pipe, which would never seem closed.
        drop(command);
        let tree = Tree::of_step(pid, start.mark, cgroup.clone());
        let process = Process { child, pid: Some(pid), tree, cgroup, oom_before: oom::kills_so_far() };
        Ok(Started { process, output, runs, keyboard: ends.keyboard })
    }

    /// Ends all of them, also those that outlived their step.
    pub(crate) async fn end_all(&self, wish: Wish) {
        let tree = Tree::of_all(&self.mark, self.cgroups.as_deref(), self.adopts);
        tree.end(tree.seen().await, wish).await;
    }
}

impl Process {
    /// Waits for the end of the main process.
    pub(crate) async fn ended(&mut self) -> io::Result<Exit> {
        let status = self.child.wait().await;
        self.forget();
        status.map(exit)
    }

    /// Ends the main process and all that it started.
    pub(crate) async fn end(&mut self, wish: Wish) -> io::Result<Exit> {
        // It is not reaped yet, so that its number cannot be another one's.
        let seen = self.tree.seen().await;
        // The main process is reaped while the tree is being ended, so that it does not count as living.
        let mut status = None;
        {
            let reap = async { status = Some(self.child.wait().await) };
            let (mut reap, mut end) = (std::pin::pin!(reap), std::pin::pin!(self.tree.end(seen, wish)));
            tokio::select! {
                () = &mut reap => end.await,
                // A process that the kernel does not let go of must not keep the step from ending.
                () = &mut end => drop(tokio::time::timeout(REAP_PATIENCE, reap).await),
            }
        }
        self.forget();
        status.map_or(Ok(Exit::KILLED), |status| status.map(exit))
    }

    /// Its number may belong to another process from now on.
    fn forget(&mut self) {
        if let Some(pid) = self.pid.take() {
            orphans::forget(pid);
        }
    }

    /// Whether the kernel ended one of them for lack of memory.
    pub(crate) fn memory_ran_out(&self) -> bool {
        let counted = self.cgroup.as_ref().and_then(Cgroup::oom_kills).map(|kills| kills > 0);
        counted.unwrap_or_else(|| oom::kills_so_far() > self.oom_before)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.forget();
        self.tree.forget();
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}
