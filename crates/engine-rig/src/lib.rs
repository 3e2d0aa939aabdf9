//! A container engine for tests: Debian's `dockerd`, in a network, mounts and processes of its own.
//!
//! [`Engine::shared`] starts one for each test program, which its tests share. It needs root and the packages that `tools/packages`
//! installs; two of them know nothing of each other, also when both publish the same port. It ends with the process that started it,
//! however that ends, and leaves nothing behind.
//!
//! ```text
//!  test program ──pipe──► shell ──► unshare ──► tini ──► shell, reads the pipe's end
//!       │                   │                    └─────► dockerd ──► containerd ──► containers
//!       └──docker.sock──────┴─ removes the folder when all of that is gone
//! ```
//!
//! Images come without a registry: [`Engine::import`] makes one of a folder. Or they come from one: [`registry`] has images of real tools
//! under the names that pipelines use. [`Engine::machine`] has files of its own as well, and is what a VM is in tests without one.

mod capabilities;
mod enter;
mod image;
pub mod layers;
pub mod registry;
mod start;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub use image::BUSYBOX;
use start::Files;

/// Where containers reach what runs in the engine's network beside them. Who resolves names is asked there as well, so that without one
/// unknown names are unknown at once.
pub const ADDRESS: &str = "10.99.0.1";
/// An engine that is asked whether it is there answers at once, or not.
const PING_WITHIN: Duration = Duration::from_secs(5);

/// A running engine. It ends when this is dropped, and at the latest when the process does.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    socket: PathBuf,
    /// The process 1 of its namespaces, as seen from outside.
    init: u32,
    shell: Child,
    life: Option<ChildStdin>,
    /// Whether [`BUSYBOX`] was made. Held while it is.
    busybox: Mutex<bool>,
}

impl Engine {
    /// Returns the engine of this test program, which the first call starts. Returns none where this user may not start one, and says
    /// so in a line that `cargo xtask test` repeats at its end.
    ///
    /// # Panics
    /// When a package is missing or the engine does not start.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Engine>> = OnceLock::new();
        SHARED.get_or_init(Self::start_as_root).as_ref()
    }

    /// Starts an engine where [`Engine::shared`] does, else does and says as that.
    ///
    /// # Panics
    /// As [`Engine::shared`].
    pub fn start_as_root() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            return Some(Self::start().unwrap_or_else(|error| panic!("{error}")));
        }
        // Past the harness, which shows nothing of a test that passes.
        let _ = writeln!(std::io::stderr(), "not run: only root can start a container engine");
        None
    }

    /// Starts an engine of its own, beside the shared one.
    ///
    /// # Errors
    /// When a package is missing or the engine does not start: what to do, for people.
    pub fn start() -> Result<Self, String> {
        start::start(Files::Shared)
    }

    /// Starts an engine with files of its own, as a machine has them: what is written to `/` there, this machine does not see, and ends
    /// with the engine. It listens at `/run/docker.sock` too. [`Engine::enter`] is how to get in.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn machine() -> Result<Self, String> {
        start::start(Files::Own)
    }

    /// Returns the socket at which the engine answers.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the folder of all that the engine writes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the process 1 of the engine's namespaces, as this process sees it.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Returns whether the engine answers.
    #[must_use]
    pub fn answers(&self) -> bool {
        ping(&self.socket).is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// Returns a command that runs in the engine's network, where the ports that containers publish are.
    #[must_use]
    pub fn within(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.init)).arg("--").arg(program);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }

    /// Returns a command that runs in the engine's network, among its processes and with its files, and ends with it.
    #[must_use]
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--net", "--pid", "--mount", "--", program]);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }

    /// Runs the `docker` command of this engine and returns what it printed, without the last line's end.
    ///
    /// # Panics
    /// When the command fails.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.docker_with(arguments, Stdio::null()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn docker_with(&self, arguments: &[&str], input: Stdio) -> Result<String, String> {
        let shown = format!("docker {}", arguments.join(" "));
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .stdin(input)
            .output()
            .map_err(|error| format!("cannot run {shown}: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{shown}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.life.take());
        // The shell removes everything; whether it could is not for a test that is at its end.
        let _ = self.shell.wait();
    }
}

/// Asks the engine at a socket whether it is there, and returns its answer.
fn ping(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PING_WITHIN))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
