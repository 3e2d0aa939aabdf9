//! Tests of the driver with real agents.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use kiln_driver::conformance::{Subject, check};
use kiln_driver::{Driver as _, ErrorClass, Labels, LaunchRequest, Launched};
use kiln_pool::Life;
use kiln_tls::Authority;
use rustix::process::{Pid, Signal, getpriority_process, kill_process};

use crate::record::Record;
use crate::root::Root;
use crate::section::IMAGE;
use crate::{ProcessDriver, SERVER_NAME, Settings, built_agent, instances, proc};

/// Limit of every wait. Nothing here takes longer on a working machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Rig {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Rig {
    fn new() -> Self {
        let authority = Authority::create().expect("a CA");
        Self { dir: tempfile::tempdir().expect("a directory"), authority }
    }

    fn settings(&self) -> Settings {
        Settings::new(self.dir.path(), &built_agent().expect("an agent"))
    }

    fn open(&self, settings: &Settings) -> ProcessDriver {
        ProcessDriver::open(settings, &self.authority).expect("a driver")
    }

    fn driver(&self) -> ProcessDriver {
        self.open(&self.settings())
    }

    /// Returns the processes of all instances, and the number of directories.
    fn left(&self) -> (Vec<u32>, usize) {
        let dirs = std::fs::read_dir(self.dir.path().join("instances")).expect("the instances");
        (processes(self.dir.path()), dirs.count())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for pid in processes(self.dir.path()) {
            kill(pid);
        }
    }
}

fn root(dir: &Path) -> Root {
    Root::open(dir).expect("a root")
}

fn processes(dir: &Path) -> Vec<u32> {
    proc::marked(&root(dir).mark_of_all())
}

/// Returns the process of an instance's agent.
fn process_of(dir: &Path, id: &str) -> u32 {
    instances::process(&root(dir), id).filter(|process| process.lives()).expect("its agent").pid
}

