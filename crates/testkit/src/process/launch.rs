//! Starting an agent, once per id.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_driver::{LaunchRequest, Launched};

use super::error::ProcessError;
use super::place::{self, Entry};
use super::record::{Answer, ProcessName, Record};
use super::{IMAGE, Inner, TAIL_BYTES, kernel, unix};

/// How often an agent's log is looked at for its port.
const LOOK: Duration = Duration::from_millis(2);
const LOG: &str = "agent.log";
/// What an agent logs when it can be reached, before its address.
const LISTENING: &str = "listening address=";
/// The setting without which an agent would take this machine for its own, set its clock and power it off.
const HARMLESS: &str = "KILN_CHANGE_KERNEL";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Refuses an agent that does not know how to live beside others.
pub(super) fn require_harmless(agent: &Path) -> Result<(), ProcessError> {
    let help = Command::new(agent).arg("--help").output().map_err(ProcessError::io("run", agent))?;
    if String::from_utf8_lossy(&help.stdout).contains(HARMLESS) {
        return Ok(());
    }
    Err(ProcessError::Invalid(format!(
        "{} does not know {HARMLESS}, so it would set this machine's clock and power it off: build it anew with tools/build",
        agent.display()
    )))
}

fn check(request: &LaunchRequest) -> Result<(), ProcessError> {
    if !place::valid_id(&request.token) {
        return Err(ProcessError::Invalid(format!(
            "`{}` is not an id of an instance: use 1 to 63 lower-case letters, digits and inner hyphens",
            request.token
        )));
    }
    if request.image != IMAGE {
        return Err(ProcessError::NoImage(request.image.clone()));
    }
    if request.count != 1 {
        return Err(ProcessError::Invalid(format!("{} instances at once: processes start one by one", request.count)));
    }
    if request.cpus == 0 || request.memory_mib == 0 {
        return Err(ProcessError::Invalid(format!("{} is to have no processor or no memory", request.token)));
    }
    Ok(())
}

impl Inner {
    pub(super) fn launch(&self, request: &LaunchRequest) -> Result<Launched, ProcessError> {
        check(request)?;
        let id = &request.token;
        loop {
            let entry = self.place.enter(request, self.settings.limit)?;
            // A failed start of somebody else may have removed it meanwhile; then it is entered again.
            let Some(_lock) = self.place.lock_instance(id)? else { continue };
            return match self.start(id, entry) {
                // It failed of itself, so nothing of it stays and its id may be tried again.
                Err(error @ (ProcessError::NotUp { .. } | ProcessError::Io { .. })) if !self.place.has_ended(id) => {
                    let process = Record::read(&self.place.instance_dir(id)).and_then(|record| record.process);
                    kernel::end(process.as_ref(), &self.place.mark(id))?;
                    self.place.remove(id)?;
                    Err(error)
                }
                outcome => outcome,
            };
        }
    }

    /// The caller holds the instance's lock.
    fn start(&self, id: &str, entry: Entry) -> Result<Launched, ProcessError> {
        let (dir, began) = (self.place.instance_dir(id), Instant::now());
        if self.place.has_ended(id) {
            return Err(ProcessError::Ended(id.to_owned()));
        }
        let missing = || ProcessError::Broken(format!("{} has no record", dir.display()));
        let mut record = Record::read(&dir).ok_or_else(missing)?;
        if record.process.is_none() {
            // Whoever entered it may have been killed right after the start.
            let running = if entry == Entry::New { None } else { self.find(id) };
            let spawned = match running {
                Some(process) => Some(process),
                None => ProcessName::of(self.spawn(id, &dir)?),
            };
            // One that has ended already has told why in its log.
            let process = spawned.ok_or_else(|| not_up(id, &dir, "it ended at once"))?;
            record.process = Some(process);
            record.write(&dir)?;
        }
        let process = record.process.clone().ok_or_else(missing)?;
        if let Some(launched) = record.launched(id) {
            return if process.lives() { Ok(launched) } else { Err(ProcessError::Ended(id.to_owned())) };
        }
        let agent = self.wait_for_port(id, &dir, &process, began + self.settings.start_within)?;
        record.answer = Some(Answer { agent, start: began.elapsed() });
        record.write(&dir)?;
        record.launched(id).ok_or_else(missing)
    }

