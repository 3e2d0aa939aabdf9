//! A stage that fills the disk of the database and all VMs.
//!
//! The tests mount a small disk, which takes root. Other users get a message and no check; in CI, root without the
//! right to mount fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kiln_e2e::SmallDisk;
use serde_json::{Value, json};

use crate::http;
use crate::world::{Runner, World, step};

/// Size of the disk. It has room for a few booted VMs, and is soon full.
const DISK_MIB: u32 = 800;
/// Time within which a VM must end after the call that ends it.
const END_WITHIN: Duration = Duration::from_secs(20);
/// Pause between two looks at the runner's health.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Writes data that no disk can compress or skip until the disk is reported full, and continues.
const HOG: &str = "while true; do yes kiln > /fill; sync; done";

/// Records the answers of `/healthz`, each once for as long as it stays the same.
struct Health {
    stop: Arc<AtomicBool>,
    watch: JoinHandle<Vec<(u16, String)>>,
}

impl Health {
    fn watch(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watch = std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let answer = match http::ask(address, "GET", "/healthz", &Value::Null) {
                    Ok(answer) => (answer.status, reason(&answer.text)),
                    Err(error) => (0, error.to_string()),
                };
                if answers.last() != Some(&answer) {
                    answers.push(answer);
                }
                std::thread::sleep(LOOK_EVERY);
            }
            answers
        });
        Self { stop, watch }
    }

    fn answers(self) -> Vec<(u16, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.watch.join().expect("no panic")
    }
}

/// Returns the answer without its duration.
fn reason(text: &str) -> String {
    text.split_once(" s: ").map_or(text, |(_, why)| why).trim().to_owned()
}

/// Returns the two correct answers in these tests.
fn good() -> (u16, String) {
    (200, "OK".to_owned())
}

fn full() -> (u16, String) {
    (503, "the disk of the database is full; free some room".to_owned())
}

/// Returns the codes of the causes of the ends of a stage and of its instance.
fn causes(runner: &Runner<'_>, stage: &str, instance: &str) -> [String; 2] {
    let stage = runner.ok("GET", &format!("/kiln/v1/stages/{stage}"), &Value::Null);
    let instance = runner.ok("GET", &format!("/kiln/v1/instances/{instance}"), &Value::Null);
    [&stage["stage"], &instance["instance"]].map(|row| row["cause"]["code"].as_str().unwrap_or("none").to_owned())
}

/// Checks that another stage gets a VM and runs a step, and that its rows exist as well as those of the first stage.
#[track_caller]
fn another_stage_is_served(runner: &Runner<'_>) {
    runner.set_up("second");
    assert_eq!(runner.step("second", "greet", "echo hello"), (0, "hello\n".to_owned()));
    runner.destroy("second");
    let stages = runner.ok("GET", "/kiln/v1/stages?all", &Value::Null);
    let ids = stages["stages"].as_array().into_iter().flatten().filter_map(|stage| stage["id"].as_str());
    let ids: BTreeSet<&str> = ids.collect();
    assert!(ids.is_superset(&["hog", "second"].into()), "{stages}");
}

#[test]
fn the_vm_that_fills_the_disk_is_ended_before_it_is_full_and_others_are_served() {
    let Some(disk) = SmallDisk::mount(DISK_MIB) else { return };
    let disk = Arc::new(disk);
    let world = World::on(&disk);
    world.pool(1, "image: debian");
    let mut runner = world.start(&["--disk-reserve", "256", "--disk-watermark", "196"]);
    runner.warm(1);
    let health = Health::watch(runner.address);
    let hog = runner.set_up("hog");
    let fill = runner.begin("/step", step("hog", "fill", HOG));
    let ended = runner.until_it_is(&hog, "gone");
    let evidence = ended["instance"]["cause"]["evidence"].as_str().unwrap_or_default();
    assert!(evidence.contains("less than the 196 MiB that are kept free"), "{ended}");
    assert_eq!(causes(&runner, "hog", &hog), ["disk_full", "disk_full"]);
    let told = fill.join().expect("no panic").expect("an answer");
    assert!(told.text.contains("disk"), "the caller of the step is told why: {told:?}");
    runner.destroy("hog");
    another_stage_is_served(&runner);
    assert_eq!(health.answers(), [good()]);
    runner.finish();
}

#[test]
fn a_full_disk_is_told_and_its_hog_ends_when_it_is_destroyed() {
    let Some(disk) = SmallDisk::mount(DISK_MIB) else { return };
    let disk = Arc::new(disk);
    let world = World::on(&disk);
    world.pool(1, "image: debian");
    let mut runner = world.start(&["--disk-reserve", "256", "--disk-watermark", "0"]);
    runner.warm(1);
    let health = Health::watch(runner.address);
    let hog = runner.set_up("hog");
    // The request ends with the VM.
    let fill = runner.begin("/step", step("hog", "fill", HOG));
    runner.wait("a disk that the guest has filled", |_| (disk.free_bytes() < 16 << 20).then_some(()));
    runner.wait("a red answer", |runner| {
        // The room that the guest freed, and the database when it emptied its log, is taken again.
        disk.fill();
        let answer = http::ask(runner.address, "GET", "/healthz", &Value::Null).expect("an answer");
        (answer.status != 200).then_some(())
    });
    let refused = json!({"id": "refused", "pool_id": "local", "setup_request": {}});
    let refused = http::ask(runner.address, "POST", "/setup", &refused).expect("an answer");
    assert!(refused.status >= 500 && refused.text.contains("full"), "{refused:?}");

    let (vms, since) = (world.vms(), Instant::now());
    runner.destroy("hog");
    runner.until_it_is(&hog, "gone");
    let took = since.elapsed();
    assert!(took < END_WITHIN, "the hog's VM ended after {took:?}");
    assert!(world.vms() != vms, "its process goes on: {vms:?}");
    println!("destroyed on a full disk within {took:?}");
    drop(fill.join().expect("no panic"));
    runner.wait("a green answer", |runner| {
        let answer = http::ask(runner.address, "GET", "/healthz", &Value::Null).expect("an answer");
        (answer.status == 200).then_some(())
    });
    assert_eq!(causes(&runner, "hog", &hog), ["destroyed", "destroyed"]);
    another_stage_is_served(&runner);
    assert_eq!(health.answers(), [good(), full(), good()]);
    runner.finish();
}
