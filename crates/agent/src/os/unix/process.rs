//! The processes of steps: each is started, waited for, and ended with all that it started.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_wire::agent::kiln::Terminal;
use nix::errno::Errno;

use super::account::Account;
use super::cgroup::{Cgroup, Parent};
use super::output::{CommandRuns, Output};
use super::spawn::{Plan, Spawned, WAYS, spawn};
use super::terminal::{Ends, Keyboard};
use super::tree::{MARK, Seen, Tree};
use super::wait::Ending;
use super::{oom, orphans, proc};
use crate::ending::{Exit, Wish};

/// What carries out a file that is no program.
const SHELL: &CStr = c"/bin/sh";
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
    ending: Ending,
    /// Until its exit status was taken.
    pid: Option<i32>,
    tree: Tree,
    cgroup: Option<Cgroup>,
    handle: Option<String>,
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
        let cgroup = self.cgroups.as_ref().and_then(|parent| parent.child(start.mark));
        let ends = Ends::open(start.terminal)?;
        let (output, runs) = Output::new(ends.reader)?;
        let input = match ends.stdin {
            Some(terminal) => terminal,
            None => File::open("/dev/null")?.into(),
        };
        let spawned = orphans::spawn(|| {
            let streams = (input.as_fd(), ends.stdout.as_fd());
            command(start, streams, cgroup.as_ref())
        })?;
        tracing::debug!(pid = spawned.pid, way = ?spawned.way, "process started");
        let tree = Tree::of_step(spawned.pid, start.mark, cgroup.clone());
        let ending = Ending::of(spawned.pid, spawned.pidfd)?;
        let pid = Some(spawned.pid);
        let handle = proc::find(spawned.pid).map(|process| process.handle());
        let process = Process { ending, pid, tree, cgroup, handle, oom_before: oom::kills_before() };
        Ok(Started { process, output, runs, keyboard: ends.keyboard })
    }

    /// Ends all of them, also those that outlived their step.
    pub(crate) async fn end_all(&self, wish: Wish) {
        let tree = Tree::of_all(&self.mark, self.cgroups.as_deref(), self.adopts);
        tree.end(tree.seen().await, wish).await;
    }

    /// Ends what an earlier process of the agent left: steps of its mark, and what the processes of these handles
    /// started. Without a mark those of anybody, if that is wanted.
    pub(crate) async fn end_left(&self, mark: Option<&str>, handles: &[&str], anybody: bool, wish: Wish) {
        if mark.is_none() && !anybody {
            return;
        }
        let all = proc::all();
        let mains = handles.iter().filter_map(|handle| proc::Process::of_handle(handle));
        let cgroups = mark.filter(|_| self.cgroups.is_some()).and_then(Parent::create);
        for main in mains.filter(|main| main.left_something(&all)) {
            Tree::of_left(mark, Some(&main), cgroups.as_ref()).end(Seen::of_left(main), wish.clone()).await;
        }
        Tree::of_left(mark, None, cgroups.as_ref()).end(Seen::default(), wish).await;
    }
}

impl Process {
    /// Waits for the end of the main process.
    pub(crate) async fn ended(&mut self) -> io::Result<Exit> {
        let exit = self.ending.wait().await;
        self.forget();
        exit
    }

    /// Ends the main process and all that it started.
    pub(crate) async fn end(&mut self, wish: Wish) -> io::Result<Exit> {
        // It is not reaped yet, so that its number cannot be another one's.
        let seen = self.tree.seen().await;
        // The main process is reaped while the tree is being ended, so that it does not count as living.
        let mut exit = None;
        {
            let reap = async { exit = Some(self.ending.wait().await) };
            let (mut reap, mut end) = (std::pin::pin!(reap), std::pin::pin!(self.tree.end(seen, wish)));
            tokio::select! {
                () = &mut reap => end.await,
                // A process that the kernel does not let go of must not keep the step from ending.
                () = &mut end => drop(tokio::time::timeout(REAP_PATIENCE, reap).await),
            }
        }
        self.forget();
        exit.unwrap_or(Ok(Exit::KILLED))
    }

    /// Its number may belong to another process from now on.
    fn forget(&mut self) {
        if let Some(pid) = self.pid.take() {
            orphans::forget(pid);
        }
    }

    /// What it is found by when this agent has ended.
    pub(crate) fn handle(&self) -> Option<String> {
        self.handle.clone()
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

/// Starts the command. A file that is no program is one of shell commands, as for a shell.
fn command(
    start: &Start<'_>,
    (input, output): (BorrowedFd<'_>, BorrowedFd<'_>),
    cgroup: Option<&Cgroup>,
) -> io::Result<Spawned> {
    let program = CString::new(start.program.as_os_str().as_bytes())?;
    let dir = CString::new(start.dir.as_os_str().as_bytes())?;
    let words = start.words.iter().chain(start.more).map(|word| CString::new(word.as_str()));
    let words = words.collect::<Result<Vec<_>, _>>()?;
    let variables = start.env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    let variables = variables.chain([CString::new(format!("{MARK}={}", start.mark))]).collect::<Result<Vec<_>, _>>()?;
    let arguments: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let environment: Vec<&CStr> = variables.iter().map(CString::as_c_str).collect();
    let identity = start.account.map(|account| (account.uid, account.gid, account.groups.as_slice()));
    let mut plan = Plan {
        program: &program,
        arguments: &arguments,
        environment: &environment,
        dir: &dir,
        input,
        output,
        terminal: start.terminal.is_some(),
        identity,
        cgroup,
    };
    match spawn(&plan, &WAYS) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOEXEC as i32) => {
            let script = [SHELL, &program].into_iter().chain(arguments.iter().skip(1).copied());
            let arguments: Vec<&CStr> = script.collect();
            (plan.program, plan.arguments) = (SHELL, &arguments);
            spawn(&plan, &WAYS)
        }
        started => started,
    }
}
