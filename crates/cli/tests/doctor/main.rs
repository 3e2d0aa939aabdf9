//! `kiln doctor --try` on machines that lack something. No VM is started: QEMU is a script.
#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_e2e::SmallDisk;
use serde_json::Value;

/// Answers what it is, and fails otherwise.
const QEMU: &str = "for word; do [ \"$word\" = -version ] && echo 'QEMU emulator version 9.0.0' && exit 0; done\n\
                    echo 'qemu-system-x86_64: this machine is a script' >&2; exit 1";
/// Makes a disk that holds nothing.
const QEMU_IMG: &str = "[ \"$1\" = create ] && : > \"${10}\"; echo 'qemu-img version 9.0.0'";
/// What the image's disk holds.
const DISK: &str = "disk\n";

/// A machine: programs, a cache with an image, a state folder.
struct Machine {
    folder: tempfile::TempDir,
    cache: PathBuf,
}

/// How a trial ended.
struct Said {
    code: Option<i32>,
    parts: Vec<Value>,
    end: Value,
    all: String,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let machine = Self { folder, cache };
        machine.program("qemu-system-x86_64", QEMU);
        machine.program("qemu-img", QEMU_IMG);
        std::fs::write(machine.path("kiln-agent"), "agent").unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        std::fs::create_dir_all(self.path("bin")).unwrap();
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts an image into the cache, as it was made, and returns its disk.
    fn image(&self) -> PathBuf {
        let folder = self.cache.join("kiln/images/debian");
        std::fs::create_dir_all(&folder).unwrap();
        let disk = folder.join("disk.qcow2");
        std::fs::write(&disk, DISK).unwrap();
        let record = serde_json::json!({
            "name": "debian", "digest": sha256(&disk), "origin": "a test", "virtual_bytes": 1 << 20,
            "file_bytes": DISK.len(), "created_unix_s": 0, "kernel": false,
        });
        std::fs::write(folder.join("image.json"), record.to_string()).unwrap();
        disk
    }

    fn tries(&self) -> Said {
        let path = std::env::join_paths([self.path("bin"), "/usr/bin".into(), "/bin".into()]).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_kiln"))
            .args(["doctor", "--try", "--format", "json", "--accel", "tcg"])
            .env("PATH", path)
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", &self.cache)
            .env("KILN_AGENT", self.path("kiln-agent"))
            .env("KILN_API_TOKEN", "a-secret-of-the-environment")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let all = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let parts = lines.iter().filter(|line| line.get("part").is_some()).cloned().collect();
        Said { code: output.status.code(), parts, end: lines.last().cloned().unwrap(), all }
    }
}

fn sha256(path: &Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

impl Said {
    /// Checks that this part failed and said so, that those before it passed, and that no other failed.
    #[track_caller]
    fn fails_at(&self, name: &str, detail: &[&str], remedy: &str) {
        assert_eq!(self.code, Some(1), "{}", self.all);
        let at = self.parts.iter().position(|part| part["part"] == name).unwrap();
        let outcome = |part: &Value| part["outcome"].as_str().unwrap().to_owned();
        assert!(self.parts[..at].iter().all(|part| outcome(part) == "passed"), "{}", self.all);
        assert_eq!(outcome(&self.parts[at]), "failed", "{}", self.all);
        assert!(self.parts[at + 1..].iter().all(|part| outcome(part) != "failed"), "{}", self.all);
        let (told, mends) = (self.parts[at]["detail"].as_str().unwrap(), self.parts[at]["remedy"].as_str().unwrap());
        for words in detail {
            assert!(told.contains(words), "{words} is not in {told}");
        }
        assert!(mends.contains(remedy), "{remedy} is not in {mends}");
    }

    /// Reads the report.
    #[track_caller]
    fn report(&self) -> (Value, String) {
        assert_eq!(self.end["passed"], false, "{}", self.all);
        let text = std::fs::read_to_string(self.end["report"].as_str().unwrap()).unwrap();
        (serde_json::from_str(&text).unwrap(), text)
    }
}

#[test]
fn a_qemu_that_is_not_there_is_told_with_the_command_that_installs_it() {
    let machine = Machine::new();
    machine.program("qemu-system-x86_64", "exit 127");
    let said = machine.tries();
    said.fails_at("QEMU", &["qemu: not found"], "apt-get install qemu-system-x86");
    assert_eq!(said.parts.len(), 9, "every part but the end, where nothing was begun: {}", said.all);
    let (report, text) = said.report();
    assert_eq!(report["parts"].as_array().unwrap().len(), 9, "{text}");
    assert!(!text.contains("a-secret-of-the-environment") && !text.contains("PATH"), "{text}");
}

#[test]
fn an_image_that_was_cut_off_is_told_with_the_way_to_make_it_anew() {
    let machine = Machine::new();
    std::fs::write(machine.image(), &DISK[..2]).unwrap();
    let said = machine.tries();
    said.fails_at("image", &["it has 2 bytes, and had 5", "kiln image rm debian", "kiln image build"], "");
}

#[test]
fn a_machine_without_an_image_is_told_how_to_make_one() {
    Machine::new().tries().fails_at("image", &["there is no VM image yet", "kiln image build"], "");
}

#[test]
fn a_full_disk_is_told_with_the_room_that_is_needed() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let machine = Machine { cache: disk.path().to_owned(), ..Machine::new() };
    machine.image();
    let said = machine.tries();
    said.fails_at("golden VM", &["a golden VM takes", "MiB are free: make room there"], "");
    let (report, text) = said.report();
    assert_eq!(report["image"][0], "debian", "{text}");
}

/// The report cannot be written then, and that is told beside what failed.
#[test]
fn a_state_folder_on_a_full_disk_hides_no_failure() {
    let Some(disk) = SmallDisk::mount(1) else { return };
    let machine = Machine::new();
    std::os::unix::fs::symlink(disk.path(), machine.path("state")).unwrap();
    disk.fill();
    let said = machine.tries();
    said.fails_at("QEMU", &["No space left on device"], "");
    assert_eq!(said.end["report"], Value::Null, "{}", said.all);
    assert!(said.end["error"].as_str().unwrap().contains("No space left on device"), "{}", said.all);
}

#[test]
fn a_qemu_that_fails_is_told_with_its_last_words() {
    let machine = Machine::new();
    machine.image();
    let said = machine.tries();
    said.fails_at("golden VM", &["ended early", "this machine is a script"], "kiln image rm debian");
}
