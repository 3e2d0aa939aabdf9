//! Logs of steps at a log service that is strict, and at times unwell.

#[path = "rig/program.rs"]
mod program;
mod rig;
#[path = "rig/services.rs"]
mod services;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kiln_agent::settings::Settings;
use kiln_agent_conformance::platform::{Health, Log, Platform};
use kiln_wire::agent::{Cause, StartStepRequest};
use program::{Program, memory_bytes};
use rig::{Link, Rig, step, until};
use serde_json::{Value, json};
use services::{config, hasty, logged};

/// What a mask looks like.
const MASK: &str = "**************";

struct Setting {
    rig: Rig,
    platform: Platform,
}

impl Setting {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// An agent that loses no time, with a stage whose logs go to a service.
    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let rig = Rig::with(|settings| {
            hasty(settings);
            change(settings);
        })
        .await;
        let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
        let setting = Self { rig, platform };
        setting.set_up(config(&setting.platform)).await;
        setting
    }

    async fn set_up(&self, log_config: Value) {
        self.rig.client.ok("/setup", &json!({"log_config": log_config, "secrets": ["sesame-street"]})).await;
    }

    async fn run(&self, step: &StartStepRequest) {
        let end = self.rig.client.run(step).await;
        assert_eq!((end.exit_code, end.cause), (0, Cause::Exited), "{}", end.error);
    }

    /// The log of a key once that holds of it.
    async fn log(&self, key: &str, holds: impl Fn(&Log) -> bool) -> Log {
        // A copy is made of the one that is wanted alone: they may be large.
        let look = |key: &str| self.platform.see(|record| record.logs.get(key).filter(|log| holds(log)).cloned());
        // Megabytes of JSON are read and looked at by a build without optimization.
        let began = Instant::now();
        loop {
            if let Some(log) = look(key) {
                return log;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "waited in vain for the log {key}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn closed(&self, key: &str) -> Log {
        self.log(key, |log| !log.closed.is_empty()).await
    }

    fn is_faultless(&self) {
        assert_eq!(self.platform.faults(), Vec::<String>::new());
    }
}

/// A script that prints so many numbered lines, in bursts.
fn counted(lines: u64) -> String {
    format!("seq 1 {lines} | sed 's/^/line number /'")
}

fn expected(lines: u64) -> String {
    (1..=lines).map(|n| format!("line number {n}\n")).collect()
}

/// Lines of a log without the ones that tell the command.
fn printed(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("\u{1b}[33;1m")).collect()
}

#[tokio::test]
async fn lines_arrive_while_a_step_runs_and_all_of_them_are_uploaded() {
    let setting = Setting::new().await;
    let gate = setting.rig.path("gate");
    let script = format!("echo first; while [ ! -e {gate} ]; do sleep 0.02; done; echo sesame-street; printf end");
    setting.rig.client.ok("/start_step", &logged("s1", "org/p:1/s1", &script)).await;
    let live = setting.log("org/p:1/s1", |log| printed(&log.text()) == "first\n").await;
    assert_eq!((live.opened, live.is_open, live.closed.len()), (1, true, 0));
    std::fs::write(&gate, "").expect("a file");
    assert_eq!(setting.rig.client.poll("s1").await.exit_code, 0);
    // Whoever hears of the end finds the log where it should be.
    let log = setting.platform.log("org/p:1/s1");
    assert_eq!((printed(&log.text()), log.closed.as_slice()), (format!("first\n{MASK}\nend"), &[false][..]));
    assert_eq!(log.blob_text(), log.text());
    assert!(log.is_without_gap() && log.text().starts_with("\u{1b}[33;1mExecuting"), "{}", log.text());
    setting.is_faultless();
}

#[tokio::test]
async fn not_one_of_many_lines_is_lost() {
    let setting = Setting::new().await;
    let runs = (0..4).map(async |n| {
        let (id, key) = (format!("s{n}"), format!("many/{n}"));
        setting.run(&logged(&id, &key, &counted(20_000))).await;
        let log = setting.closed(&key).await;
        assert!(log.is_without_gap());
        assert_eq!(printed(&log.text()), expected(20_000));
        assert_eq!(log.again, 0);
        assert!(log.batches < 500, "{} batches", log.batches);
    });
    futures::future::join_all(runs).await;
    setting.is_faultless();
}

