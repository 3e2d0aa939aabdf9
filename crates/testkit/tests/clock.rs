//! The wall clock is set under the real runner, by libfaketime: stages end when their time is over, and not before.
#![cfg(all(feature = "real", target_os = "linux"))]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Limit of every wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest run of the stage.
const RUN: Duration = Duration::from_secs(20);
/// Longest delay of its end.
const LATE: Duration = Duration::from_secs(60);

/// A runner whose wall clock is set by a file.
struct Runner {
    child: Child,
    log: std::sync::mpsc::Receiver<String>,
    clock: PathBuf,
    url: String,
}

impl Runner {
    fn start(dir: &Path) -> Self {
        let clock = dir.join("clock");
        std::fs::write(&clock, "+0").expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_kiln-test-runner"))
            .args(["--warm", "1", "--limit", "3", "--state"])
            .arg(dir)
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the runner starts");
        let stderr = BufReader::new(child.stderr.take().expect("its output"));
        let (send, log) = std::sync::mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut runner = Self { child, log, clock, url: String::new() };
        let line = runner.says("listening on ");
        runner.url = format!("http://{}", line.trim_start_matches("listening on "));
        runner
    }

    /// Returns the next line of its log with this text.
    fn says(&self, text: &str) -> String {
        let (until, mut before) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("it does not say `{text}` ({error}), but:\n{}", before.join("\n")),
            }
        }
    }

    /// Sets the wall clock and returns once the runner has noticed.
    fn set_clock(&self, offset: &str) {
        std::fs::write(&self.clock, offset).expect("a file");
        let line = self.says("the wall clock was set");
        println!("{line}");
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Its instances end with their leases and the folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the library from Debian's package.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let mut found =
        folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().expect("there is no libfaketime: install the package faketime (tools/packages does)")
}

#[tokio::test]
async fn a_wall_clock_that_is_set_ends_no_stage_early_and_none_late() {
    let dir = tempfile::tempdir().expect("a directory");
    kiln_tls::install_provider();
    let runner = Runner::start(dir.path());
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let setup = json!({"id": "s", "pool_id": "pool", "setup_request": {"timeout": RUN.as_secs()}});
    let answer = http.post(format!("{}/setup", runner.url)).json(&setup).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
    let began = Instant::now();
    let stage = async || -> Value {
        let url = format!("{}/kiln/v1/stages/s", runner.url);
        http.get(url).send().await.expect("an answer").json().await.expect("JSON")
    };
    assert_eq!(stage().await["stage"]["state"], "assigned");
    for offset in ["+24h", "-2h"] {
        runner.set_clock(offset);
        let now = stage().await;
        let ended = now["stage"]["state"] == "ended";
        assert!(!ended || began.elapsed() >= RUN, "{offset}: ended after {:?}: {now}", began.elapsed());
    }
    let end = loop {
        let now = stage().await;
        if now["stage"]["state"] == "ended" {
            break now;
        }
        assert!(began.elapsed() < RUN + LATE, "it goes on: {now}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let took = began.elapsed();
    println!("ended after {took:?}: {}", end["stage"]["cause"]);
    assert!(took >= RUN - Duration::from_secs(1), "early: {took:?} {end}");
    assert_eq!(end["stage"]["cause"]["code"], "stage_deadline", "{end}");
    drop(runner);
}
