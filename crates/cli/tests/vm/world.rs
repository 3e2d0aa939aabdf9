//! The program `kiln` with folders of its own, and its leftovers.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kiln_e2e::{Turn, cache};
use serde_json::Value;

/// Limit of every wait. Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A state folder of its own over the user's cache, so that images and snapshots are made once for all tests.
pub struct World {
    state: tempfile::TempDir,
    files: tempfile::TempDir,
    _turn: Turn,
}

impl World {
    pub fn new() -> Self {
        let turn = Turn::take();
        let world = Self { state: tempfile::tempdir().unwrap(), files: tempfile::tempdir().unwrap(), _turn: turn };
        // Snapshots belong to a CA, so the tests share one, but nothing else of the state folder.
        let shared = cache().join("test-ca");
        kiln_tls::load_or_create(&shared).unwrap();
        let own = world.state.path().join("kiln/ca");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::copy(shared.join("ca.pem"), own.join("ca.pem")).unwrap();
        world
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Returns `kiln` with these arguments.
    pub fn kiln(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).env("XDG_STATE_HOME", self.state.path()).stdin(Stdio::null());
        // These VMs write little, and many run at once on machines with little free disk.
        command.env("KILN_DISK_RESERVE_MIB", "256");
        command.env_remove("KILN_LOG");
        command
    }

    /// Runs a pipeline to its end and returns its events.
    pub fn run(&self, file: &Path, args: &[&str]) -> Ran {
        let mut running = self.start(file, args);
        running.until(|_| false);
        let status = running.child.wait().unwrap();
        Ran { status, events: running.events }
    }

    /// Starts a pipeline.
    pub fn start(&self, file: &Path, args: &[&str]) -> Running {
        let all: Vec<&str> = ["run", "--output", "json", file.to_str().unwrap()].iter().chain(args).copied().collect();
        let mut child = self.kiln(&all).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines, events: Vec::new() }
    }

    /// Returns the QEMU processes that work below this world's state folder.
    pub fn vms(&self) -> Vec<i32> {
        let mark = self.state.path().to_str().unwrap().to_owned();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pid = |entry: std::fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let ours = |pid: &i32| {
            // A process that ended meanwhile has no command line.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.starts_with("qemu") && line.contains(&mark) || line.contains("/qemu-system") && line.contains(&mark)
        };
        processes.filter_map(pid).filter(ours).collect()
    }

    /// Returns overlays, sockets and anything else in the folder of running VMs, except the owner's own files.
    pub fn remains(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.state.path().join("kiln/vms"), &mut found);
        found.retain(|path| !path.ends_with("owner.lock") && !path.ends_with("owner.json"));
        found
    }

    /// Waits until a condition holds, and names it if it never does.
    pub fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let since = Instant::now();
        while !holds() {
            assert!(since.elapsed() < PATIENCE, "{what} never came; VMs {:?}, files {:?}", self.vms(), self.remains());
            std::thread::yield_now();
        }
    }
}

/// A running run.
pub struct Running {
    pub child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    pub events: Vec<Value>,
}

impl Running {
    /// Reads events until the wanted one, or to the end.
    pub fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> bool {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"));
            let found = wanted(&event);
            self.events.push(event);
            if found {
                return true;
            }
        }
        false
    }

    /// Reads events until `count` steps have printed something.
    pub fn until_output_of(&mut self, count: usize) {
        let mut seen = std::collections::BTreeSet::new();
        let found = self.until(|event| {
            if event["event"] == "output" {
                seen.insert(format!("{}/{}", event["stage"], event["step"]));
            }
            seen.len() == count
        });
        assert!(found, "the run ended first: {:#?}", self.events.last());
    }
}

/// A finished run.
pub struct Ran {
    pub status: ExitStatus,
    pub events: Vec<Value>,
}

impl Ran {
    /// Returns all output of a step.
    pub fn output(&self, stage: &str, step: &str) -> String {
        let of = |event: &&Value| event["event"] == "output" && event["stage"] == stage && event["step"] == step;
        self.events.iter().filter(of).filter_map(|event| event["text"].as_str()).collect()
    }

    /// Returns the last event: the whole report.
    pub fn report(&self) -> &Value {
        self.events.last().filter(|event| event["event"] == "run_finished").expect("the run told its end")
    }

    /// Returns a step's part of the report.
    pub fn step(&self, stage: &str, step: &str) -> &Value {
        let stages = self.report()["stages"].as_array().unwrap();
        let stage = stages.iter().find(|s| s["id"] == stage).unwrap_or_else(|| panic!("no stage {stage}"));
        let steps = stage["steps"].as_array().unwrap();
        steps.iter().find(|s| s["id"] == step).unwrap_or_else(|| panic!("no step {step} in {stage:#}"))
    }

    /// Returns the program's exit code.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn program() -> PathBuf {
    std::env::var_os("KILN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kiln").into(), PathBuf::from)
}
