//! The agent as a program: finding one, starting it, reading its log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_driver::DriverError;
use kiln_tls::{Authority, Identity};

use crate::error::ProcessError;
use crate::record::SERVER_NAME;
use crate::unix;

/// Bytes at the end of an agent's log that are shown.
const TAIL_BYTES: u64 = 4096;
const LOG: &str = "agent.log";
/// The text before the address in the agent's log line.
const LISTENING: &str = "listening address=";
/// Setting without which an agent would regard this machine as its own, set its clock and power it off.
const HARMLESS: &str = "KILN_CHANGE_KERNEL";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Paths of the built agent below the target directory.
const AGENTS: [&str; 3] = ["release/kiln-agent", "x86_64-unknown-linux-gnu/agent/kiln-agent", "debug/kiln-agent"];

/// Settings of instances.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of the instances. It is created on demand.
    pub root: PathBuf,
    /// The program `kiln-agent`.
    pub agent: PathBuf,
    /// Time after which an agent without calls ends.
    pub lease: Option<Duration>,
    /// Age at which an agent ends.
    pub max_age: Option<Duration>,
    /// Most instances. A launch beyond it is refused for lack of capacity.
    pub limit: Option<usize>,
    /// Time within which an agent must listen; otherwise its launch has failed.
    pub start_within: Duration,
    /// Further settings of the agent, by the names of its environment.
    pub agent_env: BTreeMap<String, String>,
}

impl Settings {
    /// Returns settings without lease, age and limit.
    #[must_use]
    pub fn new(root: &Path, agent: &Path) -> Self {
        Self {
            root: root.to_owned(),
            agent: agent.to_owned(),
            lease: None,
            max_age: None,
            limit: None,
            start_within: Duration::from_secs(30),
            agent_env: BTreeMap::new(),
        }
    }
}

/// Returns the agent that this repository built: the one that `KILN_AGENT` names, else the newest one in the target
/// directory that leaves its machine alone.
///
/// # Errors
/// When there is none. The message says how to build one.
pub fn built_agent() -> Result<PathBuf, DriverError> {
    if let Some(agent) = std::env::var_os("KILN_AGENT").map(PathBuf::from) {
        require_harmless(&agent)?;
        return Ok(agent);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let found = AGENTS.iter().map(|path| target.join(path)).filter(|path| require_harmless(path).is_ok());
    let age = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    let none =
        || ProcessError::Invalid(format!("there is no agent below {}: build it with tools/build", target.display()));
    Ok(found.max_by_key(age).ok_or_else(none)?)
}

/// Refuses an agent that would change the machine it runs on.
fn require_harmless(agent: &Path) -> Result<(), ProcessError> {
    let help = Command::new(agent).arg("--help").output().map_err(ProcessError::io("run", agent))?;
    if String::from_utf8_lossy(&help.stdout).contains(HARMLESS) {
        return Ok(());
    }
    Err(ProcessError::Invalid(format!(
        "{} does not know {HARMLESS}, so it would set this machine's clock and power it off: build it anew with tools/build",
        agent.display()
    )))
}

/// An agent that can be started.
pub(crate) struct Agent {
    program: PathBuf,
    env: BTreeMap<String, String>,
    ca_pem: String,
    identity: Identity,
}

impl Agent {
    /// Returns the agent of these settings. It trusts the clients of the authority.
    pub(crate) fn new(settings: &Settings, authority: &Authority) -> Result<Self, ProcessError> {
        require_harmless(&settings.agent)?;
        let limits = [("KILN_LEASE_S", settings.lease), ("KILN_MAX_AGE_S", settings.max_age)];
        let limits =
            limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.as_secs().to_string())));
        let env = limits.chain(settings.agent_env.clone()).collect();
        let identity = authority.issue_server(SERVER_NAME)?;
        Ok(Self { program: settings.agent.clone(), env, ca_pem: authority.ca_pem().to_owned(), identity })
    }

    /// Starts the agent of an instance in its directory and returns its pid. The agent and all its processes carry
    /// `mark`, a variable of their environment.
    pub(crate) fn spawn(&self, dir: &Path, mark: (&str, PathBuf), nice: u8) -> Result<u32, ProcessError> {
        let key = self.identity.key_pem.as_str();
        for (name, mode, text) in [
            ("ca.pem", 0o644, self.ca_pem.as_str()),
            ("cert.pem", 0o644, &self.identity.cert_pem),
            ("key.pem", 0o600, key),
        ] {
            let path = dir.join(name);
            let file = File::options().create(true).write(true).truncate(true).mode(mode).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(ProcessError::io("write", &path))?;
        }
        let home = dir.join("home");
        fs::create_dir_all(&home).map_err(ProcessError::io("create", &home))?;
        let path = dir.join(LOG);
        let log = || File::options().create(true).append(true).open(&path).map_err(ProcessError::io("open", &path));
        let mut command = Command::new(&self.program);
        command
            .arg("server")
            .current_dir(dir)
            .env_clear()
            .envs(places(dir))
            .envs(&self.env)
            .env(HARMLESS, "false")
            .env(mark.0, mark.1)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?);
        unix::spawn_lasting(command, nice).map_err(ProcessError::io("start", &self.program))
    }
}

/// Returns the settings for the agent's address and files, all within a directory.
fn places(dir: &Path) -> [(&'static str, String); 9] {
    let at = |name: &str| dir.join(name).display().to_string();
    [
        ("PATH", PATH.to_owned()),
        ("HOME", at("home")),
        ("HTTPS_BIND", "127.0.0.1:0".to_owned()),
        ("CLIENT_CERT_FILE", at("ca.pem")),
        ("SERVER_CERT_FILE", at("cert.pem")),
        ("SERVER_KEY_FILE", at("key.pem")),
        ("HARNESS_WORKDIR", dir.display().to_string()),
        ("KILN_STATE_DIR", at("state")),
        ("KILN_ROOT_DIR", at("root")),
    ]
}

/// Returns the address of a directory's agent once its log shows it.
pub(crate) fn address(dir: &Path) -> Option<SocketAddr> {
    address_in(&fs::read_to_string(dir.join(LOG)).unwrap_or_default())
}

/// Takes the address from the first complete line that has one.
fn address_in(log: &str) -> Option<SocketAddr> {
    let mut whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.find_map(|line| line.split_once(LISTENING)?.1.trim_end().parse().ok())
}

/// Returns the end of an agent's log.
pub(crate) fn tail(dir: &Path) -> String {
    let read = || {
        let mut file = File::open(dir.join(LOG))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut text)?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    // An instance that is gone has no log any more.
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_from_a_whole_line_only() {
        let check = |log: &str, port: Option<u16>| assert_eq!(address_in(log).map(|a| a.port()), port, "{log:?}");
        check("x INFO agent\nx INFO listening address=127.0.0.1:4711\ny\n", Some(4711));
        check("x INFO listening address=127.0.0.1:47", None);
        check("", None);
    }
}
