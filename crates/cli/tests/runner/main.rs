//! `kiln runner` as a process, without a VM.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A pool that makes instances on demand only.
const POOLS: &str = "instances:\n- name: local\n  type: qemu\n  pool: 0\n  limit: 1\n  spec: {image: none}\n";
/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// A runner that is killed on drop.
struct Runner(Child);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.kill().expect("a process");
        self.0.wait().expect("its end");
    }
}

impl Runner {
    /// Starts a runner under a permissive umask, and returns once it listens.
    fn start(dir: &Path, database: &Path) -> Self {
        let pools = dir.join("pool.yml");
        fs::write(&pools, POOLS).expect("a file");
        let kiln = env!("CARGO_BIN_EXE_kiln");
        let mut child = Command::new("sh")
            .args(["-c", "umask 000; exec \"$@\"", "sh", kiln, "runner", "--bind", "127.0.0.1:0", "--name", "test"])
            .arg("--pool")
            .arg(&pools)
            .arg("--database")
            .arg(format!("sqlite:{}", database.display()))
            // Any file will do, because nothing is started.
            .args(["--agent", kiln])
            .env("XDG_STATE_HOME", dir.join("state"))
            .env("XDG_CACHE_HOME", dir.join("cache"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kiln");
        let stderr = BufReader::new(child.stderr.take().expect("its messages"));
        let runner = Self(child);
        let mut told = Vec::new();
        for line in stderr.lines() {
            let line = line.expect("text");
            if line.starts_with("listening on ") {
                return runner;
            }
            told.push(line);
        }
        panic!("the runner did not start: {told:#?}");
    }
}

/// Returns everything below a folder, and the folder itself.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    if fs::symlink_metadata(dir).expect("metadata").is_dir() {
        for entry in fs::read_dir(dir).expect("a folder") {
            found.extend(below(&entry.expect("an entry").path()));
        }
    }
    found
}

#[test]
fn what_a_runner_makes_is_its_users_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let databases = dir.path().join("databases");
    fs::create_dir(&databases).expect("a folder");
    fs::set_permissions(&databases, fs::Permissions::from_mode(0o777)).expect("permissions");
    let _runner = Runner::start(dir.path(), &databases.join("kiln.sqlite"));
    let state = dir.path().join("state");
    let made: Vec<PathBuf> =
        below(&state.join("kiln")).into_iter().chain(below(&databases).into_iter().skip(1)).collect();
    let has = |name: &str| made.iter().any(|path| path.file_name().is_some_and(|file| file == name));
    assert!(has("kiln.sqlite") && has("ca"), "{made:?}");
    let open: Vec<String> = made
        .iter()
        .map(|path| (path, fs::symlink_metadata(path).expect("metadata").mode()))
        .filter(|(_, mode)| mode & OTHERS != 0)
        .map(|(path, mode)| format!("{}: {:o}", path.display(), mode & 0o777))
        .collect();
    assert_eq!(open, Vec::<String>::new());
}

/// Steps would call its API like programs of this machine.
#[test]
fn a_runner_whose_steps_reach_it_does_not_start_without_a_token() {
    let dir = tempfile::tempdir().expect("a folder");
    let pools = dir.path().join("pool.yml");
    let start = |network: &str| {
        fs::write(&pools, format!("{POOLS}  kiln: {{network: {network}}}\n")).expect("a file");
        let kiln = env!("CARGO_BIN_EXE_kiln");
        let mut command = Command::new(kiln);
        command.args(["runner", "--bind", "127.0.0.1:3999", "--name", "test", "--agent", kiln, "--pool"]).arg(&pools);
        command.env("XDG_STATE_HOME", dir.path().join("state")).env("XDG_CACHE_HOME", dir.path().join("cache"));
        let output = command.env_remove("KILN_API_TOKEN").stdin(Stdio::null()).output().expect("kiln");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for network in ["{isolation: off}", "{allow_hosts: ['127.0.0.1:3999']}"] {
        let (code, told) = start(network);
        assert_eq!(code, Some(2), "{network}: {told}");
        assert!(told.contains("`local` reach 127.0.0.1:3999") && told.contains("KILN_API_TOKEN"), "{network}: {told}");
    }
}
