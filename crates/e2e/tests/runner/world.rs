//! The program `kiln runner` with a state folder of its own, and its leftovers.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_e2e::{SmallDisk, Turn};
use serde_json::{Value, json};

use crate::http::{self, Answer};

/// Limit of every wait. Nothing here takes this long, even if a golden VM has to be booted first.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// Poll interval.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The runner's name, which is also part of its VMs' folder.
pub const NAME: &str = "e2e";

/// A state folder of its own over the user's cache, so that images and golden VMs are made once for all tests.
pub struct World {
    state: PathBuf,
    /// The folder that contains the state folder.
    _folder: Folder,
    files: tempfile::TempDir,
    _turn: Turn,
}

/// A folder that is removed on drop.
enum Folder {
    Temporary { _folder: tempfile::TempDir },
    Disk { _disk: Arc<SmallDisk> },
}

/// A runner's process.
pub struct Runner<'w> {
    world: &'w World,
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        // Both calls fail if it has ended, which is the regular case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // After a failed test, VMs would outlive their runner, as they are meant to.
        for pid in self.vms() {
            signal("KILL", pid);
        }
    }
}

impl World {
    pub fn new() -> Self {
        let turn = Turn::take();
        let folder = tempfile::tempdir().expect("a temporary directory");
        Self::in_folder(folder.path().to_owned(), Folder::Temporary { _folder: folder }, turn)
    }

    /// Creates a world whose database and VMs are on a small disk.
    pub fn on(disk: &Arc<SmallDisk>) -> Self {
        let turn = Turn::take();
        Self::in_folder(disk.path().to_owned(), Folder::Disk { _disk: Arc::clone(disk) }, turn)
    }

