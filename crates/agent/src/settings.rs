//! The agent's settings: the names of lite-engine's, and our own with the prefix `KILN_`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::durations::{millis, seconds};
use crate::log_service::Pace;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The value has the wrong form.
    #[error("setting {name}={value:?} is not {wanted}; correct it or leave it out")]
    Value {
        /// Name of the variable.
        name: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The file with the settings cannot be read.
    #[error("cannot read the settings file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Serve plain HTTP. For tests of other tools only.
    pub insecure: bool,
    /// PEM of the authority that client certificates must come from.
    pub ca_file: PathBuf,
    /// PEM of the server certificate.
    pub cert_file: PathBuf,
    /// PEM of its key.
    pub key_file: PathBuf,
    /// Where steps exchange files with the agent: `/tmp/engine`.
    pub engine_dir: PathBuf,
    /// Where output is spooled. On disk, because `/tmp` is memory on many systems.
    pub state_dir: PathBuf,
    /// Root of the files that a claim changes (`etc/hostname`, `etc/hosts`, `etc/machine-id`).
    pub root_dir: PathBuf,
    /// Whether the machine is the agent's own: a claim sets the kernel's clock, host name and entropy, and the end of
    /// the lease powers the machine off. Else the agent is one process among others, and the end of the lease ends only
    /// it.
    pub change_kernel: bool,
    /// Whether the agent adopts and reaps the orphans of steps. Only for a process of its own.
    pub adopt_orphans: bool,
    /// Whether steps get a cgroup each, where that is possible.
    pub cgroups: bool,
    /// Most bytes of output kept per step.
    pub step_output_limit_bytes: u64,
    /// Free disk space that output never uses up.
    pub disk_reserve_bytes: u64,
    /// Ended steps that are remembered.
    pub steps_kept: usize,
    /// Largest body of a request other than the workspace.
    pub body_limit_bytes: usize,
    /// Time between SIGTERM and SIGKILL.
    pub kill_grace: Duration,
    /// How long output is still read after a step's main process ended, when something else holds it open.
    pub drain_grace: Duration,
    /// How long a transfer of output, files or a workspace may stand still because of its peer.
    pub stalled_for: Duration,
    /// Where steps ask for tokens of their identities.
    pub mint_socket: PathBuf,
    /// Times of what is sent to log services.
    pub log_pace: Pace,
    /// How long the step of a self-test may take.
    pub self_test_within: Duration,
    /// Power off (or end, see [`Self::change_kernel`]) without contact for this long.
    pub lease: Option<Duration>,
    /// Power off (or end) at this age.
    pub max_age: Option<Duration>,
    /// Whom steps run as that do not say it, by name or number; empty for the agent's own user.
    pub step_user: String,
    /// Where the container engine listens, as `unix:///PATH`; empty for Docker's own socket.
    pub engine_host: String,
    /// How long a container engine that is still being started is waited for.
    pub engine_patience: Duration,
    /// Whether containers may see the engine's socket, as long as no claim says otherwise.
    pub docker_socket: bool,
    /// Environment that every step starts from; without the settings.
    pub base_env: BTreeMap<String, String>,
    /// Log more.
    pub debug: bool,
}

const MIB: u64 = 1 << 20;

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), kiln_wire::agent::PORT),
            insecure: false,
            ca_file: "/tmp/certs/ca-cert.pem".into(),
            cert_file: "/tmp/certs/server-cert.pem".into(),
            key_file: "/tmp/certs/server-key.pem".into(),
            engine_dir: "/tmp/engine".into(),
            state_dir: "/var/lib/kiln-agent".into(),
            root_dir: "/".into(),
            change_kernel: true,
            adopt_orphans: false,
            cgroups: true,
            step_output_limit_bytes: 8192 * MIB,
            disk_reserve_bytes: 256 * MIB,
            steps_kept: 1000,
            body_limit_bytes: 16 * MIB as usize,
            kill_grace: Duration::from_secs(10),
            drain_grace: Duration::from_millis(500),
            stalled_for: Duration::from_secs(60),
            mint_socket: "/tmp/harness-wi/wi.sock".into(),
            log_pace: Pace::default(),
            self_test_within: Duration::from_secs(10),
            lease: None,
            max_age: None,
            step_user: String::new(),
            engine_host: String::new(),
            engine_patience: Duration::from_secs(30),
            docker_socket: true,
            base_env: BTreeMap::new(),
            debug: false,
        }
    }
}

