//! The driver over the user's images, with a state folder of its own per test, and a look at what is left.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_agent_client::{Agent, Credentials};
use kiln_driver::{Driver as _, LaunchRequest, Launched};
use kiln_driver_qemu::{AgentBinary, Layout, Ownership, Progress, QemuDriver, Settings, WardenProgram};
use kiln_e2e::{Turn, cache};
use kiln_tls::Authority;
use kiln_wire::agent::kiln::{ClaimRequest, Identity};
use kiln_wire::reach::Reach;

use crate::OWNER;

/// The image that the tests run on; made if it is not there.
pub const IMAGE: &str = "debian";
/// The size that `kiln run` uses, so that its golden VM serves here too.
pub const MEMORY_MIB: u32 = 1280;
/// No wait in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Rig {
    pub layout: Layout,
    pub authority: Arc<Authority>,
    pub credentials: Credentials,
    _state: tempfile::TempDir,
    _turn: Turn,
}

impl Rig {
    pub fn new() -> Self {
        let turn = Turn::take();
        let state = tempfile::tempdir().expect("a state folder");
        let layout = Layout { cache: cache(), state: state.path().to_owned() };
        // Golden VMs belong to a CA: the tests share one, and with it the golden VM.
        let authority = kiln_tls::load_or_create(&cache().join("test-ca")).expect("a CA");
        let client = authority.issue_client("driver-tests").expect("a client certificate");
        let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
        Self { layout, authority: Arc::new(authority), credentials, _state: state, _turn: turn }
    }

    /// A driver whose image is there, and whose VMs end with it.
    pub async fn driver(&self) -> QemuDriver {
        self.driver_of(&Ownership::Process).await
    }

    /// A driver whose image is there.
    pub async fn driver_of(&self, ownership: &Ownership) -> QemuDriver {
        let listener = Arc::new(|progress: Progress| eprintln!("{progress:?}"));
        let agent = AgentBinary::File(agent());
        let (authority, credentials) = (Arc::clone(&self.authority), self.credentials.clone());
        let settings = Self::settings();
        let layout = self.layout.clone();
        let driver =
            QemuDriver::open(layout, ownership, settings, agent, authority, credentials, listener).expect("a driver");
        driver.images().ensure_built(IMAGE).await.expect("an image");
        driver
    }

    /// These VMs write little, and many run at once on machines with little free disk.
    pub fn settings() -> Settings {
        let warden = WardenProgram { program: OWNER.into(), ..WardenProgram::default() };
        Settings { disk_reserve_mib: 256, warden, ..Settings::default() }
    }