#[tokio::test]
async fn a_step_without_a_log_of_its_own_sends_none() {
    let setting = Setting::new().await;
    setting.run(&step("drone", "echo x")).await;
    setting.run(&StartStepRequest { log_drone: false, ..step("no key", "echo x") }).await;
    setting.rig.client.ok("/destroy", &json!({})).await;
    assert!(setting.platform.see(|record| record.logs.is_empty()));
}

#[tokio::test]
async fn defect_12_what_a_service_did_not_take_is_sent_again_and_the_whole_upload_too() {
    let setting = Setting::new().await;
    // Two of three calls of each kind fail: openings, batches, links, uploads, closings.
    setting.platform.is(Health::Flaky(3));
    setting.run(&logged("s1", "flaky", &format!("{}; sleep 0.3; {}", counted(3000), counted(5)))).await;
    let log = setting.closed("flaky").await;
    let text = expected(3000) + &expected(5);
    assert_eq!((printed(&log.text()), printed(&log.blob_text())), (text.clone(), text));
    assert!(log.is_without_gap() && log.blob_bytes > 100_000);
    setting.is_faultless();
}

#[tokio::test]
async fn defect_12_an_opening_that_fails_loses_no_line() {
    let setting = Setting::new().await;
    setting.platform.is(Health::Refuses(503));
    let gate = setting.rig.path("gate");
    let script = format!("{}; while [ ! -e {gate} ]; do sleep 0.02; done; echo late", counted(1000));
    setting.rig.client.ok("/start_step", &logged("s1", "closed", &script)).await;
    until("the output", async || (setting.rig.agent.list().steps[0].output_bytes > 16_000).then_some(())).await;
    setting.platform.is(Health::Well);
    let live = setting.log("closed", |log| printed(&log.text()) == expected(1000)).await;
    assert_eq!((live.opened, live.blob), (1, None));
    std::fs::write(&gate, "").expect("a file");
    let log = setting.closed("closed").await;
    assert_eq!(printed(&log.blob_text()), expected(1000) + "late\n");
    setting.is_faultless();
}

#[tokio::test]
async fn defect_12_a_service_that_is_gone_fails_no_step_and_holds_none() {
    // With the agent's own times: a minute for an upload, three for all.
    let rig = Rig::start().await;
    let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
    rig.client.ok("/setup", &json!({"log_config": config(&platform)})).await;
    for (n, health) in [Health::Refuses(500), Health::Refuses(401), Health::Hangs].into_iter().enumerate() {
        platform.is(health);
        let began = Instant::now();
        let end = rig.client.run(&logged(&format!("s{n}"), "gone", &counted(100))).await;
        assert_eq!((end.exit_code, end.error.as_str()), (0, ""), "{health:?}");
        // Five seconds are what a service may take that does not say that it is unwell.
        assert!(began.elapsed() < Duration::from_secs(15), "{:?} with {health:?}", began.elapsed());
        let failing = rig.client.run(&logged(&format!("f{n}"), "gone", "exit 3")).await;
        assert_eq!((failing.exit_code, failing.cause), (3, Cause::Exited), "{health:?}");
    }
    // All that is left is given up in the end, within what a caller of destroy waits for.
    let began = Instant::now();
    rig.client.ok("/destroy", &json!({})).await;
    assert!(began.elapsed() < Duration::from_secs(28), "{:?}", began.elapsed());
}

#[tokio::test]
async fn defect_12_what_is_left_of_a_log_arrives_before_the_end_of_the_stage() {
    let setting = Setting::new().await;
    setting.platform.is(Health::Refuses(503));
    setting.run(&logged("s1", "late", &counted(2000))).await;
    assert_eq!(setting.platform.log("late").uploads, 0);
    let well = async {
        until("destroy to wait", async || setting.platform.log("late").closed.is_empty().then_some(())).await;
        setting.platform.is(Health::Well);
    };
    let nothing = json!({});
    let destroy = setting.rig.client.ok("/destroy", &nothing);
    tokio::join!(destroy, well);
    assert_eq!(printed(&setting.platform.log("late").blob_text()), expected(2000));
}

#[tokio::test]
async fn a_slow_service_slows_no_step_and_gets_every_line() {
    // The last lines are not tried for long: the upload has them too.
    let setting = Setting::with(|settings| settings.log_pace.flush_within = Duration::from_millis(500)).await;
    setting.platform.is(Health::Slow(Duration::from_millis(100)));
    let end = setting.rig.client.run(&logged("s1", "slow", &counted(20_000))).await;
    assert_eq!(end.exit_code, 0);
    let log = setting.closed("slow").await;
    assert_eq!(printed(&log.blob_text()), expected(20_000));
    assert!(log.is_without_gap() && !log.lines.is_empty());
    setting.is_faultless();
}