impl Settings {
    /// Reads the settings from an environment. What else is in it becomes the environment that steps start from.
    pub fn from_env(env: BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let mut out = Self::default();
        let read = Reader { env: &env, names: RefCell::default() };
        if let Some((name, value)) = read.find("HTTPS_BIND") {
            out.bind = parse_bind(value).ok_or_else(|| wrong(&name, value, "an address like :9079"))?;
        }
        read.path("SERVER_CERT_FILE", &mut out.cert_file);
        read.path("SERVER_KEY_FILE", &mut out.key_file);
        read.path("CLIENT_CERT_FILE", &mut out.ca_file);
        read.flag("SERVER_INSECURE", &mut out.insecure)?;
        read.flag("DEBUG", &mut out.debug)?;
        let mut trace = false;
        read.flag("TRACE", &mut trace)?;
        out.debug |= trace;
        // Of the agent and of the steps alike: their tools look for the shared directory by it.
        if let Some(dir) = env.get("HARNESS_WORKDIR").filter(|dir| !dir.is_empty()) {
            out.engine_dir = Path::new(dir).join("tmp/engine");
        }
        // Steps on the host look for the engine by it too.
        out.engine_host = env.get("DOCKER_HOST").cloned().unwrap_or_default();
        read.flag("KILN_DOCKER_SOCKET", &mut out.docker_socket)?;
        read.path("KILN_STATE_DIR", &mut out.state_dir);
        read.path("KILN_MINT_SOCKET", &mut out.mint_socket);
        read.path("KILN_ROOT_DIR", &mut out.root_dir);
        read.flag("KILN_CHANGE_KERNEL", &mut out.change_kernel)?;
        if let Some((_, user)) = read.find("KILN_STEP_USER") {
            out.step_user = user.to_owned();
        }
        if let Some(n) = read.number("KILN_STEP_OUTPUT_LIMIT_MIB")? {
            out.step_output_limit_bytes = n.saturating_mul(MIB);
        }
        if let Some(n) = read.number("KILN_DISK_RESERVE_MIB")? {
            out.disk_reserve_bytes = n.saturating_mul(MIB);
        }
        if let Some(n) = read.number("KILN_KILL_GRACE_MS")? {
            out.kill_grace = millis(n);
        }
        out.lease = read.number("KILN_LEASE_S")?.filter(|n| *n > 0).map(seconds);
        out.max_age = read.number("KILN_MAX_AGE_S")?.filter(|n| *n > 0).map(seconds);
        for name in OF_THE_ORIGINAL {
            read.find(name);
        }
        let names = read.names.into_inner();
        out.base_env = env.into_iter().filter(|(name, _)| !names.contains(name)).collect();
        Ok(out)
    }
}

/// Settings of the original that mean nothing here.
const OF_THE_ORIGINAL: [&str; 6] =
    ["SERVER_NAME", "SKIP_PREPARE_SERVER", "CLIENT_KEY_FILE", "CLIENT_INSECURE", "CLIENT_CA_CERT_FILE", "CA_CERT_FILE"];

/// The one way to a setting.
struct Reader<'a> {
    env: &'a BTreeMap<String, String>,
    /// All names that were looked for. They are the agent's own, so steps do not get them.
    names: RefCell<BTreeSet<String>>,
}

