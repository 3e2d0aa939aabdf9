//! Plans for each kind of instance.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::{Left, Plan};
use crate::processes;

/// Number of concurrent stages.
const IN_FLIGHT: usize = 6;
/// Number of warm instances, and the limit of all.
const WARM: u32 = 2;
const LIMIT: u32 = 8;
/// Longest time from a runner's start to its kill.
const LATEST_KILL: Duration = Duration::from_millis(800);
/// Most events between two kills.
const EVENTS_BETWEEN: u64 = 4;
/// Time within which a stage must be done, whatever happens to its runner.
const STAGE_WITHIN: Duration = Duration::from_secs(240);

impl Plan {
    /// Returns the plan for agents as processes. All files are in this directory, with the runner's log as
    /// `runner.log`; `program` is `kiln-test-runner`.
    ///
    /// # Errors
    /// When the directory is not empty or cannot be used.
    pub fn on_processes(dir: &Path, program: &Path, kills: u32, seed: u64) -> anyhow::Result<Self> {
        require_empty(dir)?;
        let (state, trace, root) = (dir.join("state"), dir.join("trace"), dir.join("root"));
        for made in [&state, &trace, &root] {
            std::fs::create_dir_all(made).with_context(|| format!("cannot create {}", made.display()))?;
        }
        let program = program.to_owned();
        let log = Log::create(dir)?;
        let of_root = root.clone();
        let runner = move |address: SocketAddr| {
            let mut command = Command::new(&program);
            command.arg("--state").arg(&state).arg("--root").arg(&of_root);
            command.arg("--bind").arg(address.to_string());
            command.args(["--warm", &WARM.to_string(), "--limit", &LIMIT.to_string()]);
            log.attach(&mut command);
            command
        };
        let instances = root.join("instances");
        let world = move || Left {
            instances: names(&instances),
            processes: processes::naming(&instances),
            processes_of_each: 1,
        };
        Ok(Self {
            seed,
            kills,
            in_flight: IN_FLIGHT,
            pool: "pool".to_owned(),
            runner: Box::new(runner),
            world: Box::new(world),
            trace: Some(trace),
            latest_kill: LATEST_KILL,
            events_between: EVENTS_BETWEEN,
            stage_within: STAGE_WITHIN,
        })
    }
}

/// Number of concurrent stages on VMs, and their pool.
const VMS_IN_FLIGHT: usize = 3;
const VM_POOL: &str = "\
version: \"1\"
instances:
  - name: pool
    type: qemu
    pool: 1
    limit: 4
    platform: {os: linux, arch: amd64}
    spec: {image: debian, cpus: 2, memory: 1280}
";
/// A VM takes longer to start than a process.
const VM_LATEST_KILL: Duration = Duration::from_millis(6000);
/// Its steps print slowly, and each line is an event.
const VM_EVENTS_BETWEEN: u64 = 120;

impl Plan {
    /// Returns the plan for local VMs, with `kiln runner` and this user's image and golden VM. The database and the
    /// runner's log are in this directory; the VMs belong to `name`, which nobody else must use.
    ///
    /// # Errors
    /// When the directory is not empty or cannot be used.
    pub fn on_vms(dir: &Path, program: &Path, name: &str, kills: u32, seed: u64) -> anyhow::Result<Self> {
        require_empty(dir)?;
        let (pool, database) = (dir.join("pool.yml"), format!("sqlite:{}", dir.join("runner.sqlite").display()));
        std::fs::write(&pool, VM_POOL).with_context(|| format!("cannot write {}", pool.display()))?;
        let vms = vms_of(name).context("neither XDG_STATE_HOME nor HOME is set")?;
        let (log, program, name) = (Log::create(dir)?, program.to_owned(), name.to_owned());
        let runner = move |address: SocketAddr| {
            let mut command = Command::new(&program);
            command.arg("runner").arg("--pool").arg(&pool).args(["--database", &database, "--name", &name]);
            command.arg("--bind").arg(address.to_string());
            log.attach(&mut command);
            command
        };
        let world = move || {
            let processes = processes::naming(&vms);
            Left { instances: names(&vms), processes, processes_of_each: 1 }
        };
        Ok(Self {
            seed,
            kills,
            in_flight: VMS_IN_FLIGHT,
            pool: "pool".to_owned(),
            runner: Box::new(runner),
            world: Box::new(world),
            trace: None,
            latest_kill: VM_LATEST_KILL,
            events_between: VM_EVENTS_BETWEEN,
            stage_within: STAGE_WITHIN,
        })
    }
}

/// Returns the folder of the VMs of a name.
fn vms_of(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = given.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("kiln/vms").join(format!("named-{name}")))
}

fn require_empty(dir: &Path) -> anyhow::Result<()> {
    let mut entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    anyhow::ensure!(entries.next().is_none(), "{} is not empty: what lies there would be counted", dir.display());
    Ok(())
}

/// The log of the runner, over all its lives.
struct Log(PathBuf);

impl Log {
    fn create(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("runner.log");
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn attach(&self, command: &mut Command) {
        let file = File::options().append(true).open(&self.0);
        // It also runs without its log.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file.map_or_else(|_| Stdio::null(), Stdio::from));
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}