    fn in_folder(state: PathBuf, folder: Folder, turn: Turn) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        let world = Self { state, _folder: folder, files, _turn: turn };
        // Golden VMs belong to a CA, so the tests share one, but nothing else of the state folder.
        let (own, shared) = world.ca();
        if shared.exists() {
            std::fs::create_dir_all(own.parent().expect("a folder")).expect("a folder");
            std::fs::copy(shared, own).expect("the CA of the tests");
        }
        world
    }

    fn ca(&self) -> (PathBuf, PathBuf) {
        (self.state().join("ca/ca.pem"), kiln_e2e::cache().join("test-ca/ca.pem"))
    }

    pub fn state(&self) -> PathBuf {
        self.state.join("kiln")
    }

    /// Writes the pool file: one pool, `local`.
    pub fn pool(&self, pool: u32, spec: &str) -> PathBuf {
        let text = format!(
            "instances:\n- name: local\n  type: qemu\n  pool: {pool}\n  limit: 4\n  platform: {{os: linux, arch: amd64}}\n  \
             spec: {{{spec}}}\n"
        );
        self.pool_file(&text)
    }

    /// Replaces the pool file, as editors do.
    pub fn pool_file(&self, text: &str) -> PathBuf {
        let path = self.files.path().join("pool.yml");
        let new = path.with_extension("new");
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path)).expect("the pool file");
        path
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Returns the root of the repository.
    pub fn root(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Returns `kiln` with these arguments, in the root of the repository.
    pub fn kiln(&self, args: &[&str]) -> Command {
        let root = self.root();
        let built = root.join("target/release/kiln");
        let program = std::env::var_os("KILN_BIN").map_or(built, PathBuf::from);
        assert!(program.exists(), "{} is not there: run `make image` first", program.display());
        let mut command = Command::new(program);
        command.args(args).current_dir(root).env("XDG_STATE_HOME", &self.state).stdin(Stdio::null());
        // These VMs write little, and many run at once on machines with little free disk.
        command.env("KILN_DISK_RESERVE_MIB", "256");
        for variable in ["KILN_LOG", "KILN_API_TOKEN", "KILN_DATABASE", "KILN_RUNNER", "KILN_RUNNER_NAME"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.kiln(args).output().expect("starting kiln")
    }

    /// Starts a runner, with `further` arguments, and returns once it listens.
    pub fn start(&self, further: &[&str]) -> Runner<'_> {
        let pool = self.files.path().join("pool.yml");
        let mut command = self.kiln(&["runner", "--bind", "127.0.0.1:0", "--name", NAME, "--pool"]);
        let mut child = command.arg(pool).args(further).stderr(Stdio::piped()).spawn().expect("starting kiln");
        let lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let log: Arc<Mutex<String>> = Arc::default();
        let kept = Arc::clone(&log);
        // The thread ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut runner = Runner { world: self, child, address: nowhere, log };
        runner.address = runner.wait("its address", |runner| {
            let log = runner.log();
            let line = log.lines().find_map(|line| line.strip_prefix("listening on "))?;
            line.split(';').next()?.parse().ok()
        });
        let (own, shared) = self.ca();
        if !shared.exists() {
            // Two tests that do this at the same time would only make one golden VM too many.
            std::fs::create_dir_all(shared.parent().expect("a folder")).expect("a folder");
            std::fs::copy(own, shared).expect("the CA for the next tests");
        }
        runner
    }

    /// Returns the QEMU processes that work below this world's state folder.
    pub fn vms(&self) -> BTreeSet<u32> {
        let mark = self.state.to_str().expect("a path in UTF-8").to_owned();
        let pid = |entry: std::fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let ours = |pid: &u32| {
            // A process that ended meanwhile has no command line.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').next().is_some_and(|program| program.contains("qemu-system")) && line.contains(&mark)
        };
        std::fs::read_dir("/proc").expect("the processes").flatten().filter_map(pid).filter(ours).collect()
    }

    /// Returns the folders of instances.
    pub fn instance_folders(&self) -> Vec<PathBuf> {
        let folder = self.state().join("vms").join(format!("named-{NAME}"));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

impl Runner<'_> {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a value is there.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "the runner ended before {what}: {ended:?}\n{}", self.log());
            assert!(since.elapsed() < PATIENCE, "{what} never came\n{}\n{}", self.log(), self.story());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Returns the history of each instance, for the message of a failed test.
    fn story(&self) -> String {
        let list = http::ask(self.address, "GET", "/kiln/v1/instances", &Value::Null).map(|answer| answer.text);
        let list: Value = serde_json::from_str(&list.unwrap_or_default()).unwrap_or_default();
        let ids = list["instances"].as_array().into_iter().flatten().filter_map(|i| i["id"].as_str());
        let show = |id| self.world.run(&["instance", "show", id, "--runner", &self.url()]).stdout;
        ids.map(|id| String::from_utf8_lossy(&show(id)).into_owned()).collect()
    }

    /// Returns the answer to a request that must succeed.
    #[track_caller]
    pub fn ok(&self, verb: &str, path: &str, body: &Value) -> Value {
        let answer = http::ask(self.address, verb, path, body).expect("an answer");
        assert_eq!(answer.status, 200, "{verb} {path}: {}\n{}", answer.text, self.log());
        serde_json::from_str(&answer.text).unwrap_or(Value::String(answer.text))
    }

    /// Sends a request beside the test.
    pub fn begin(&self, path: &str, body: Value) -> std::thread::JoinHandle<std::io::Result<Answer>> {
        let (address, path) = (self.address, path.to_owned());
        std::thread::spawn(move || http::ask(address, "POST", &path, &body))
    }

    /// Sets up a stage and returns its instance.
    #[track_caller]
    pub fn set_up(&self, stage: &str) -> String {
        let answer = self.ok("POST", "/setup", &json!({"id": stage, "pool_id": "local", "setup_request": {}}));
        answer["instance_id"].as_str().expect("an id").to_owned()
    }

    /// Runs a step to its end and returns its exit code and output.
    #[track_caller]
    pub fn step(&self, stage: &str, id: &str, script: &str) -> (i64, String) {
        let ended = self.ok("POST", "/step", &step(stage, id, script));
        (ended["exit_code"].as_i64().unwrap_or(0), self.output(stage, id, true))
    }

    /// Returns a step's output from the first byte on: until its end, or until now.
    #[track_caller]
    pub fn output(&self, stage: &str, id: &str, follow: bool) -> String {
        let path = format!("/kiln/v1/stages/{stage}/output");
        let answer = http::ask(self.address, "POST", &path, &json!({"id": id, "offset": 0, "follow": follow}));
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}\n{}", answer.text, self.log());
        answer.text
    }

    pub fn destroy(&self, stage: &str) {
        self.ok("POST", "/destroy", &json!({"id": stage}));
    }

    /// Returns the ids of instances in this state.
    #[track_caller]
    pub fn instances(&self, state: &str) -> BTreeSet<String> {
        let list = self.ok("GET", "/kiln/v1/instances", &Value::Null);
        let all = list["instances"].as_array().expect("a list").iter();
        all.filter(|i| i["state"] == state).map(|i| i["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Waits until this many instances are warm, and returns them.
    #[track_caller]
    pub fn warm(&mut self, count: usize) -> BTreeSet<String> {
        self.wait(&format!("{count} warm instances"), |runner| {
            Some(runner.instances("ready")).filter(|ready| ready.len() == count)
        })
    }

    /// Waits until an instance is in this state, and returns all its data.
    #[track_caller]
    pub fn until_it_is(&mut self, id: &str, state: &str) -> Value {
        self.wait(&format!("{id} is {state}"), |runner| {
            let detail = runner.ok("GET", &format!("/kiln/v1/instances/{id}"), &Value::Null);
            (detail["instance"]["state"] == state).then_some(detail)
        })
    }

    /// Runs `kiln` with these arguments and this runner, and returns its output. It must succeed.
    #[track_caller]
    pub fn operator(&self, args: &[&str]) -> String {
        let done = self.world.run(&[args, &["--runner", &self.url()]].concat());
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
        said
    }

    pub fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("its end");
    }

    /// Tells it to end, and waits for that.
    #[track_caller]
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let since = Instant::now();
        signal("TERM", self.child.id());
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, since.elapsed());
            }
            assert!(since.elapsed() < PATIENCE, "it does not end\n{}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Drains the pool and ends the runner. Nothing may be left.
    #[track_caller]
    pub fn finish(mut self) {
        let world = self.world;
        self.operator(&["pool", "drain", "local"]);
        self.wait("an empty pool", |runner| {
            let list = runner.ok("GET", "/kiln/v1/instances", &Value::Null);
            list["instances"].as_array().is_some_and(Vec::is_empty).then_some(())
        });
        assert_eq!((world.vms(), world.instance_folders()), (BTreeSet::new(), Vec::new()));
        let log = Arc::clone(&self.log);
        let (status, _) = self.terminate();
        assert!(status.success(), "{status}\n{}", log.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Returns a step that runs a script.
pub fn step(stage: &str, id: &str, script: &str) -> Value {
    json!({"stage_runtime_id": stage, "start_step_request": {
        "id": id, "log_drone": true, "run": {"entrypoint": ["sh", "-c"], "commands": [script]}
    }})
}

fn signal(name: &str, pid: u32) {
    // This fails if the process has ended.
    drop(Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status());
}
