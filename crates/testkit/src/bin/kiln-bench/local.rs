//! Runners of local VMs, as a user starts them: the program `kiln` with a pool file.
//!
//! ```text
//! DIR/N/cache/kiln/{images, layers}   links to the user's; golden VMs are made beside them
//! DIR/N/{state, pool.yml, log}
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

use crate::real::Runner;

/// The only pool of each runner.
pub const POOL: &str = "local";
/// Parent of the folder. It is not below /tmp, which may be memory, and not below the build, whose path may be too long
/// for a socket.
const BELOW: &str = "/var/tmp";
/// The image that `tools/image` makes.
pub const IMAGE: &str = "debian";
/// Free disk that is reserved for each VM. These write next to nothing.
const DISK_RESERVE_MIB: &str = "256";

/// The folder of all files. VMs outlive their runner, but not this.
pub struct Folder {
    dir: tempfile::TempDir,
    images: PathBuf,
    runners: AtomicU32,
}

impl Drop for Folder {
    fn drop(&mut self) {
        for pid in vms(self.dir.path()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Folder {
    pub fn new() -> anyhow::Result<Self> {
        let images = cache().context("neither XDG_CACHE_HOME nor HOME is set")?.join("kiln/images");
        anyhow::ensure!(images.join(IMAGE).is_dir(), "there is no image {IMAGE}: run tools/image first");
        let dir = tempfile::Builder::new().prefix("kiln-").tempdir_in(BELOW)?;
        Ok(Self { dir, images, runners: AtomicU32::new(0) })
    }

    /// Starts a runner of this program, with a state of its own and a pool of `warm` warm VMs and at most `limit`.
    pub async fn start(&self, program: &Path, warm: u32, limit: u32) -> anyhow::Result<Runner> {
        let program = program.canonicalize().with_context(|| program.display().to_string())?;
        let dir = self.dir.path().join(self.runners.fetch_add(1, Ordering::Relaxed).to_string());
        let cache = dir.join("cache");
        std::fs::create_dir_all(cache.join("kiln"))?;
        std::os::unix::fs::symlink(&self.images, cache.join("kiln/images"))?;
        // Container images that were put into an image lie beside it.
        let layers = self.images.with_file_name("layers");
        if layers.is_dir() {
            std::os::unix::fs::symlink(layers, cache.join("kiln/layers"))?;
        }
        let pool = dir.join("pool.yml");
        let text = format!(
            "instances:\n- name: {POOL}\n  type: qemu\n  pool: {warm}\n  limit: {limit}\n  \
             platform: {{os: linux, arch: amd64}}\n  spec: {{image: {IMAGE}, cpus: 1, memory: 1024}}\n"
        );
        std::fs::write(&pool, text)?;
        let mut command = Command::new(program);
        // The VMs of an interrupted benchmark end by themselves.
        command.args(["runner", "--name", "bench", "--lease", "10m", "--pool"]).arg(pool);
        command.env("XDG_CACHE_HOME", cache).env("XDG_STATE_HOME", dir.join("state"));
        command.env("KILN_DISK_RESERVE_MIB", DISK_RESERVE_MIB);
        for variable in ["KILN_API_TOKEN", "KILN_DATABASE", "KILN_RUNNER_NAME", "DRONE_RUNNER_NAME"] {
            command.env_remove(variable);
        }
        Runner::spawn(command, &dir.join("log")).await
    }
}

fn cache() -> Option<PathBuf> {
    let set = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
}

/// Returns the processes of VMs whose files are below a folder.
fn vms(dir: &Path) -> Vec<rustix::process::Pid> {
    let mark = dir.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = |pid: &i32| {
        // A process that ended meanwhile has no command line.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(program).contains("qemu-system") && line.windows(mark.len()).any(|part| part == mark)
    };
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).filter(ours);
    pids.filter_map(rustix::process::Pid::from_raw).collect()
}
