//! What holds on a full disk: VMs are found and ended, and nothing has to be written for it.
//!
//! The tests mount small file systems in memory, which takes root. Elsewhere they say so and check nothing; a CI run as root
//! that may not mount fails.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kiln_agent_client::Credentials;
use kiln_driver::{Driver as _, Labels, LaunchRequest};
use kiln_pool::EndKind;

use crate::clone::owner::Ownership;
use crate::clone::record::{Answer, Record};
use crate::clone::{adopt, owner::Owner};
use crate::driver::{AgentBinary, QemuDriver};
use crate::host::files::private_dir;
use crate::host::proc::ProcessName;
use crate::host::unix;
use crate::paths::{Layout, NAMED, OWNER_LOCK};
use crate::settings::Settings;
use crate::vm::machine::OVERLAY;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
const NAME: &str = "runner";
/// Files that the file system has room for, whatever their size.
const MOST_FILES: u32 = 64;

/// A file system in memory, unmounted with this value.
struct SmallDisk {
    _parent: tempfile::TempDir,
    dir: PathBuf,
}

impl SmallDisk {
    /// None where this user may not mount, which is said.
    fn mount(mib: u32) -> Option<Self> {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().canonicalize().expect("a path").join("disk");
        std::fs::create_dir(&dir).expect("create");
        let options = format!("size={mib}m,nr_inodes={MOST_FILES}");
        let said = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "kiln-test"]).arg(&dir).output();
        let failure = match said {
            Ok(said) if said.status.success() => return Some(Self { _parent: parent, dir }),
            Ok(said) => String::from_utf8_lossy(&said.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        assert!(!(unix::is_root() && std::env::var_os("CI").is_some()), "root may not mount: {failure}");
        eprintln!("NOT CHECKED: a full disk, because this user may not mount one: {failure}");
        None
    }

    /// Takes all bytes and all files.
    fn fill(&self) {
        let mut all = File::create(self.dir.join("all-bytes")).expect("create");
        let chunk = [1_u8; 4096];
        while all.write_all(&chunk).is_ok() {}
        let more = (0..=MOST_FILES).map(|n| File::create(self.dir.join(format!("file-{n}"))));
        assert!(more.into_iter().any(|made| made.is_err()), "there is always room for one file more");
        assert!(std::fs::write(self.dir.join("all-bytes-2"), chunk).is_err());
    }

    fn layout(&self) -> Layout {
        Layout { cache: self.dir.join("cache"), state: self.dir.join("state") }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What it holds may still be open for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
    }
}

/// What looks to the driver like a VM that a former process of the name has started: a process with its command line, its
/// lock and its disk, into which it has written `written_kib`. It ends by itself when its input does.
fn vm(layout: &Layout, id: &str, written_kib: u32) -> Child {
    let dir = layout.vms().join(format!("{NAMED}{NAME}")).join(id);
    private_dir(&dir).expect("create");
    let overlay = dir.join(OVERLAY);
    let script = format!(
        "exec 3<> '{0}'; rm '{0}'; head -c {written_kib}K /dev/zero >&3; echo up; read line; exit",
        overlay.display()
    );
    let disk = format!("fd=0,set=0,opaque={}", overlay.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "-name", id, "-add-fd", &disk]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let sign: OwnedFd = adopt::sign_of_life(&dir).expect("a sign");
    let mut child = unix::spawn_lasting(command, vec![sign]).expect("sh");
    std::io::Read::read_exact(child.stdout.as_mut().expect("its output"), &mut [0; 3]).expect("it is up");
    let mut record = Record::intent(&request(id), "key");
    record.process = Some(ProcessName::of(child.id()));
    let (agent, server_name) = (std::net::SocketAddr::from(([127, 0, 0, 1], 9079)).into(), "golden".to_owned());
    record.answer = Some(Answer { agent, server_name, needs_claim: true, phases: [Duration::ZERO; 2] });
    record.write(&dir).expect("write");
    child
}

fn request(id: &str) -> LaunchRequest {
    LaunchRequest {
        token: id.to_owned(),
        count: 1,
        place: String::new(),
        spec: serde_json::Value::Null,
        network: kiln_pool::Network::default(),
        image: "debian".to_owned(),
        cpus: 1,
        memory_mib: 256,
        disk_gib: 8,
        labels: Labels::new(),
    }
}

