//! Running the system's programs: with no more environment than they need, their output as progress, their errors as evidence,
//! their end tied to this process's.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::error::QemuError;
use crate::host::lines::last_lines;
use crate::host::unix;

/// How to get QEMU.
pub(crate) const INSTALL_QEMU: &str = "sudo apt-get install qemu-system-x86 qemu-utils";
/// How to get what the building of an image needs.
pub(crate) const INSTALL_BUILDERS: &str = "sudo apt-get install mmdebstrap uidmap fakeroot e2fsprogs";
/// Where the system's programs lie. A plain user's search path may lack the folders of mkfs.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What tells programs how to reach the network.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// What of this process's environment a program gets. It may hold secrets, such as the token of the runner's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: QEMU and its tools.
    Nothing,
    /// The system's search path and a plain locale: scripts, and what they call.
    Path,
    /// That, and proxies: what fetches packages.
    Network,
}

/// A command with no more environment than it needs. A bare name is looked for in this process's search path and then in
/// the system's.
#[allow(clippy::disallowed_methods)] // The one place that makes commands.
pub(crate) fn command(program: impl AsRef<Path>, needs: Needs) -> Command {
    let mut command = Command::new(find(program.as_ref()).unwrap_or_else(|| program.as_ref().to_owned()));
    command.env_clear();
    if needs != Needs::Nothing {
        command.env("PATH", SYSTEM_PATH).env("LC_ALL", "C.UTF-8");
    }
    if needs == Needs::Network {
        let names = PROXIES.into_iter().flat_map(|name| [name.to_owned(), name.to_uppercase()]);
        command.envs(names.filter_map(|name| std::env::var_os(&name).map(|value| (name, value))));
    }
    command
}

/// Where a program lies; none where it is not installed.
pub(crate) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().nth(1).is_some() {
        return program.is_file().then(|| program.to_owned());
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&own).chain(std::env::split_paths(SYSTEM_PATH));
    folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// How many lines of a failed program are told.
const TAIL_LINES: usize = 20;

/// Runs a program to its end and returns its standard output.
pub(crate) async fn output(command: Command, remedy: &'static str) -> Result<String, QemuError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } = command.output().await.map_err(|source| QemuError::ProgramMissing {
        program: program.clone(),
        remedy,
        source,
    })?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let tail = last_lines(&String::from_utf8_lossy(&stderr), TAIL_LINES);
    Err(QemuError::ProgramFailed { program, status: status.to_string(), tail })
}

/// Runs a program to its end and hands each line of its errors to `line`. When the future is dropped, or this process dies, the
/// program is told to end, so that it can take down what it has set up.
pub(crate) async fn watched(
    command: Command,
    remedy: &'static str,
    death: unix::Death,
    mut line: impl FnMut(&str),
) -> Result<(), QemuError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let missing = |source| QemuError::ProgramMissing { program: program.clone(), remedy, source };
    let mut command = command;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Ended(unix::spawn_tied(command, Vec::new(), death).map_err(missing)?);
    let _guardian = Guardian::over(&child.0).map_err(missing)?;
    let mut tail: VecDeque<String> = VecDeque::new();
    if let Some(stderr) = child.0.stderr.take() {
        let stream = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr)).map_err(missing)?;
        // Not by lines() of the reader: a program may print what is not UTF-8.
        let mut lines = BufReader::new(stream).split(b'\n');
        while let Ok(Some(bytes)) = lines.next_segment().await {
            let text = String::from_utf8_lossy(&bytes);
            line(text.trim_end());
            tail.push_back(text.trim_end().to_owned());
            if tail.len() > TAIL_LINES {
                tail.pop_front();
            }
        }
    }
    // Its errors ended, so its own end is near; a blocking wait on a thread keeps the runtime free.
    let mut child = child;
    let status = tokio::task::spawn_blocking(move || child.0.wait()).await.map_err(std::io::Error::other).flatten();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let tail = last_lines(&Vec::from(tail).join("\n"), TAIL_LINES);
            Err(QemuError::ProgramFailed { program, status: status.to_string(), tail })
        }
        Err(source) => Err(missing(source)),
    }
}

