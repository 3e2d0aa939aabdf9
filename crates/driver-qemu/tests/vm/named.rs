//! VMs that outlive the process that made them: adopted by the next one, and never leaked.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use kiln_agent_client::Agent;
use kiln_driver::conformance::{Subject, check};
use kiln_driver::{Driver, Labels};
use kiln_driver_qemu::{Ownership, QemuDriver, Shape};
use kiln_pool::{EndKind, Life};
use nix::sys::signal::Signal;

use crate::rig::{self, IMAGE, MEMORY_MIB, PATIENCE, Rig, process_of, reach};
use crate::{OWNER, signal};

const SHAPE: Shape = Shape { cpus: 2, memory_mib: MEMORY_MIB, disk_gib: 16 };
/// How often, and at which distances, a launch is broken off.
const BREAKS: u32 = 24;
const BREAK_AFTER: Duration = Duration::from_millis(5);

fn named() -> Ownership {
    Ownership::Named("runner".to_owned())
}

/// Another process that owns the name, as soon as it launches one clone.
struct Runner {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Runner {
    fn launching(rig: &Rig) -> Self {
        let mut process = Command::new(OWNER)
            .args([&rig.layout.cache, &rig.layout.state, &rig::agent()])
            .args([IMAGE, "1", &MEMORY_MIB.to_string(), "runner"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the owner");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut runner = Self { process, lines };
        runner.says("launching");
        runner
    }

    fn says(&mut self, awaited: &str) {
        let said = self.lines.by_ref().map(|line| line.expect("a line")).find(|line| line.starts_with(awaited));
        assert!(said.is_some(), "the owner ended before it said `{awaited}`");
    }

    fn kill(mut self) {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("its end");
    }
}

/// A rig with a golden VM, and its CA where the other process looks for it.
async fn rig() -> Rig {
    let rig = Rig::new();
    rig.driver().await.ensure_golden(IMAGE, SHAPE).await.expect("a golden VM");
    rig.share_ca();
    rig
}

/// Presses the power button, as an operator can.
fn power_off(monitor: &Path) {
    let mut stream = UnixStream::connect(monitor).expect("the monitor");
    for command in ["qmp_capabilities", "system_powerdown"] {
        writeln!(stream, "{{\"execute\":\"{command}\"}}").expect("write");
    }
    let pressed = |line: std::io::Result<String>| line.expect("a line").contains("POWERDOWN");
    assert!(BufReader::new(stream).lines().any(pressed), "the power button is not there");
}

async fn nothing_remains(rig: &Rig, driver: &QemuDriver) {
    assert_eq!(driver.list().await.expect("a list"), []);
    assert_eq!((rig.vms(), rig.remains()), (vec![], Vec::<PathBuf>::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_owner_keeps_every_promise_of_a_driver() {
    let rig = rig().await;
    let driver = rig.driver_of(&named()).await;
    assert!(driver.abilities().outlives_owner);
    let crash = |id: &str| {
        signal(process_of(id), Signal::SIGSEGV);
        async {}.boxed()
    };
    check(Subject { driver: &driver, request: rig.request("n"), crash: &crash, limit: PATIENCE }).await;
    nothing_remains(&rig, &driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_outlives_its_killed_owner_and_is_adopted() {
    let rig = rig().await;
    let mut runner = Runner::launching(&rig);
    let line = runner.lines.next().expect("a clone").expect("a line");
    let [id, address, server_name, ..] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    runner.says("all answer");
    let process = process_of(id);
    runner.kill();

    let agent = Agent::new(&address.parse().expect("an address"), server_name, &rig.credentials).expect("a client");
    agent.health().await.expect("its agent still answers");
    let golden = rig.saved_state(MEMORY_MIB).parent().expect("its folder").with_extension("lock");
    let in_use = || File::open(&golden).expect("a lock").try_lock().is_err();
    assert!(in_use(), "the golden VM of a clone without an owner may be removed");
    let driver = rig.driver_of(&named()).await;
    let listed = driver.list().await.expect("a list");
    let [one] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((&*one.id, &one.life), (id, &Life::Running));
    assert_eq!(one.labels, Labels::from([("number".to_owned(), "0".to_owned())]));
    let launched = one.launched.clone().expect("how it is reached");
    assert_eq!((reach(&launched).to_string(), &*launched.server_name), (address.to_owned(), server_name));
    assert_eq!(process_of(id), process, "it is the same process");
    assert!(driver.console_tail(id).now_or_never().is_some());
    // It is one launch, whoever asks again.
    let again = driver.launch(&rig.request(id)).await.expect("a repeated launch");
    assert_eq!(again, std::slice::from_ref(&launched));
    rig.claim(&launched).await;

    // A clean end leaves it alone too.
    drop(driver);
    let driver = rig.driver_of(&named()).await;
    assert_eq!(process_of(id), process);
    let quick = tokio::time::timeout(Duration::from_millis(50), driver.ended(id)).await;
    assert!(quick.is_err(), "`ended` returned while the instance runs: {quick:?}");
    let (end, destroyed) = tokio::join!(driver.ended(id), driver.destroy(id));
    destroyed.expect("destroy");
    assert!(end.kind == EndKind::Unknown && end.evidence.contains("it ended"), "{end:?}");
    assert!(!in_use());
    nothing_remains(&rig, &driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_vm_that_ends_by_itself_is_listed_until_destroyed() {
    let rig = rig().await;
    let request = rig.request("self-ended");
    let first = rig.driver_of(&named()).await;
    first.launch(&request).await.expect("a launch");
    drop(first);
    let driver = rig.driver_of(&named()).await;
    power_off(&rig.layout.vms().join("named-runner/self-ended/monitor"));
    let end = tokio::time::timeout(PATIENCE, driver.ended("self-ended")).await.expect("its end is seen");
    assert!(end.evidence.contains("Power down"), "the console is no evidence: {end:?}");
    let lives: Vec<Life> = driver.list().await.expect("a list").into_iter().map(|listed| listed.life).collect();
    assert_eq!(lives, [Life::LeftOver]);
    driver.destroy("self-ended").await.expect("destroy");
    nothing_remains(&rig, &driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_broken_off_anywhere_leaks_nothing() {
    let rig = rig().await;
    let mut adopted = 0;
    for n in 0..BREAKS {
        let runner = Runner::launching(&rig);
        tokio::time::sleep(BREAK_AFTER * n).await;
        runner.kill();
        let driver = rig.driver_of(&named()).await;
        let listed = driver.list().await.expect("a list");
        assert_eq!(rig.vms().len(), listed.len(), "all that runs is known: {listed:?}");
        for launched in listed.iter().map(|listed| listed.launched.clone().expect("what is known runs")) {
            let agent = Agent::new(reach(&launched), &launched.server_name, &rig.credentials).expect("a client");
            agent.wait_healthy(PATIENCE).await.expect("what is adopted answers");
            adopted += 1;
        }
        driver.destroy_all().await.expect("destroy all");
        nothing_remains(&rig, &driver).await;
    }
    eprintln!("{adopted} of {BREAKS} were up when their owner was killed");
}