fn open(layout: &Layout, settings: Settings) -> QemuDriver {
    kiln_tls::install_provider();
    let ca = tempfile::tempdir().expect("a directory");
    let authority = kiln_tls::load_or_create(ca.path()).expect("a CA");
    let client = authority.issue_client("test").expect("a client certificate");
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
    let (named, agent) = (Ownership::Named(NAME.to_owned()), AgentBinary::Bytes(Arc::from([])));
    let (layout, authority) = (layout.clone(), Arc::new(authority));
    QemuDriver::open(layout, &named, settings, agent, authority, credentials, Arc::new(|_| {})).expect("a driver")
}

/// With nothing to say about the disk, so that only the test's own calls end VMs.
fn unwatched() -> Settings {
    Settings { disk_watermark_mib: 0, ..Settings::default() }
}

fn was_killed(mut child: Child) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&child.wait().expect("wait")) == Some(9)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_ended_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(1) else { return };
    let layout = disk.layout();
    let child = vm(&layout, "i-1", 4);
    let driver = open(&layout, unwatched());
    disk.fill();
    driver.destroy("i-1").await.expect("destroy");
    assert!(was_killed(child));
    assert_eq!(driver.list().await.expect("a list"), []);
    driver.destroy("i-1").await.expect("destroy again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_on_a_full_disk_finds_and_ends_what_runs() {
    let Some(disk) = SmallDisk::mount(1) else { return };
    let layout = disk.layout();
    let (running, torn) = (vm(&layout, "running", 4), vm(&layout, "torn", 4));
    let owner = layout.vms().join(format!("{NAMED}{NAME}"));
    File::create(owner.join("torn/vm.json")).expect("tear");
    File::create(owner.join(OWNER_LOCK)).expect("a lock file without a word");
    // What a process left that was killed, and whose lock file somebody removed.
    private_dir(&layout.vms().join("1-1-0/left")).expect("create");
    disk.fill();
    let driver = open(&layout, unwatched());
    let listed: Vec<String> = driver.list().await.expect("a list").into_iter().map(|listed| listed.id).collect();
    assert_eq!(listed, ["running"]);
    assert!(was_killed(torn), "what cannot be taken over is ended");
    assert!(!layout.vms().join("1-1-0").exists());
    driver.destroy("running").await.expect("destroy");
    assert!(was_killed(running));
    assert_eq!(driver.list().await.expect("a list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vm_that_has_written_most_is_ended_before_the_disk_is_full() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let layout = disk.layout();
    let (hog, modest) = (vm(&layout, "hog", 6 * 1024), vm(&layout, "modest", 2 * 1024));
    let driver = open(&layout, Settings { disk_watermark_mib: 8, ..Settings::default() });
    let instance = |id| driver.running(id).expect("it runs");
    assert!(instance("hog").written_bytes() >= 6 << 20, "{}", instance("hog").written_bytes());
    let took = vec![0_u8; 1 << 20];
    let mut other = File::create(disk.dir.join("other")).expect("create");
    while unix::free_bytes(&disk.dir).expect("free space") >= 8 << 20 {
        other.write_all(&took).expect("write");
    }
    let end = instance("hog").ended().await;
    assert_eq!(end.kind, EndKind::DiskFull, "{end:?}");
    assert!(end.evidence.contains("this one had written most (6 MiB)"), "{}", end.evidence);
    assert!(was_killed(hog));
    // Its blocks go with the last descriptor, which the kernel closes while the process ends.
    let given_back = async {
        while unix::free_bytes(&disk.dir).expect("free space") < 8 << 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back).await.expect("its end gives back what it wrote");
    assert!(instance("modest").vm.is_running());
    driver.destroy_all().await.expect("destroy all");
    assert!(was_killed(modest));
}

#[test]
fn an_owner_can_be_opened_by_name_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(1) else { return };
    let layout = disk.layout();
    let named = Ownership::Named(NAME.to_owned());
    drop(Owner::start(&layout, &named).expect("an owner"));
    let lock: &Path = &layout.vms().join(format!("{NAMED}{NAME}")).join(OWNER_LOCK);
    File::create(lock).expect("empty it");
    disk.fill();
    Owner::start(&layout, &named).expect("an owner, all the same");
}