/// A process that outlives this one by seconds: when this one is killed, it kills the program's whole group. The signal of
/// [`unix::Death`] reaches the program alone, not what it has started.
struct Guardian(std::process::Child);

impl Guardian {
    fn over(leader: &std::process::Child) -> std::io::Result<Self> {
        let mut command = command("sh", Needs::Path);
        // Its input ends with this process. The pause is for a program that puts things in order by itself.
        command.args(["-c", "read line; sleep 2; kill -KILL -\"$1\"", "sh"]).arg(leader.id().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().map(Self)
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // It is a child that is not reaped, so its pid is its own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the program's whole group when dropped early.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            unix::terminate_group(&self.0);
            // It takes down its mounts and temporary files; until then nobody may remove them.
            let _ = self.0.wait();
        }
    }
}

/// Makes an empty overlay over `backing`.
pub(crate) async fn create_overlay(
    qemu_img: &Path,
    overlay: &Path,
    backing: &Path,
    virtual_bytes: u64,
) -> Result<(), QemuError> {
    let mut command = command(qemu_img, Needs::Nothing);
    // `-u`: the backing file may be about to be renamed into its place.
    command.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(backing).arg(overlay);
    command.arg(virtual_bytes.to_string());
    output(command, INSTALL_QEMU).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn lines_are_told_and_a_failure_shows_the_last_of_them() {
        let mut lines = Vec::new();
        let work = watched(shell("echo one >&2; printf 'two\\377\\n' >&2; exit 3"), "", unix::Death::Kill, |line| {
            lines.push(line.to_owned());
        });
        let error = work.await.expect_err("exit 3").to_string();
        assert_eq!(lines, ["one", "two\u{fffd}"]);
        assert!(error.contains("sh failed (exit status: 3)") && error.ends_with("one\ntwo\u{fffd}"), "{error}");
    }

    #[tokio::test]
    async fn a_program_gets_what_it_needs_of_the_environment() {
        // Cargo gives its tests many variables; a proxy may or may not be set.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let names = async |needs| {
            let text = output(command("env", needs), "").await.expect("env");
            text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(names(Needs::Nothing).await, Vec::<String>::new());
        assert_eq!(names(Needs::Path).await, ["LC_ALL", "PATH"]);
        let network = names(Needs::Network).await;
        let known = |name: &String| PROXIES.contains(&&*name.to_lowercase()) || ["PATH", "LC_ALL"].contains(&&**name);
        assert!(network.iter().all(known), "{network:?}");
    }

    #[tokio::test]
    async fn a_missing_program_is_told_with_its_remedy() {
        let error = output(Command::new("/no/such/program"), "install it").await.expect_err("missing");
        assert_eq!(error.to_string(), "cannot start /no/such/program: install it (install it)");
    }

    /// A program whose run is given up ends, and what it has started too.
    #[tokio::test]
    async fn a_run_that_is_given_up_ends_the_whole_group() {
        let dir = tempfile::tempdir().expect("a directory");
        let pids = dir.path().join("pids");
        let script = format!("sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; echo up >&2; wait", pids.display());
        let (up, mut is_up) = tokio::sync::mpsc::unbounded_channel();
        let work = watched(shell(&script), "", unix::Death::Kill, move |_| {
            up.send(()).expect("somebody listens");
        });
        tokio::select! {
            result = work => panic!("it ended: {result:?}"),
            _ = is_up.recv() => {}
        }
        let text = std::fs::read_to_string(pids).expect("pids");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        for pid in text.split_whitespace().map(|pid| pid.parse().expect("a pid")) {
            while crate::host::proc::start_time(pid).is_some() {
                assert!(std::time::Instant::now() < deadline, "{pid} lives on");
                std::thread::yield_now();
            }
        }
    }
}