impl Reader<'_> {
    /// The original accepts each name with and without the prefix of its group, and so do we.
    fn find(&self, name: &str) -> Option<(String, &str)> {
        let names = [format!("SERVER_{name}"), name.to_owned()];
        self.names.borrow_mut().extend(names.clone());
        names
            .into_iter()
            .find_map(|name| self.env.get(&name).map(|value| (name, value.as_str())))
            .filter(|(_, value)| !value.is_empty())
    }

    fn path(&self, name: &str, into: &mut PathBuf) {
        if let Some((_, value)) = self.find(name) {
            *into = value.into();
        }
    }

    fn flag(&self, name: &str, into: &mut bool) -> Result<(), SettingsError> {
        if let Some((name, value)) = self.find(name) {
            *into = match value.to_ascii_lowercase().as_str() {
                "1" | "t" | "true" => true,
                "0" | "f" | "false" => false,
                _ => return Err(wrong(&name, value, "true or false")),
            };
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, SettingsError> {
        self.find(name)
            .map(|(name, value)| value.parse().map_err(|_| wrong(&name, value, "a whole number")))
            .transpose()
    }
}

fn wrong(name: &str, value: &str, wanted: &'static str) -> SettingsError {
    SettingsError::Value { name: name.into(), value: value.into(), wanted }
}

/// Reads `:9079`, `0.0.0.0:9079`, `[::1]:9079` or `localhost:9079`. No other names: a static binary resolves none.
fn parse_bind(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip: IpAddr = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => host.trim_start_matches('[').trim_end_matches(']').parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durations::LONGEST;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_env(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let s = settings(&[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(s.bind.port(), 9079);
        assert_eq!(s.ca_file, Path::new("/tmp/certs/ca-cert.pem"));
        assert_eq!(s.engine_dir, Path::new("/tmp/engine"));
    }

    #[test]
    fn names_are_accepted_with_and_without_prefix() {
        for name in ["HTTPS_BIND", "SERVER_HTTPS_BIND"] {
            let s = settings(&[(name, "127.0.0.1:77")]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(s.bind.to_string(), "127.0.0.1:77");
        }
        let s = settings(&[("CLIENT_CERT_FILE", "/ca"), ("SERVER_CERT_FILE", "/c"), ("SERVER_INSECURE", "true")])
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((s.ca_file, s.cert_file, s.insecure), ("/ca".into(), "/c".into(), true));
    }

    #[test]
    fn the_machine_is_the_agents_own_unless_it_is_told_otherwise() {
        let own = |pairs| settings(pairs).map(|s| (s.change_kernel, s.root_dir)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(own(&[]), (true, "/".into()));
        assert_eq!(own(&[("KILN_CHANGE_KERNEL", "false"), ("KILN_ROOT_DIR", "/x")]), (false, "/x".into()));
        // A word that is not understood must not be taken for a yes, nor for a no.
        assert!(settings(&[("KILN_CHANGE_KERNEL", "no")]).is_err());
    }

    #[test]
    fn steps_start_from_what_is_not_a_setting() {
        let mut given = vec![("PATH", "/bin"), ("HARNESS_WORKDIR", "/w"), ("KILN_OTHER", "1"), ("CLIENT_ID", "2")];
        let of_the_agent = [
            ("SERVER_HTTPS_BIND", ":1"),
            ("HTTPS_BIND", ":2"),
            ("SERVER_CERT_FILE", "/c"),
            ("SERVER_KEY_FILE", "/k"),
            ("CLIENT_CERT_FILE", "/ca"),
            ("SERVER_INSECURE", "true"),
            ("DEBUG", "true"),
            ("TRACE", ""),
            ("KILN_STATE_DIR", "/s"),
            ("KILN_MINT_SOCKET", "/m"),
            ("KILN_ROOT_DIR", "/r"),
            ("KILN_CHANGE_KERNEL", "false"),
            ("KILN_DOCKER_SOCKET", "false"),
            ("KILN_STEP_OUTPUT_LIMIT_MIB", "1"),
            ("KILN_DISK_RESERVE_MIB", "1"),
            ("KILN_KILL_GRACE_MS", "1"),
            ("KILN_LEASE_S", "1"),
            ("KILN_MAX_AGE_S", "1"),
            ("SKIP_PREPARE_SERVER", "true"),
            ("SERVER_NAME", "drone"),
            ("CLIENT_KEY_FILE", "/k"),
        ];
        given.extend(of_the_agent);
        let base = settings(&given).unwrap_or_else(|e| panic!("{e}")).base_env;
        let names: Vec<&str> = base.keys().map(String::as_str).collect();
        assert_eq!(names, ["CLIENT_ID", "HARNESS_WORKDIR", "KILN_OTHER", "PATH"]);
    }

    #[test]
    fn a_time_that_no_clock_can_count_to_is_the_longest() {
        let all = u64::MAX.to_string();
        let read = settings(&[("KILN_LEASE_S", &all), ("KILN_MAX_AGE_S", &all), ("KILN_KILL_GRACE_MS", &all)]);
        let read = read.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((read.lease, read.max_age, read.kill_grace), (Some(LONGEST), Some(LONGEST), LONGEST));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let error = settings(&[("KILN_LEASE_S", "soon")]).map(|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting KILN_LEASE_S=\"soon\" is not a whole number; correct it or leave it out"
        );
        assert!(settings(&[("HTTPS_BIND", "9079")]).is_err());
    }
}
