//! Runners as processes, over agents as processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kiln_testkit::processes;
use kiln_wire::runner::kiln::{POOLS, Pool, PoolList};

/// Time within which a runner must answer after its start.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// Time within which a pool must reach an awaited state.
const POOL_WITHIN: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);

/// The folder of runners and their instances. All processes below it end on drop.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { dir: crate::stub::folder()? })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the folder of the test runner's instances.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn agents(&self) -> Vec<u32> {
        processes::naming(&self.root().join("instances"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.agents() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                // It may have ended by itself.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A runner. It is killed with SIGKILL on drop.
pub struct Runner {
    child: Child,
    pub api: kiln_runner_client::Runner,
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner {
    pub async fn start(place: &Place, name: &str, warm: usize, limit: usize, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name("kiln-test-runner"));
        command.arg("--state").arg(place.path()).args(["--name", name]);
        command.args(["--warm", &warm.to_string(), "--limit", &limit.to_string(), "--lease-s", "600"]);
        command.args(more).env("RUST_LOG", "warn");
        Self::spawn(command, &place.path().join(format!("{name}.log"))).await
    }

    /// Starts a runner's program on a free port of loopback, and returns once it serves. Its output goes to `log`.
    pub async fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.args(["--bind", &address.to_string()]).stdin(Stdio::null()).stderr(std::fs::File::create(log)?);
        let child = command.spawn().with_context(|| format!("{} does not start", command.get_program().display()))?;
        let mut runner = Self { child, api: crate::client(&format!("http://{address}"))? };
        let deadline = Instant::now() + UP_WITHIN;
        while !runner.api.is_healthy().await {
            let ended = runner.child.try_wait()?;
            anyhow::ensure!(
                ended.is_none() && Instant::now() < deadline,
                "the runner does not answer: {ended:?}\n{}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(runner)
    }

    pub async fn pool(&self) -> anyhow::Result<Pool> {
        let list = self.api.get::<PoolList>(POOLS, &[]).await?.message;
        list.pools.into_iter().next().context("no pool")
    }

    pub async fn wait(&self, what: impl Fn(&Pool) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + POOL_WITHIN;
        loop {
            let pool = self.pool().await?;
            if what(&pool) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "the pool does not come to rest: {pool:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns a line of its status in MiB, such as `VmHWM`.
    pub fn memory_mib(&self, key: &str) -> anyhow::Result<u64> {
        memory_kib(self.child.id(), key).map(|kib| kib / 1024).context("no memory in its status")
    }
}

/// Returns a line of a process's status, in KiB.
pub fn memory_kib(pid: u32, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
