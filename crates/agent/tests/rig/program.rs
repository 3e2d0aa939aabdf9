//! The program as a process of its own.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use kiln_tls::Authority;

use super::rig::{Client, NAME, Pem, pem};

pub struct Program {
    pub child: Child,
    pub dir: tempfile::TempDir,
    pub client: Client,
    pub address: SocketAddr,
    /// What the client shows.
    pub runner: Pem,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Program {
    /// Starts the program as cloud-init does, with the original's names of settings.
    pub fn start(program: &str, flag: &str) -> Self {
        Self::start_with(program, flag, "")
    }

    /// With further settings, which end in a line break. The machine is never the agent's own.
    pub fn start_with(program: &str, flag: &str, more: &str) -> Self {
        Self::start_in(&std::env::temp_dir(), program, flag, more)
    }

    /// With all that it keeps below a directory.
    pub fn start_in(base: &Path, program: &str, flag: &str, more: &str) -> Self {
        let dir = tempfile::tempdir_in(base).expect("a directory");
        let authority = Authority::create().expect("a CA");
        let server = pem(&authority, &authority.issue_server(NAME).expect("a certificate"));
        let at = |name: &str| dir.path().join(name).display().to_string();
        for (name, text) in [("ca.pem", &server.ca), ("cert.pem", &server.cert), ("key.pem", &server.key)] {
            std::fs::write(at(name), text).expect("a file");
        }
        let settings = format!(
            "# settings\nSERVER_HTTPS_BIND=127.0.0.1:0\nCLIENT_CERT_FILE=\"{}\"\nSERVER_CERT_FILE='{}'\nSERVER_KEY_FILE={}\n\
         HARNESS_WORKDIR={}\nKILN_STATE_DIR={}\nSKIP_PREPARE_SERVER=true\nFROM_FILE=from the file\nKILN_KILL_GRACE_MS=500\n\
         KILN_CHANGE_KERNEL=false\nKILN_ROOT_DIR={}\nKILN_MINT_SOCKET={}\n{more}",
            at("ca.pem"),
            at("cert.pem"),
            at("key.pem"),
            at("work"),
            at("state"),
            at("root"),
            at("wi/wi.sock")
        );
        std::fs::write(at(".env"), settings).expect("a file");
        let runner = pem(&authority, &authority.issue_client("runner").expect("a certificate"));
        let log = Arc::default();
        let (child, address) = launch(program, flag, &at(".env"), &log);
        let client = Client::new(address, NAME, &runner);
        Self { child, dir, client, address, runner, log }
    }

    /// What it has logged since it listens.
    pub fn log(&self) -> String {
        self.log.lock().expect("lines").join("\n")
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts another process with the same settings, as systemd does.
    pub fn start_again(&mut self, program: &str) {
        let settings = self.dir.path().join(".env").display().to_string();
        (self.child, self.address) = launch(program, "--env-file", &settings, &self.log);
        self.client = Client::new(self.address, NAME, &self.runner);
    }

    pub fn kill_and_start_again(&mut self, program: &str) {
        self.kill();
        self.start_again(program);
    }
}

/// Returns the process when it listens, and where. What it logs afterwards is kept.
fn launch(program: &str, flag: &str, settings: &str, log: &Arc<Mutex<Vec<String>>>) -> (Child, SocketAddr) {
    let mut command = Command::new(program);
    command.arg("server");
    if flag.ends_with('=') {
        command.arg(format!("{flag}{settings}"))
    } else {
        command.arg(flag).arg(settings)
    };
    let mut child = command.stderr(Stdio::piped()).env("FROM_FILE", "overridden").spawn().expect("the program");
    let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening address=").map(|(_, a)| a.to_owned()));
    let to = Arc::clone(log);
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| to.lock().expect("lines").push(line)));
    (child, address.expect("its address").parse().expect("an address"))
}

/// A line of the process's status, as `VmRSS`, in bytes.
pub fn memory_bytes(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Time that the process has spent on processors, its threads together.
pub fn processor_time(pid: u32) -> std::time::Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a status");
    let (_, fields) = stat.rsplit_once(") ").expect("its fields");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    // All kernels count a hundred ticks a second for programs, whatever they count for themselves.
    std::time::Duration::from_millis(10 * ticks.sum::<u64>())
}
