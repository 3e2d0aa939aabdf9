//! The driver on real VMs: every promise of a driver, clones that differ once claimed, and nothing left behind.
#![allow(clippy::disallowed_methods)] // Tests start what they like.

mod containers;
mod images;
mod named;
mod network;
mod registry;
mod rig;
#[allow(dead_code)] // Another test uses the rest.
#[path = "../warden/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use futures::FutureExt as _;
use futures::future::join_all;
use kiln_driver::conformance::{Subject, check};
use kiln_driver::{Driver, ErrorClass, LaunchRequest};
use kiln_driver_qemu::Ownership;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::{IMAGE, MEMORY_MIB, PATIENCE, Rig, process_of};

/// Holds clones until it is killed; cargo builds it with these tests.
const OWNER: &str = env!("CARGO_BIN_EXE_hold_clones");

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("the process is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_of_a_driver_is_kept() {
    let rig = Rig::new();
    let driver = rig.driver().await;
    let shape = kiln_driver_qemu::Shape { cpus: 2, memory_mib: MEMORY_MIB, disk_gib: 16 };
    driver.ensure_golden(IMAGE, shape).await.expect("a golden VM");
    let crash = |id: &str| {
        signal(process_of(id), Signal::SIGSEGV);
        async {}.boxed()
    };
    check(Subject { driver: &driver, request: rig.request("t"), crash: &crash, limit: PATIENCE }).await;
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clones_at_once_are_eight_machines_once_claimed() {
    let rig = Rig::new();
    let driver = rig.driver().await;
    let requests: Vec<LaunchRequest> = (0..8).map(|n| rig.request(&format!("eight-{n}"))).collect();
    let launched = join_all(requests.iter().map(|request| driver.launch(request))).await;
    let launched: Vec<_> = launched.into_iter().flat_map(|result| result.expect("a launch")).collect();
    assert!(launched.iter().all(|l| l.needs_claim), "a clone must be told who it is");
    assert_eq!(rig.vms().len(), 8);
    let claimed = join_all(launched.iter().map(|l| rig.claim(l))).await;
    let ids: BTreeSet<String> = claimed.iter().map(|(_, identity)| identity.id.clone()).collect();
    assert_eq!(ids, requests.iter().map(|request| request.token.clone()).collect());
    let machines: BTreeSet<String> = claimed.iter().map(|(_, identity)| identity.machine_id.clone()).collect();
    assert_eq!(machines.len(), 8, "machine ids: {machines:?}");
    for (request, (_, identity)) in requests.iter().zip(&claimed) {
        assert_eq!(identity.hostname, request.token);
        assert_eq!(identity.shortfalls, Vec::<String>::new(), "the claim did all it should");
    }
    join_all(requests.iter().map(|request| driver.destroy(&request.token))).await;
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

/// What the kernel says about a process, by the names of its lines.
fn status(pid: u32) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.split_whitespace().next().unwrap_or_default().to_owned()))
        .collect()
}