    /// The agent, by its mark: the first of the marked processes.
    fn find(&self, id: &str) -> Option<ProcessName> {
        let marked = kernel::marked(&self.place.mark(id)).into_iter().filter_map(ProcessName::of);
        marked.min_by_key(|process| (process.start_time, process.pid))
    }

    fn wait_for_port(
        &self,
        id: &str,
        dir: &Path,
        process: &ProcessName,
        deadline: Instant,
    ) -> Result<SocketAddr, ProcessError> {
        loop {
            // Before the look at the log: what an agent wrote before its end is seen.
            let lives = process.lives();
            if let Some(address) = port_in(&fs::read_to_string(dir.join(LOG)).unwrap_or_default()) {
                return Ok(address);
            }
            if self.place.has_ended(id) {
                return Err(ProcessError::Ended(id.to_owned()));
            }
            if !lives {
                return Err(not_up(id, dir, "it ended"));
            }
            if Instant::now() > deadline {
                return Err(not_up(id, dir, "it takes too long"));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn spawn(&self, id: &str, dir: &Path) -> Result<u32, ProcessError> {
        let key = self.identity.key_pem.as_str();
        for (name, mode, text) in [
            ("ca.pem", 0o644, self.ca_pem.as_str()),
            ("cert.pem", 0o644, &self.identity.cert_pem),
            ("key.pem", 0o600, key),
        ] {
            let path = dir.join(name);
            let file = File::options().create(true).write(true).truncate(true).mode(mode).open(&path);
            file.and_then(|mut file| io_write(&mut file, text)).map_err(ProcessError::io("write", &path))?;
        }
        let home = dir.join("home");
        fs::create_dir_all(&home).map_err(ProcessError::io("create", &home))?;
        let path = dir.join(LOG);
        let log = || File::options().create(true).append(true).open(&path).map_err(ProcessError::io("open", &path));
        let (name, mark) = self.place.variable(id);
        let mut command = Command::new(&self.settings.agent);
        command
            .arg("server")
            .current_dir(dir)
            .env_clear()
            .envs(self.environment(dir))
            .env(HARMLESS, "false")
            .env(name, mark)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?);
        unix::spawn_lasting(command).map_err(ProcessError::io("start", &self.settings.agent))
    }

    fn environment(&self, dir: &Path) -> BTreeMap<String, String> {
        let at = |name: &str| dir.join(name).display().to_string();
        let mut env: BTreeMap<String, String> = [
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
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let limits = [("KILN_LEASE_S", self.settings.lease), ("KILN_MAX_AGE_S", self.settings.max_age)];
        env.extend(
            limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.as_secs().to_string()))),
        );
        env.extend(self.settings.agent_env.clone());
        env
    }
}

fn io_write(file: &mut File, text: &str) -> std::io::Result<()> {
    std::io::Write::write_all(file, text.as_bytes())
}

fn not_up(id: &str, dir: &Path, why: &'static str) -> ProcessError {
    ProcessError::NotUp { id: id.to_owned(), why, log: tail(dir, TAIL_BYTES) }
}

/// The address in the first whole line that tells one.
fn port_in(log: &str) -> Option<SocketAddr> {
    let mut whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.find_map(|line| line.split_once(LISTENING)?.1.trim_end().parse().ok())
}

/// The last bytes of an agent's log.
pub(super) fn tail(dir: &Path, bytes: u64) -> String {
    let read = || {
        let mut file = File::open(dir.join(LOG))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
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
        let check = |log: &str, port: Option<u16>| assert_eq!(port_in(log).map(|a| a.port()), port, "{log:?}");
        check("x INFO agent\nx INFO listening address=127.0.0.1:4711\ny\n", Some(4711));
        check("x INFO listening address=127.0.0.1:47", None);
        check("", None);
    }
}
