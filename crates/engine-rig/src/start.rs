//! How an engine begins: its folder, its shell, its answer.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::registry::OTHERS;
use crate::{ADDRESS, Engine, capabilities, ping};

/// Serves an engine in a folder until its input ends.
const SERVE: &str = include_str!("serve.sh");
/// No engine takes longer to start, on a machine that is busy with tests.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How often a new engine is asked whether it is there.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// What has to be installed.
const PROGRAMS: &[&str] = &["dockerd", "containerd", "runc", "docker", "tini", "iptables", "ip", "unshare", "nsenter"];

/// What the files are that an engine and its containers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Those of this machine.
    Shared,
    /// Those of this machine at first; what is written stays with the engine.
    Own,
}

/// Starts an engine.
pub fn start(files: Files) -> Result<Engine, String> {
    let lacking: Vec<_> = PROGRAMS.iter().copied().filter(|program| !is_installed(program)).collect();
    if !lacking.is_empty() {
        return Err(format!(
            "there is no {} here: install the package docker.io (tools/packages does), the tests start their own engine from it",
            lacking.join(", ")
        ));
    }
    let said = |error: std::io::Error| format!("cannot start a container engine: {error}");
    // Not in TMPDIR: the path of a socket may have about 100 bytes. The shell removes the folder, which may live longer than this
    // process.
    let folder = tempfile::Builder::new().prefix("kiln-engine-").tempdir_in("/tmp").map_err(said)?.keep();
    let written = capabilities::confine(&folder)
        .and_then(|settings| fs::write(folder.join("daemon.json"), settings))
        .and_then(|()| fs::write(folder.join("hosts"), "127.0.0.1 localhost\n"))
        .and_then(|()| fs::write(folder.join("resolv.conf"), format!("nameserver {ADDRESS}\n")));
    written.map_err(said)?;
    if files == Files::Own {
        fs::create_dir(folder.join("machine")).map_err(said)?;
    }
    let (mut shell, unshare) = serve(&folder).map_err(said)?;
    let life = shell.stdin.take();
    let socket = folder.join("docker.sock");
    let mut engine = Engine { folder, socket, init: 0, shell, life, busybox: Mutex::new(false) };
    // From here on, dropping the engine cleans up.
    let begun = Instant::now();
    loop {
        if ping(&engine.socket).is_ok_and(|answer| answer.contains(" 200 ")) {
            engine.init = only_child(unshare).ok_or("the engine answers, and its first process is not there")?;
            return Ok(engine);
        }
        let ended = engine.shell.try_wait().map_err(said)?.is_some();
        if ended || begun.elapsed() > START_WITHIN {
            let why = if ended { "it ended" } else { "it did not answer in time" };
            return Err(format!("the container engine did not start: {why}\n{}", logs(&engine.folder)));
        }
        std::thread::sleep(ASKED_EVERY);
    }
}

/// Starts the shell, and returns it with the process that opens the namespaces.
fn serve(folder: &Path) -> std::io::Result<(Child, u32)> {
    let mut shell = Command::new("sh")
        .args(["-c", SERVE, "sh"])
        .arg(folder)
        .arg(format!("{ADDRESS} {OTHERS}"))
        .env("PATH", path())
        .current_dir("/")
        // What ends the tests from a terminal is not for it: it has to clean up.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(shell.stdout.take().expect("the output is piped")).read_line(&mut line)?;
    let unshare = line.trim().parse().map_err(|_| std::io::Error::other("its shell said nothing"))?;
    Ok((shell, unshare))
}

/// Returns the one child of a process.
fn only_child(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.trim().parse().ok()
}

/// The folders of programs, with those that a plain user does not have.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

fn is_installed(program: &str) -> bool {
    path().split(':').any(|folder| Path::new(folder).join(program).is_file())
}

/// Returns the ends of what an engine said.
fn logs(folder: &Path) -> String {
    let end = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    };
    format!("{}\n{}", end("inside"), end("log")).trim().to_owned()
}