#[tokio::test]
async fn cut_connections_and_a_restart_of_the_service_lose_no_line() {
    let setting = Setting::new().await;
    let link = Link::to(setting.platform.address).await;
    let mut through = config(&setting.platform);
    through["url"] = json!(format!("http://{}/log-service", link.address));
    setting.set_up(through).await;
    let gate = setting.rig.path("gate");
    let script =
        format!("n=0; while [ ! -e {gate} ]; do n=$((n+1)); echo line number $n; [ $n -lt 2000 ] || sleep 0.01; done");
    setting.rig.client.ok("/start_step", &logged("s1", "cut", &script)).await;
    for round in 1..=6 {
        let lines = setting.platform.log("cut").lines.len();
        setting.log("cut", |log| log.lines.len() > lines).await;
        if round % 2 == 0 {
            setting.platform.forget_streams();
        }
        link.refuse(2);
    }
    std::fs::write(&gate, "").expect("a file");
    let log = setting.closed("cut").await;
    let lines = log.blob.as_ref().expect("an upload").len() as u64;
    assert!(log.is_without_gap() && log.opened >= 4, "opened {} times", log.opened);
    assert_eq!((log.lines.len() as u64, printed(&log.text())), (lines, printed(&log.blob_text())));
    assert!(printed(&log.text()).starts_with(&expected(2000)));
    setting.is_faultless();
}