/// The files that a process has open for writing.
fn written_files(pid: u32) -> Vec<String> {
    let folder = PathBuf::from(format!("/proc/{pid}/fd"));
    let numbers = std::fs::read_dir(&folder).expect("its descriptors").flatten().map(|entry| entry.file_name());
    let writes = |number: &std::ffi::OsString| {
        let info =
            std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/fdinfo")).join(number)).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default().trim().to_owned();
        i32::from_str_radix(&flags, 8).is_ok_and(|flags| flags & 0b11 != 0)
    };
    let files = numbers.filter(writes).filter_map(|number| std::fs::read_link(folder.join(number)).ok());
    let names = files.map(|file| file.display().to_string()).filter(|name| name.starts_with('/'));
    names.filter(|name| !name.starts_with("/dev/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_gets_nothing_that_it_does_not_need() {
    assert!(std::env::vars_os().count() > 5, "there is nothing to keep from it");
    let rig = Rig::new();
    for ownership in [Ownership::Process, Ownership::Named("confined".to_owned())] {
        let driver = rig.driver_of(&ownership).await;
        let launched = rig.launch(&driver, &rig.request("confined")).await;
        rig.claim(&launched).await;
        let pid = process_of("confined");
        let environ = std::fs::read(format!("/proc/{pid}/environ")).expect("its environment");
        let (status, written) = (status(pid), written_files(pid));
        // A named owner's VM would outlive a test that fails.
        driver.destroy("confined").await.expect("destroy");
        assert_eq!(environ, b"");
        assert_eq!((&*status["Seccomp"], &*status["NoNewPrivs"]), ("2", "1"));
        let uid: u32 = status["Uid"].parse().expect("a number");
        let own = nix::unistd::geteuid();
        assert_eq!(uid != own.as_raw(), own.is_root(), "it runs as {uid}");
        if own.is_root() {
            assert_eq!((&*status["CapEff"], &*status["Groups"]), ("0000000000000000", ""));
        }
        // Of the locks nobody reads more than whether they are held.
        let own = ["overlay.qcow2 (deleted)", "/memory", "console.log", "errors.log", ".lock"];
        let may = |name: &String| own.iter().any(|end| name.ends_with(end));
        assert!(written.iter().all(may), "it may write to {written:?}");
    }
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_vm_is_ended_all_the_same() {
    let rig = Rig::new();
    let driver = rig.driver().await;
    let request = rig.request("stopped");
    driver.launch(&request).await.expect("a launch");
    signal(process_of("stopped"), Signal::SIGSTOP);
    let ended = tokio::time::timeout(PATIENCE, driver.destroy("stopped")).await;
    ended.expect("destroy returns").expect("destroy succeeds");
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_vm_that_does_not_load_is_made_anew() {
    let rig = Rig::new();
    let request = rig.request("anew");
    let driver = rig.driver().await;
    let shape = kiln_driver_qemu::Shape { cpus: 2, memory_mib: MEMORY_MIB, disk_gib: 16 };
    driver.ensure_golden(IMAGE, shape).await.expect("a golden VM");
    drop(driver);
    let broken = rig.saved_state(MEMORY_MIB);
    std::fs::write(&broken, b"no state").expect("write");
    let driver = rig.driver().await;
    let launched = rig.launch(&driver, &request).await;
    assert_ne!(std::fs::metadata(&broken).expect("a state").len(), 8, "the state was made anew");
    rig.claim(&launched).await;
    driver.destroy("anew").await.expect("destroy");
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_cannot_fit_is_refused_for_want_of_room() {
    let rig = Rig::new();
    let driver = rig.driver().await;
    let request = LaunchRequest { memory_mib: *kiln_driver_qemu::limits::MEMORY_MIB.end(), ..rig.request("huge") };
    let error = driver.launch(&request).await.expect_err("4 TiB are refused");
    assert_eq!(error.class, ErrorClass::Capacity);
    assert!(error.message.contains("MiB does not fit"), "{error}");
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_takes_its_vms_along_and_the_next_one_cleans_up() {
    let rig = Rig::new();
    drop(rig.driver().await);
    rig.share_ca();
    let mut owner = Command::new(OWNER)
        .args([&rig.layout.cache, &rig.layout.state, &rig::agent()])
        .args([IMAGE, "3", &MEMORY_MIB.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the owner");
    let mut lines = BufReader::new(owner.stdout.take().expect("its output")).lines();
    let up = lines.by_ref().map(|line| line.expect("a line")).find(|line| line.starts_with("all answer"));
    assert!(up.is_some(), "the owner ended before its clones were up");
    assert_eq!(rig.vms().len(), 3);
    assert!(!rig.remains().is_empty(), "an owner's instances have files");
    signal(rig.vms()[0], Signal::SIGSTOP);
    owner.kill().expect("kill -9");
    owner.wait().expect("its end");
    rig.wait("the end of the VMs of a killed owner", || rig.vms().is_empty());
    let next = rig.driver().await;
    assert_eq!(rig.remains(), Vec::<PathBuf>::new());
    assert_eq!(next.list().await.expect("a list"), []);
}

/// KVM is said to work, and QEMU fails with it as soon as it is asked for a whole VM.
#[tokio::test(flavor = "multi_thread")]
async fn a_kvm_that_fails_half_way_is_left_with_a_note() {
    let rig = Rig::new();
    let shape = kiln_driver_qemu::Shape { cpus: 2, memory_mib: MEMORY_MIB, disk_gib: 16 };
    // The golden VM without KVM, and what is known about KVM.
    rig.driver().await.ensure_golden(IMAGE, shape).await.expect("a golden VM");
    let memo = rig.layout.cache.join("kvm.json");
    let Ok(known) = std::fs::read_to_string(&memo) else {
        assert!(!PathBuf::from("/dev/kvm").exists(), "a KVM that is there is probed");
        return;
    };
    let mut works: serde_json::Value = serde_json::from_str(&known).expect("JSON");
    works["answer"] = serde_json::json!({ "Ok": null });
    std::fs::write(&memo, works.to_string()).expect("write");
    let folder = tempfile::tempdir().expect("a folder");
    let wrapper = folder.path().join("qemu");
    let script = "#!/bin/sh\nfor word; do [ \"$word\" = kvm ] && echo 'kvm run failed' >&2 && exit 1; done\nexec /usr/bin/qemu-system-x86_64 \"$@\"\n";
    std::fs::write(&wrapper, script).expect("write");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&wrapper, executable).expect("chmod");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let (notes, driver) = rig.driver_with(kiln_driver_qemu::Settings { qemu: wrapper, ..Rig::settings() });
    let made = driver.ensure_golden(IMAGE, shape).await;
    let now = std::fs::read_to_string(&memo);
    std::fs::write(&memo, known).expect("write");
    made.expect("a golden VM without KVM");
    assert_eq!(driver.accel().await, Some(kiln_driver_qemu::Accel::Tcg));
    let notes = notes.lock().expect("lock").join("\n");
    assert!(notes.contains("KVM is left") && notes.contains("ended early"), "{notes}");
    assert!(now.expect("the memo").contains("FailsLater"), "the next process does not try it again");
    let launched = rig.launch(&driver, &rig.request("half-way")).await;
    rig.claim(&launched).await;
    driver.destroy("half-way").await.expect("destroy");
    assert_eq!((rig.vms(), rig.remains()), (vec![], vec![]));
}