fn request(id: &str) -> LaunchRequest {
    let labels = Labels::from([("kiln-pool".to_owned(), "p".to_owned())]);
    LaunchRequest {
        token: id.to_owned(),
        count: 1,
        place: String::new(),
        spec: serde_json::Value::Null,
        network: kiln_pool::Network::default(),
        image: IMAGE.to_owned(),
        cpus: 1,
        memory_mib: 64,
        disk_gib: 1,
        labels,
    }
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    // It may be gone.
    let _ = kill_process(pid, Signal::KILL);
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_a_driver_is_kept() {
    let rig = Rig::new();
    let root = rig.dir.path().to_owned();
    let crash = move |id: &str| {
        kill(process_of(&root, id));
        async {}.boxed()
    };
    check(Subject { driver: &rig.driver(), request: request("t"), crash: &crash, limit: PATIENCE }).await;
    assert_eq!(rig.left(), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_outlives_its_driver_and_is_the_same_to_every_other() {
    let rig = Rig::new();
    let (a, b) = (rig.driver(), rig.driver());
    let launched = a.launch(&request("i-1")).await.expect("a launch");
    assert_eq!(a.site(), b.site());
    assert_ne!(a.site(), Rig::new().driver().site(), "another root is another site");
    drop(a);
    let listed = b.list().await.expect("a list");
    assert_eq!(
        listed.iter().map(|l| (l.life.clone(), l.launched.clone())).collect::<Vec<_>>(),
        [(Life::Running, launched.first().cloned())]
    );
    assert_eq!(b.launch(&request("i-1")).await.expect("a launch"), launched);
    // Two drivers that launch one id at the same time make one process.
    let c = rig.driver();
    let twin = request("i-2");
    let (one, two) = futures::future::join(b.launch(&twin), c.launch(&twin)).await;
    assert_eq!(one.expect("a launch"), two.expect("a launch"));
    assert_eq!(processes(rig.dir.path()).len(), 2);
    b.destroy("i-2").await.expect("its end");
    let again = c.launch(&twin).await.expect_err("it has ended");
    assert_eq!(again.class, ErrorClass::Invalid);
    c.destroy("i-1").await.expect("its end");
    assert_eq!(rig.left(), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_launch_left_is_found_by_its_mark() {
    let rig = Rig::new();
    let driver = rig.driver();
    let launched = driver.launch(&request("i-1")).await.expect("a launch");
    let pid = process_of(rig.dir.path(), "i-1");
    // The record is reset as if the launch had been killed before it wrote the process down.
    let dir = rig.dir.path().join("instances/i-1");
    Record::intent(&request("i-1").labels).write(&dir).expect("a record");
    let again = rig.driver().launch(&request("i-1")).await.expect("a launch");
    let reach = |launched: &[Launched]| launched.iter().map(|launched| launched.reach.clone()).collect::<Vec<_>>();
    assert_eq!(reach(&again), reach(&launched));
    assert_eq!(process_of(rig.dir.path(), "i-1"), pid);
    Record::intent(&request("i-1").labels).write(&dir).expect("a record");
    rig.driver().destroy("i-1").await.expect("its end");
    assert_eq!(rig.left(), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_instance_is_the_end_of_all_that_its_steps_started() {
    let rig = Rig::new();
    let driver = rig.driver();
    let launched = driver.launch(&request("i-1")).await.expect("a launch");
    let client = rig.authority.issue_client("runner").expect("a certificate");
    let credentials = kiln_agent_client::Credentials { ca_pem: rig.authority.ca_pem().to_owned(), client };
    let reach = launched[0].reach.as_ref().expect("an address");
    let agent = kiln_agent_client::Agent::new(reach, SERVER_NAME, &credentials).expect("a client");
    let file = rig.dir.path().join("pids");
    let script = format!(
        "echo $$ >> {f}; env -i setsid sh -c 'echo $$ >> {f}; exec sleep 1000' & env -i sh -c 'setsid sh -c \"echo \\$\\$ >> {f}; \
         exec sleep 1000\" &' ; exec sleep 1000",
        f = file.display()
    );
    let run =
        kiln_wire::agent::RunConfig { commands: vec![script], entrypoint: vec!["sh".to_owned(), "-c".to_owned()] };
    let step = kiln_wire::agent::StartStepRequest { id: "s".to_owned(), run, ..Default::default() };
    agent.start_step(&step).await.expect("a step");
    let pids = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 3).then_some(pids)
    };
    let pids = until("three processes", pids).await;
    driver.destroy("i-1").await.expect("its end");
    let left: Vec<u32> = pids.into_iter().filter(|pid| proc::stat(*pid).is_some()).collect();
    assert_eq!((left, rig.left()), (vec![], (vec![], 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_runs_out_ends_an_instance_with_evidence() {
    let rig = Rig::new();
    let settings = Settings { lease: Some(Duration::from_secs(1)), ..rig.settings() };
    let driver = rig.open(&settings);
    driver.launch(&request("i-1")).await.expect("a launch");
    let end = tokio::time::timeout(PATIENCE, driver.ended("i-1")).await.expect("its end");
    assert!(end.evidence.contains("no contact for the lease"), "{end:?}");
    let listed = driver.list().await.expect("a list");
    assert_eq!(
        listed.iter().map(|l| (l.life.clone(), l.launched.is_some())).collect::<Vec<_>>(),
        [(Life::LeftOver, false)]
    );
    driver.destroy("i-1").await.expect("its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing_and_an_unsafe_agent_is_refused() {
    let rig = Rig::new();
    let mut settings = rig.settings();
    settings.agent_env.insert("KILN_LEASE_S".to_owned(), "soon".to_owned());
    let driver = rig.open(&settings);
    let error = driver.launch(&request("i-1")).await.expect_err("the agent ends");
    assert!(error.class == ErrorClass::Transient && error.message.contains("KILN_LEASE_S"), "{error}");
    assert_eq!(rig.left(), (vec![], 0));
    let full = rig.open(&Settings { limit: Some(0), ..rig.settings() });
    assert_eq!(full.launch(&request("i-1")).await.expect_err("it is full").class, ErrorClass::Capacity);
    rig.driver().launch(&request("i-1")).await.expect("the same id may be tried again");
    rig.driver().destroy("i-1").await.expect("its end");
    let other = Settings::new(rig.dir.path(), Path::new("/bin/true"));
    assert!(ProcessDriver::open(&other, &rig.authority).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_the_pool_file_reach_the_process() {
    let rig = Rig::new();
    let driver = rig.driver();
    let with = |id: &str, nice: i64| LaunchRequest { spec: serde_json::json!({ "nice": nice }), ..request(id) };
    driver.launch(&with("i-1", 3)).await.expect("a launch");
    let pid = i32::try_from(process_of(rig.dir.path(), "i-1")).expect("a pid");
    let nice = |pid: Option<Pid>| getpriority_process(pid).expect("its nice value");
    assert_eq!(nice(Pid::from_raw(pid)), (nice(None) + 3).min(19));
    let refused = driver.launch(&with("i-2", 20)).await.expect_err("beyond the limit");
    assert_eq!(refused.class, ErrorClass::Invalid);
    driver.destroy("i-1").await.expect("its end");
    assert_eq!(rig.left(), (vec![], 0));
}
