//! Supervises one step from its start to its result.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_wire::agent::{Cause, PollStepResponse, StartStepRequest};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};

use super::cgroup::{Cgroup, Parent};
use super::outputs::HandOver;
use super::pump::Pump;
use super::terminal::Ends;
use super::tree::{MARK, Tree};
use super::users::Account;
use super::{ExecError, command, files, oom, orphans, result, script, unix, users};
use crate::mask::{Masker, Secrets};
use crate::spool::Writer;
use crate::step::{Step, Stop};

/// Longest time limit that is honoured; a longer one is none.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the exit status of a killed process is waited for.
const REAP_PATIENCE: Duration = Duration::from_secs(5);

/// What a step needs beside its request.
#[derive(Debug)]
pub struct Job {
    /// The step.
    pub step: Arc<Step>,
    /// The request.
    pub request: StartStepRequest,
    /// Environment of the agent, of the stage, and what earlier steps exported, in rising rank.
    pub envs: Vec<BTreeMap<String, String>>,
    /// Where output goes.
    pub output: Option<Writer>,
    /// What is masked in it.
    pub secrets: Arc<Secrets>,
    /// Where cgroups are made, if they can be.
    pub cgroups: Option<Arc<Parent>>,
    /// Where steps exchange files with the agent.
    pub engine_dir: PathBuf,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// How long output is read after the main process ended.
    pub drain_grace: Duration,
}

/// Runs a step and publishes its result, whatever happens.
pub async fn run(job: Job, exported: impl FnOnce(BTreeMap<String, String>) + Send) {
    let step = job.step.clone();
    let start = Instant::now();
    let mut response = guarded(&step.id, supervise(job)).await;
    exported(response.envs.clone());
    response.duration_ms = start.elapsed().as_millis() as u64;
    response.output_bytes = step.spool.progress().len;
    tracing::info!(step = %step.id, exit_code = response.exit_code, cause = response.cause.as_str(), "step ended");
    step.finish(response);
}

/// Runs it as a task of its own, so that a panic in it still gives a result.
async fn guarded(id: &str, work: impl Future<Output = PollStepResponse> + Send + 'static) -> PollStepResponse {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(step = id, %error, "supervision of a step broke");
        result::broken("a defect of the agent, see its log")
    })
}

struct Running {
    child: Child,
    pid: i32,
    pump: Pump,
    tree: Tree,
    cgroup: Option<Cgroup>,
    oom_before: u64,
}

async fn supervise(mut job: Job) -> PollStepResponse {
    let hand_over = HandOver::new(&job.engine_dir, &job.request);
    let mut running = match start(&mut job, &hand_over) {
        Ok(running) => running,
        Err(error) => {
            if let Some(mut output) = job.output.take() {
                // People look for the reason in the output.
                output.write(format!("{error}\n").as_bytes());
                output.finish();
            }
            hand_over.clean_up();
            return result::failed(&error);
        }
    };
    let outcome = wait(&job, &mut running).await;
    orphans::forget(running.pid);
    running.pump.finish().await;
    let (status, stop) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return result::broken(&format!("its exit status cannot be read: {error}")),
    };
    let counted = running.cgroup.as_ref().and_then(Cgroup::oom_kills).map(|kills| kills > 0);
    let memory_ran_out = counted.unwrap_or_else(|| oom::kills_so_far() > running.oom_before);
    running.tree.forget();
    let mut response = result::ended(status, stop.as_ref(), memory_ran_out);
    let secrets = job.secrets.clone();
    let collected = tokio::task::spawn_blocking(move || {
        secrets.add(hand_over.collect(response.exit_code == 0, &mut response));
        hand_over.clean_up();
        response
    });
    collected.await.unwrap_or_else(|_| result::broken("its outputs cannot be read"))
}

fn start(job: &mut Job, hand_over: &HandOver) -> Result<Running, ExecError> {
    let request = &job.request;
    let (mut entrypoint, mut commands) = command::words(request)?;
    let account = users::find(&request.user)?.filter(|account| account.uid != nix::unistd::geteuid().as_raw());
    for file in &request.files {
        files::make(file)?;
    }
    let made = hand_over.prepare(account.as_ref());
    made.map_err(|source| ExecError::File { path: job.engine_dir.clone(), source })?;
    let banner = if request.log_drone { String::new() } else { banner(&commands) };
    hand_over.instrument(&entrypoint, &mut commands);
    let script_file = job.engine_dir.join(format!("{}-script", job.step.mark));
    script::spill(&mut entrypoint, &mut commands, &script_file, account.as_ref())
        .map_err(|source| ExecError::File { path: script_file, source })?;

    let own = step_env(job, hand_over);
    let layers: Vec<_> = job.envs.iter().chain([&request.environment, &own]).collect();
    let env = command::environment(&layers, account.as_ref());
    let dir = if request.working_dir.is_empty() { "/".into() } else { PathBuf::from(&request.working_dir) };
    let is_dir =
        std::fs::metadata(&dir).and_then(|meta| meta.is_dir().then_some(()).ok_or(io::ErrorKind::NotADirectory.into()));
    is_dir.map_err(|source| ExecError::WorkingDir { path: dir.clone(), source })?;
    let paths = [job.envs.first().and_then(|base| base.get("PATH")), env.get("PATH")];
    let program = command::program(&entrypoint[0], &paths, &dir)?;

    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::ArgumentListTooLong => ExecError::TooLong { program: entrypoint[0].clone() },
        _ => ExecError::Spawn { program: entrypoint[0].clone(), source },
    };
    let mut command = Command::new(program);
    command.arg0(&entrypoint[0]).args(&entrypoint[1..]).args(&commands);
    command.env_clear().envs(&env).current_dir(&dir);
    let cgroup = job.cgroups.as_ref().and_then(|parent| parent.child(&job.step.mark));
    let ends = Ends::open(request.terminal.as_ref(), &job.step).map_err(fail)?;
    let reader = ends.reader;
    let (child, pid) = spawn(command, (ends.stdin, ends.stdout), cgroup.as_ref(), account.as_ref()).map_err(fail)?;

    let masker = Masker::new(job.secrets.clone());
    let Some(output) = job.output.take() else { return Err(fail(io::ErrorKind::Other.into())) };
    let pump = Pump::start(reader, masker, output, banner.into_bytes(), job.drain_grace).map_err(fail)?;
    let tree = Tree::of_step(pid, &job.step.mark, cgroup.clone());
    Ok(Running { child, pid, pump, tree, cgroup, oom_before: oom::kills_so_far() })
}