#[tokio::test]
async fn defect_11_a_second_setup_has_its_own_log_service() {
    let setting = Setting::new().await;
    let other = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
    setting.run(&logged("s1", "k1", "echo pin=1 pin-2")).await;
    let mut second = config(&other);
    second["sanitize_config"] = json!({"sanitize_patterns_content": "cGluPVswLTldKw=="});
    setting.set_up(second.clone()).await;
    setting.run(&logged("s2", "k2", "echo pin=1 pin-2")).await;
    second["sanitize_config"] = json!({"sanitize_patterns_content": "cGluLVswLTldKw=="});
    setting.set_up(second).await;
    setting.run(&logged("s3", "k3", "echo pin=1 pin-2")).await;
    assert_eq!(printed(&setting.platform.log("k1").blob_text()), "pin=1 pin-2\n");
    assert_eq!(printed(&other.log("k2").blob_text()), format!("{MASK} pin-2\n"));
    assert_eq!(printed(&other.log("k3").text()), format!("pin=1 {MASK}\n"));
    assert_eq!(setting.platform.see(|record| record.logs.len()), 1);
    assert_eq!(other.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn security_defect_a_token_is_not_sent_to_the_host_of_a_signed_link() {
    let setting = Setting::new().await;
    setting.run(&logged("own", "own", "echo x")).await;
    // Another name of the same machine is another host.
    let link = Link::to(setting.platform.address).await;
    setting.platform.stores_at(&format!("http://127.0.0.1:{}", link.address.port()));
    setting.run(&logged("s1", "stored", "echo x")).await;
    let (own, stored) = (setting.platform.log("own"), setting.platform.log("stored"));
    let token = |log: &Log| log.link_headers.iter().any(|name| name == "x-harness-token");
    assert_eq!((stored.uploads, token(&stored)), (1, false), "{:?}", stored.link_headers);
    assert!(token(&own), "a link to the service itself is asked as the service is: {:?}", own.link_headers);
    setting.is_faultless();
}

#[tokio::test]
async fn an_upload_may_go_through_the_service() {
    let setting = Setting::new().await;
    let mut indirect = config(&setting.platform);
    indirect["indirect_upload"] = json!(true);
    indirect["trim_new_line_suffix"] = json!(true);
    setting.set_up(indirect).await;
    setting.run(&logged("s1", "indirect", "echo a; echo; printf b")).await;
    let log = setting.platform.log("indirect");
    let lines: Vec<String> = log.blob.iter().flatten().map(|line| line.out.clone()).collect();
    assert_eq!(lines[lines.len() - 3..], ["a", "", "b"]);
    assert_eq!((log.uploads, log.link_headers.len()), (1, 0));
    setting.is_faultless();
}

#[tokio::test]
async fn a_stream_may_be_opened_and_closed_by_others() {
    let setting = Setting::new().await;
    let run = async |id: &str, skips: &[&str]| {
        let mut request = serde_json::to_value(logged(id, id, "echo x")).expect("JSON");
        request["log_config"] = skips.iter().map(|skip| ((*skip).to_owned(), json!(true))).collect::<Value>();
        let request: StartStepRequest = serde_json::from_value(request).expect("a request");
        setting.run(&request).await;
        setting.platform.log(id)
    };
    for key in ["opened", "both"] {
        setting.platform.see(|record| record.logs.entry(key.to_owned()).or_default().is_open = true);
    }
    let opened = run("opened", &["skip_opening_stream"]).await;
    assert_eq!((opened.opened, opened.closed.as_slice(), opened.uploads), (0, &[true][..], 0));
    let both = run("both", &["skip_opening_stream", "skip_closing_stream"]).await;
    assert_eq!((both.opened, both.closed.len(), both.uploads), (0, 0, 0));
    let left = run("left", &["skip_closing_stream"]).await;
    assert_eq!((left.opened, left.closed.len(), left.uploads, left.is_open), (1, 0, 0, true));
    for log in [opened, both, left] {
        assert_eq!(printed(&log.text()), "x\n");
    }
    setting.is_faultless();
}

#[tokio::test]
async fn a_log_that_the_service_stores_tells_how_many_lines_it_had() {
    let setting = Setting::new().await;
    for (key, lines) in [("few", 4900), ("many", 6000)] {
        setting.platform.see(|record| record.logs.entry(key.to_owned()).or_default().is_open = true);
        let mut request = serde_json::to_value(logged(key, key, &counted(lines))).expect("JSON");
        request["log_config"] = json!({"skip_opening_stream": true});
        setting.run(&serde_json::from_value(request).expect("a request")).await;
        let log = setting.closed(key).await;
        let mut text = expected(lines);
        if lines > 5000 {
            text += "[kiln: this log has 6002 lines; the log service keeps the last 5000]\n";
        }
        assert_eq!(printed(&log.text()), text);
    }
    setting.is_faultless();
}

#[tokio::test]
async fn a_line_that_is_too_long_is_cut_with_a_mark_and_the_next_one_is_whole() {
    let setting = Setting::new().await;
    setting
        .run(&logged(
            "s1",
            "long",
            "head -c 71680 /dev/zero | tr '\\0' a; echo; head -c 3000000 /dev/zero | tr '\\0' b; echo; echo c",
        ))
        .await;
    let log = setting.closed("long").await;
    let text = format!("{}\n{}... (log line truncated)\nc\n", "a".repeat(71_680), "b".repeat(71_680));
    assert_eq!((printed(&log.text()) == text, printed(&log.blob_text()) == text), (true, true));
    setting.is_faultless();
}

#[tokio::test]
async fn of_a_log_that_is_too_large_the_end_is_uploaded_and_what_is_missing_is_told() {
    let setting = Setting::new().await;
    for indirect in [true, false] {
        let mut to = config(&setting.platform);
        to["indirect_upload"] = json!(indirect);
        setting.set_up(to).await;
        let key = format!("large-{indirect}");
        setting.run(&logged(&key, &key, &counted(60_000))).await;
        let log = setting.closed(&key).await;
        assert_eq!(printed(&log.text()), expected(60_000));
        let blob = log.blob.clone().expect("an upload");
        let [note, rest @ ..] = blob.as_slice() else { panic!("no lines") };
        // The two lines of the banner are before it as well.
        let (first, last) = (rest[0].pos, rest[rest.len() - 1].pos);
        let missing =
            format!("[kiln: {first} lines before this one are left out: the log service takes 5 MiB of a log]\n");
        assert_eq!(
            (note.out.as_str(), note.pos + 1, last, rest.len() as u64),
            (missing.as_str(), first, 60_001, last - first + 1)
        );
        assert_eq!(rest[0], log.lines[&first]);
        let most = 5 << 20;
        assert!(log.blob_bytes <= most && log.blob_bytes + 300 > most, "{} bytes of {most}", log.blob_bytes);
    }
    setting.is_faultless();
}

#[tokio::test]
async fn a_log_that_was_never_sent_is_uploaded_from_its_end() {
    let setting = Setting::new().await;
    // Refused for good, so only the upload is tried.
    setting.platform.is(Health::Refuses(403));
    let gate = setting.rig.path("gate");
    let script =
        format!("{} | sed 's/^/{}/'; while [ ! -e {gate} ]; do sleep 0.02; done", counted(40_000), "x".repeat(200));
    setting.rig.client.ok("/start_step", &logged("s1", "never", &script)).await;
    until("the output", async || (setting.rig.agent.list().steps[0].output_bytes > 8_600_000).then_some(())).await;
    setting.platform.is(Health::Well);
    std::fs::write(&gate, "").expect("a file");
    let log = setting.log("never", |log| log.blob.is_some()).await;
    let blob = log.blob.expect("an upload");
    let last = blob.last().expect("a line");
    let expect = format!("{}line number 40000\n", "x".repeat(200));
    assert_eq!((last.pos, last.out.as_str()), (40_001, expect.as_str()));
    assert!(log.blob_bytes > 5_200_000 && log.lines.is_empty(), "{}", log.blob_bytes);
    setting.is_faultless();
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused() {
    let setting = Setting::new().await;
    let cases = [
        (
            json!({"url": "logs.example"}),
            "log_config.url is \"logs.example\"; it should be http://HOST or https://HOST",
        ),
        (json!({"url": "https://logs.example", "token": "a\nb"}), "log_config.token has characters"),
        (
            json!({"sanitize_config": {"sanitize_patterns_content": "YSgK"}}),
            "log_config.sanitize_config.sanitize_patterns_content: the pattern in line 1 cannot be used",
        ),
        (json!({"sanitize_config": {"sanitize_patterns_content": "?"}}), "it is not base64"),
    ];
    for (config, expect) in cases {
        let (status, message) = setting.rig.client.refused("/setup", &json!({ "log_config": config })).await;
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(expect), "{message}");
    }
    for (mtls, expect) in [
        (json!({"client_cert": "eA=="}), "mtls_config has only one of"),
        (json!({"client_cert": "?", "client_cert_key": "eA=="}), "mtls_config.client_cert is not base64"),
        (json!({"client_cert": "eA==", "client_cert_key": "eA=="}), "the certificate is not usable PEM"),
    ] {
        let (status, message) = setting.rig.client.refused("/setup", &json!({ "mtls_config": mtls })).await;
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(expect), "{message}");
    }
    // What was set up before goes on.
    setting.run(&logged("s1", "after", "echo x")).await;
    assert_eq!(printed(&setting.platform.log("after").text()), "x\n");
}

#[tokio::test]
async fn without_a_service_logs_are_files_below_the_engine_directory() {
    let rig = Rig::with(hasty).await;
    rig.client.ok("/setup", &json!({"log_config": {"trim_new_line_suffix": true}, "secrets": ["sesame-street"]})).await;
    assert_eq!(rig.client.run(&logged("s1", "org/log", "echo one sesame-street; printf two")).await.exit_code, 0);
    let file = rig.dir.path().join("engine/org/log");
    let lines: Vec<Value> = std::fs::read_to_string(file)
        .expect("a file")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [.., one, two] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&one["out"], &two["out"]), (&json!(format!("one {MASK}")), &json!("two")));
    let mut names: Vec<&str> = one.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!((names, &two["pos"]), (vec!["out", "pos", "time"], &json!(lines.len() - 1)));
    assert!(one["time"].as_u64() < Some(30), "{one}");
    for key in ["../log", "/tmp/log", "a/../../log"] {
        let (status, message) = rig.client.refused("/start_step", &logged("s2", key, "true")).await;
        assert_eq!(status, 400);
        assert!(message.contains("does not name a file below the engine directory"), "{message}");
    }
    assert_eq!(rig.client.refused("/poll_step", &json!({"id": "s2"})).await.0, 400, "it was not started");
}

#[tokio::test]
async fn memory_defect_a_service_that_is_gone_costs_no_memory() {
    let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
    let program = Program::start(env!("CARGO_BIN_EXE_kiln-agent"), "--env-file");
    program.client.ok("/setup", &json!({"log_config": config(&platform)})).await;
    let rounds = [(Health::Hangs, 40_000_000), (Health::Refuses(500), 40_000_000), (Health::Well, 3_000_000)];
    for (n, (health, bytes)) in rounds.into_iter().enumerate() {
        platform.is(health);
        let runs = (0..4).map(async |i| {
            let id = format!("s{n}-{i}");
            let loud = logged(&id, &id, &format!("yes a line of output that is as long as most are | head -c {bytes}"));
            assert_eq!(program.client.run(&loud).await.exit_code, 0);
        });
        futures::future::join_all(runs).await;
    }
    program.client.ok("/destroy", &json!({})).await;
    let most = memory_bytes(program.child.id(), "VmHWM");
    assert!(most < 32 << 20, "{most} bytes were resident");
}