    /// A driver with other settings over the image that is there, and the notes that it makes.
    pub fn driver_with(&self, settings: Settings) -> (Arc<Mutex<Vec<String>>>, QemuDriver) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&notes);
        let listener = Arc::new(move |progress: Progress| {
            eprintln!("{progress:?}");
            if let Progress::Note(text) = progress {
                told.lock().expect("lock").push(text);
            }
        });
        let (authority, credentials) = (Arc::clone(&self.authority), self.credentials.clone());
        let (layout, agent) = (self.layout.clone(), AgentBinary::File(agent()));
        let driver = QemuDriver::open(layout, &Ownership::Process, settings, agent, authority, credentials, listener);
        (notes, driver.expect("a driver"))
    }

    pub fn request(&self, id: &str) -> LaunchRequest {
        LaunchRequest {
            token: id.to_owned(),
            count: 1,
            place: String::new(),
            spec: serde_json::Value::Null,
            network: kiln_pool::Network::default(),
            image: IMAGE.to_owned(),
            cpus: 2,
            memory_mib: MEMORY_MIB,
            disk_gib: 16,
            labels: kiln_driver::Labels::new(),
        }
    }

    /// Gives a clone its identity, as the one who launched it must.
    pub async fn claim(&self, launched: &Launched) -> (Agent, Identity) {
        let agent = Agent::new(reach(launched), &launched.server_name, &self.credentials).expect("a client");
        agent.wait_healthy(PATIENCE).await.expect("the golden identity answers");
        let own = self.authority.issue_server(&launched.id).expect("a certificate");
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let request = ClaimRequest {
            id: launched.id.clone(),
            hostname: launched.id.clone(),
            unix_time_ns: i64::try_from(since_1970.as_nanos()).expect("a clock"),
            entropy: format!("{:0<88}", launched.id.replace('-', "")),
            cert_pem: own.cert_pem.clone(),
            key_pem: own.key_pem.to_string(),
            ..ClaimRequest::default()
        };
        agent.claim(&request).await.expect("the claim");
        let agent = Agent::new(reach(launched), &launched.id, &self.credentials).expect("a client");
        let identity = agent.identity().await.expect("the own identity answers");
        (agent, identity)
    }

    /// Launches the one instance of a request.
    pub async fn launch(&self, driver: &QemuDriver, request: &LaunchRequest) -> Launched {
        let launched = driver.launch(request).await.expect("a launch");
        <[Launched; 1]>::try_from(launched).map(|[launched]| launched).expect("one instance")
    }

    /// The file with the state of this CA's golden VM of that memory.
    pub fn saved_state(&self, memory_mib: u32) -> PathBuf {
        let ours = |dir: &PathBuf| {
            let text = std::fs::read_to_string(dir.join("golden.json")).unwrap_or_default();
            let record: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            // Tests of other crates share the CA, and make VMs of other shapes.
            let shape = serde_json::json!({ "cpus": 2, "memory_mib": memory_mib, "disk_gib": 16 });
            record["ca"] == self.authority.fingerprint() && record["shape"] == shape
        };
        let dirs = std::fs::read_dir(self.layout.goldens()).expect("golden VMs").flatten().map(|entry| entry.path());
        // One that was in use when another agent's replaced it may still lie there; its lock was not touched since.
        let used = |dir: &PathBuf| std::fs::metadata(dir.with_extension("lock")).and_then(|meta| meta.modified()).ok();
        dirs.filter(ours).max_by_key(used).expect("a golden VM of this shape").join("state")
    }

    /// Puts the tests' CA where a program that uses this state folder looks for one.
    pub fn share_ca(&self) {
        let own = self.layout.state.join("ca");
        std::fs::create_dir_all(&own).expect("a folder");
        std::fs::copy(cache().join("test-ca/ca.pem"), own.join("ca.pem")).expect("a copy of the CA");
    }

    /// The QEMU processes that work below this rig's state folder.
    pub fn vms(&self) -> Vec<u32> {
        processes_naming(&self.layout.state)
    }

    /// Overlays, sockets and everything else below the folder of running VMs, but an owner's own lock.
    pub fn remains(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.layout.vms(), &mut found);
        found.retain(|path| !path.ends_with("owner.lock") && !path.ends_with("site"));
        found
    }

    /// Waits until something holds.
    pub fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let since = Instant::now();
        while !holds() {
            assert!(since.elapsed() < PATIENCE, "{what} never came; VMs {:?}, files {:?}", self.vms(), self.remains());
            std::thread::yield_now();
        }
    }
}

/// The process of one instance.
pub fn process_of(id: &str) -> u32 {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let named = |pid: &u32| command_line(*pid).windows(2).any(|words| words[0] == "-name" && words[1] == id);
    let found: Vec<u32> = pids.filter(named).collect();
    assert_eq!(found.len(), 1, "one process is {id}: {found:?}");
    found[0]
}

fn processes_naming(dir: &Path) -> Vec<u32> {
    let mark = dir.to_str().expect("a path").to_owned();
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = |pid: &u32| {
        let words = command_line(*pid);
        words[0].contains("qemu-system") && words.iter().any(|word| word.contains(&mark))
    };
    pids.filter(ours).collect()
}

/// Never empty; of a process that is gone, one empty word.
fn command_line(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect()
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), found),
            Ok(_) => found.push(entry.path()),
            // Removed while we looked.
            Err(_) => {}
        }
    }
}

/// The static agent: the one that is given, else built here.
pub fn agent() -> PathBuf {
    if let Some(given) = std::env::var_os("KILN_AGENT") {
        return given.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = "x86_64-unknown-linux-gnu";
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--profile", "agent", "--target", target, "-p", "kiln-agent"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(&root)
        .status()
        .expect("cargo");
    assert!(built.success(), "the agent does not build");
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    folder.join(target).join("agent/kiln-agent")
}

/// Where the agent of a local VM listens.
pub fn reach(launched: &Launched) -> &Reach {
    launched.reach.as_ref().expect("a local VM has an address")
}
