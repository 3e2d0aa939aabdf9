//! What the caller of a stage waits for when its instance is a warm local VM: `/setup`, and the first `/step`.
//!
//! ```text
//! DIR/N/cache/kiln/images   a link to the user's images; golden VMs are made beside it
//! DIR/N/{state, pool.yml, log}
//! ```
//! Several programs take turns, so that whatever else the machine does slows them alike.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::numbers::{ms, percentile};
use crate::post;
use crate::real::Runner;

/// Stages of each program, if nothing else is said.
pub const ROUNDS: usize = 30;
/// VMs that each runner keeps warm.
const WARM: u32 = 2;
/// Not below /tmp, which may be memory, and not below the build, whose path may be too long for a socket's.
const BELOW: &str = "/var/tmp";
/// The image that `tools/image` makes.
const IMAGE: &str = "debian";
/// Free disk that is reserved for each VM: these write next to nothing.
const DISK_RESERVE_MIB: &str = "256";
/// Pause before each stage. What ended a VM, and made the next, has come to rest by then.
const REST: Duration = Duration::from_secs(1);

/// A program and what it took.
struct Contender {
    program: PathBuf,
    runner: Runner,
    setup: Vec<Duration>,
    step: Vec<Duration>,
    both: Vec<Duration>,
}

/// The folder in which all runs. VMs outlive their runner, but not this.
struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        for pid in vms(self.0.path()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

pub async fn run(programs: &[PathBuf], rounds: usize) -> anyhow::Result<()> {
    println!("# /setup, first /step of `true` on warm VMs of {IMAGE}; {WARM} warm each; {rounds} rounds, taking turns");
    let images = cache().context("neither XDG_CACHE_HOME nor HOME is set")?.join("kiln/images");
    anyhow::ensure!(images.join(IMAGE).is_dir(), "there is no image {IMAGE}: run tools/image first");
    let folder = Folder(tempfile::Builder::new().prefix("kiln-").tempdir_in(BELOW)?);
    let mut contenders = Vec::new();
    for (n, program) in programs.iter().enumerate() {
        let program = program.canonicalize().with_context(|| program.display().to_string())?;
        let runner = start(&program, &folder.0.path().join(n.to_string()), &images).await?;
        // One after the other: each makes its golden VM first.
        rest(&runner).await?;
        contenders.push(Contender { program, runner, setup: Vec::new(), step: Vec::new(), both: Vec::new() });
    }
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            for contender in &contenders {
                rest(&contender.runner).await?;
            }
            tokio::time::sleep(REST).await;
            // Each comes first as often as the others.
            let turn = (turn + round) % contenders.len();
            contenders[turn].serve(&format!("round-{round}")).await?;
        }
    }
    report(&mut contenders);
    Ok(())
}

async fn start(program: &Path, dir: &Path, images: &Path) -> anyhow::Result<Runner> {
    let cache = dir.join("cache");
    std::fs::create_dir_all(cache.join("kiln"))?;
    std::os::unix::fs::symlink(images, cache.join("kiln/images"))?;
    let pool = dir.join("pool.yml");
    let limit = WARM + 1;
    let text = format!(
        "instances:\n- name: local\n  type: qemu\n  pool: {WARM}\n  limit: {limit}\n  \
         platform: {{os: linux, arch: amd64}}\n  spec: {{image: {IMAGE}, cpus: 1, memory: 1024}}\n"
    );
    std::fs::write(&pool, text)?;
    let mut command = Command::new(program);
    // VMs of a benchmark that is cut off go by themselves.
    command.args(["runner", "--name", "bench", "--lease", "10m", "--pool"]).arg(pool);
    command.env("XDG_CACHE_HOME", cache).env("XDG_STATE_HOME", dir.join("state"));
    command.env("KILN_DISK_RESERVE_MIB", DISK_RESERVE_MIB);
    for variable in ["KILN_API_TOKEN", "KILN_DATABASE", "KILN_RUNNER_NAME", "DRONE_RUNNER_NAME"] {
        command.env_remove(variable);
    }
    let log = dir.join("log");
    Runner::spawn(command, &log).await
}

async fn rest(runner: &Runner) -> anyhow::Result<()> {
    runner.wait(|pool| pool.ready == WARM && pool.starting + pool.claimed + pool.terminating == 0).await
}

impl Contender {
    async fn serve(&mut self, stage: &str) -> anyhow::Result<()> {
        let api = &self.runner.api;
        let began = Instant::now();
        post(api, "/setup", &json!({"id": stage, "pool_id": "local", "setup_request": {"envs": {"A": "b"}}})).await?;
        let setup = began.elapsed();
        let run = json!({"entrypoint": ["sh", "-c"], "commands": ["true"]});
        let step = json!({"id": format!("{stage}-step"), "stage_runtime_id": stage, "run": run});
        let end = post(api, "/step", &json!({"stage_runtime_id": stage, "start_step_request": step})).await?;
        let both = began.elapsed();
        anyhow::ensure!(end["exited"] == true && end["error"].is_null(), "the step failed: {end}");
        post(api, "/destroy", &json!({"id": stage})).await?;
        self.setup.push(setup);
        self.step.push(both - setup);
        self.both.push(both);
        Ok(())
    }

    /// What it took: `/setup`, the step, and both.
    fn times(&mut self) -> [&mut Vec<Duration>; 3] {
        [&mut self.setup, &mut self.step, &mut self.both]
    }
}

fn report(contenders: &mut [Contender]) {
    let row = |cells: &[String], name: &str| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>10}")).collect();
        println!("{cells}  {name}");
    };
    row(&["setup_p50", "setup_p99", "step_p50", "step_p99", "both_p50", "both_p99"].map(str::to_owned), "in ms");
    for contender in contenders.iter_mut() {
        let cells = contender.times().into_iter().flat_map(|times| [50, 99].map(|at| ms(percentile(times, at))));
        let cells: Vec<String> = cells.collect();
        row(&cells, &contender.program.display().to_string());
    }
    let Some((first, others)) = contenders.split_first_mut() else { return };
    for other in others {
        let pairs = first.times().into_iter().zip(other.times());
        let ratios =
            pairs.flat_map(|(before, now)| [50, 99].map(|at| ratio(percentile(now, at), percentile(before, at))));
        let ratios: Vec<String> = ratios.collect();
        row(&ratios, &format!("{} of the first", other.program.display()));
    }
}

fn ratio(now: Duration, before: Duration) -> String {
    format!("{:.0} %", 100.0 * now.as_secs_f64() / before.as_secs_f64().max(f64::EPSILON))
}

fn cache() -> Option<PathBuf> {
    let set = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
}

/// The processes of VMs whose files are below a folder.
fn vms(dir: &Path) -> Vec<rustix::process::Pid> {
    let mark = dir.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = |pid: &i32| {
        // One that ended meanwhile has no command line.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(program).contains("qemu-system") && line.windows(mark.len()).any(|part| part == mark)
    };
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(ours);
    pids.filter_map(rustix::process::Pid::from_raw).collect()
}