fn spawn(
    mut command: Command,
    (input, output): (Option<OwnedFd>, OwnedFd),
    cgroup: Option<&Cgroup>,
    account: Option<&Account>,
) -> io::Result<(Child, i32)> {
    // Without it the step still runs and is supervised by the other means.
    let procs = cgroup.and_then(|cgroup| cgroup.procs().inspect_err(|error| tracing::warn!(%error, "no cgroup")).ok());
    match input {
        None => command.stdin(Stdio::null()).process_group(0),
        Some(terminal) => {
            unix::in_terminal(&mut command);
            command.stdin(terminal)
        }
    };
    command.stdout(output.try_clone()?).stderr(output);
    unix::in_child(&mut command, procs, account);
    // The command holds the pipe's writing end; it ends with this function, so that the pump sees the end of output.
    orphans::spawn(&mut command)
}

/// The variables that the agent itself gives a step.
fn step_env(job: &Job, hand_over: &HandOver) -> BTreeMap<String, String> {
    let request = &job.request;
    let mut env = hand_over.env();
    env.insert(MARK.into(), job.step.mark.clone());
    env.insert("KILN_STEP_ID".into(), request.id.clone());
    env.insert("HARNESS_SCRATCH_DIR".into(), request.scratch_dir.clone());
    // Plugins of several steps would write over each other's files under the names they are given.
    for name in [
        "PLUGIN_METADATA_FILE",
        "PLUGIN_CACHE_METRICS_FILE",
        "PLUGIN_CACHE_INTEL_METRICS_FILE",
        "PLUGIN_BUILD_TOOL_FILE",
    ] {
        if let Some(path) = request.environment.get(name).filter(|path| !path.is_empty()) {
            let own = format!("{}-{}", request.id, path.rsplit('/').next().unwrap_or(path));
            env.insert(name.into(), job.engine_dir.join(own).to_string_lossy().into_owned());
        }
    }
    env
}

/// What the original prints before the output of a step that has a log of its own.
fn banner(commands: &[String]) -> String {
    commands.first().map_or_else(String::new, |script| {
        let lines: String = script.lines().map(|line| format!("\u{1b}[33;1m{line}\u{1b}[0m\n")).collect();
        format!("\u{1b}[33;1mExecuting the following command(s):\u{1b}[0m\n{lines}")
    })
}

/// Waits for the main process; ends the tree when time is up or somebody wishes it.
async fn wait(job: &Job, running: &mut Running) -> io::Result<(ExitStatus, Option<Stop>)> {
    let limit = u64::try_from(job.request.timeout).ok().filter(|s| *s > 0).map(Duration::from_secs);
    let limit = limit.filter(|limit| *limit < LONGEST_TIMEOUT);
    let mut stops = job.step.stops();
    let timeout = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let wished = async {
        // The sender lives as long as the step.
        if stops.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        status = running.child.wait() => return status.map(|status| (status, None)),
        () = wished => {}
        () = timeout => job.step.stop(Stop { cause: Cause::Timeout, reason: String::new(), grace: kill_grace(job) }),
    }
    let stop = job.step.stops().borrow().clone();
    // The main process is reaped while the tree is being ended, so that it does not count as living.
    let mut status = None;
    {
        let reap = async { status = Some(running.child.wait().await) };
        let (mut reap, mut end) = (std::pin::pin!(reap), std::pin::pin!(running.tree.end(job.step.stops())));
        tokio::select! {
            () = &mut reap => end.await,
            // A process that the kernel does not let go of must not keep the step from ending.
            () = &mut end => drop(tokio::time::timeout(REAP_PATIENCE, reap).await),
        }
    }
    let status = status.unwrap_or_else(|| Ok(ExitStatus::from_raw(Signal::SIGKILL as i32)));
    status.map(|status| (status, stop))
}

/// The agent's grace, or what the request's own terms amount to.
fn kill_grace(job: &Job) -> Duration {
    let terms = &job.request.process_config;
    let product = terms.kill_process_max_sigterm_attempts.saturating_mul(terms.kill_process_retry_interval_secs);
    match u64::try_from(product) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds.min(600)),
        _ => job.kill_grace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Defect 2: a panic lost the step, and its poller waited for ever.
    #[tokio::test]
    async fn defect_2_a_panic_still_ends_the_step() {
        let response = guarded("s1", async { panic!("on purpose") }).await;
        assert_eq!((response.exited, response.exit_code, response.cause), (true, 255, Cause::Failed));
    }
}
