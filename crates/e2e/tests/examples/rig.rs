//! Runs the built program as a user does, with the user's images, and reads its events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_e2e::Turn;
use kiln_wire::run::Event;
use serde_json::Value;

/// The result of one run of the program.
pub struct Run {
    code: Option<i32>,
    events: Vec<Value>,
    stderr: String,
}

/// Runs `kiln run --output json ARGS` in the root of the repository, to its end.
pub fn run(args: &[&str]) -> Run {
    let _turn = Turn::take();
    let built = root().join("target/release/kiln");
    let kiln = std::env::var_os("KILN_BIN").map_or(built, PathBuf::from);
    assert!(kiln.exists(), "{} is not there: run `make image` first", kiln.display());
    let mut command = Command::new(kiln);
    command.args(["run", "--output", "json"]).args(args).current_dir(root()).stdin(Stdio::null());
    let done = command.output().expect("starting kiln");
    let stdout = String::from_utf8(done.stdout).expect("events are UTF-8");
    let event = |line| {
        let read = serde_json::from_str::<Event>(line).unwrap_or_else(|error| panic!("not an event ({error}): {line}"));
        assert_ne!(read, Event::Unknown, "{line}");
        serde_json::from_str(line).expect("JSON")
    };
    Run {
        code: done.status.code(),
        events: stdout.lines().map(event).collect(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

impl Run {
    /// Asserts that the run passed, that each of this many stages had an instance of its own, and that none remains.
    #[track_caller]
    pub fn assert_passed(&self, stages: usize) {
        assert_eq!((self.code, &self.report()["status"]), (Some(0), &Value::from("passed")), "{}", self.told());
        let mut instances: Vec<&str> = self.stages().iter().filter_map(|s| s["instance"].as_str()).collect();
        instances.sort_unstable();
        instances.dedup();
        assert_eq!(instances.len(), stages, "{}", self.told());
        for instance in instances {
            assert_eq!(processes_that_name(instance), Vec::<String>::new(), "{instance} outlived its stage");
        }
    }

    /// Returns the program's exit code.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    #[track_caller]
    fn report(&self) -> &Value {
        let last = self.events.last();
        last.filter(|e| e["event"] == "run_finished").unwrap_or_else(|| panic!("no end of the run: {}", self.told()))
    }

    fn stages(&self) -> &[Value] {
        self.report()["stages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Returns all output of a step.
    pub fn output(&self, stage: &str, step: &str) -> String {
        let of_step = self.events.iter().filter(|e| e["event"] == "output" && e["stage"] == stage && e["step"] == step);
        of_step.filter_map(|e| e["text"].as_str()).collect()
    }

    /// Returns a step's part of the report.
    #[track_caller]
    pub fn step(&self, stage: &str, step: &str) -> &Value {
        let stage = self.stages().iter().find(|s| s["id"] == stage).unwrap_or_else(|| panic!("no stage {stage}"));
        let steps = stage["steps"].as_array().map_or(&[][..], Vec::as_slice);
        steps.iter().find(|s| s["id"] == step).unwrap_or_else(|| panic!("no step {step}"))
    }

    /// Returns all events and messages, for a failed assertion.
    pub fn told(&self) -> String {
        let events: Vec<String> = self.events.iter().map(Value::to_string).collect();
        format!("exit code {:?}\n{}\n{}", self.code, events.join("\n"), self.stderr)
    }
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the command lines of living processes that contain an instance's id.
fn processes_that_name(instance: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("listing processes");
    all.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(instance))
        .collect()
}
