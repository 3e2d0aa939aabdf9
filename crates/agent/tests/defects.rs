//! The defects of the agent that ours replaces, each by its number in the list of what must not happen again, as far
//! as they concern the routes we serve. Number 2 is tested where the supervision is; 11 and 12 are about a log
//! service that we do not speak to, but for what a second setup must renew.

mod rig;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kiln_wire::agent::{Cause, ProcessConfig};
use rig::{Rig, alive, content, step, until, until_dead};
use serde_json::json;

#[tokio::test]
async fn defect_1_a_step_without_environment_or_setup_runs() {
    let rig = Rig::start().await;
    let request = json!({"id": "s1", "run": {"entrypoint": ["sh", "-c"], "commands": ["exit 4"]}});
    rig.client.ok("/start_step", &request).await;
    assert_eq!(rig.client.poll("s1").await.exit_code, 4);
    for (id, request) in
        [("null", json!({"id": "null", "environment": null, "run": null})), ("none", json!({"id": "none"}))]
    {
        rig.client.ok("/start_step", &request).await;
        let end = rig.client.poll(id).await;
        assert_eq!((end.exit_code, end.error.as_str()), (255, "step entrypoint cannot be empty"));
    }
}

#[tokio::test]
async fn defect_3_every_poller_is_answered() {
    let rig = Rig::start().await;
    let gate = rig.path("gate");
    rig.client.ok("/start_step", &step("s1", &format!("while [ ! -e {gate} ]; do sleep 0.02; done; exit 5"))).await;
    // One poller hangs up, as a dropped connection does.
    let request = json!({"id": "s1"});
    let lost = rig.client.ok("/poll_step", &request);
    assert!(tokio::time::timeout(Duration::from_millis(100), lost).await.is_err());
    let clients: Vec<_> = (0..20).map(|_| rig.client.clone()).collect();
    let polls = futures::future::join_all(clients.iter().map(|client| client.poll("s1")));
    let open = async { std::fs::write(&gate, "").expect("a file") };
    let (ends, ()) = tokio::join!(polls, open);
    assert_eq!(ends.iter().filter(|end| end.exit_code == 5).count(), 20);
    assert_eq!(rig.client.poll("s1").await.exit_code, 5);
}

#[tokio::test]
async fn defect_4_a_reader_that_hangs_up_while_the_step_writes_harms_nothing() {
    let rig = Rig::start().await;
    let gate = rig.path("gate");
    let script = format!("yes 0123456789 | head -c 40000000; while [ ! -e {gate} ]; do sleep 0.02; done; echo done");
    rig.client.ok("/start_step", &step("s1", &script)).await;
    for _ in 0..5 {
        let answer = rig.client.send("/stream_output", &json!({"id": "s1", "offset": 0})).await;
        let first = answer.bytes_stream().next().await.expect("output").expect("a chunk");
        assert!(first.starts_with(b"0123456789\n"));
    }
    std::fs::write(&gate, "").expect("a file");
    let end = rig.client.poll("s1").await;
    assert_eq!((end.exit_code, end.output_bytes), (0, 40_000_005));
    assert_eq!(rig.client.output("s1", 40_000_000).await, "done\n");
}

#[tokio::test]
async fn defect_5_a_slow_reader_holds_neither_the_step_nor_other_readers() {
    let rig = Rig::start().await;
    rig.client.ok("/start_step", &step("s1", "yes 0123456789 | head -c 30000000")).await;
    // This one never reads its body.
    let slow = rig.client.send("/stream_output", &json!({"id": "s1"})).await;
    assert_eq!(rig.client.poll("s1").await.exit_code, 0);
    assert_eq!(rig.client.output("s1", 0).await.len(), 30_000_000);
    assert_eq!(slow.bytes().await.expect("a body").len(), 30_000_000);
}

#[tokio::test]
async fn defect_6_a_step_of_the_distributed_mode_can_be_polled() {
    let rig = Rig::start().await;
    let mut request = step("s1", "exit 6");
    request.stage_runtime_id = "stage".into();
    request.timeout = 36_000;
    assert_eq!(rig.client.run(&request).await.exit_code, 6);
}

#[tokio::test]
async fn defect_7_sigterm_attempts_without_interval_still_end_in_sigkill() {
    let rig = Rig::with(|settings| settings.kill_grace = Duration::from_millis(200)).await;
    let mut request = step("s1", "trap '' TERM; while :; do sleep 0.05; done");
    request.timeout = 1;
    request.process_config = ProcessConfig {
        kill_process_on_context_cancel: true,
        kill_process_max_sigterm_attempts: 3,
        kill_process_retry_interval_secs: 0,
        ..Default::default()
    };
    let end = rig.client.run(&request).await;
    assert_eq!((end.cause, end.exit_code, end.signal), (Cause::Timeout, 255, 9));
}

#[tokio::test]
async fn defect_8_a_timeout_ends_the_whole_tree() {
    let rig = Rig::start().await;
    let (a, b) = (rig.path("a"), rig.path("b"));
    let script = format!("sleep 1000 & echo $! > {a}; setsid sh -c 'echo $$ > {b}; exec sleep 1000' & wait");
    let mut request = step("s1", &script);
    request.timeout = 1;
    let end = rig.client.run(&request).await;
    assert_eq!((end.cause, end.exit_code, end.error.as_str()), (Cause::Timeout, 255, "context deadline exceeded"));
    until_dead(&content(a).await).await;
    until_dead(&content(b).await).await;
}

#[tokio::test]
async fn defect_8_a_step_can_be_cancelled() {
    let rig = Rig::start().await;
    let pid = rig.path("pid");
    rig.client.ok("/start_step", &step("s1", &format!("sleep 1000 & echo $! > {pid}; wait"))).await;
    let pid = content(pid).await;
    let cancel = json!({"id": "s1", "reason": "a newer push"});
    rig.client.ok("/kiln/v1/cancel", &cancel).await;
    let end = rig.client.poll("s1").await;
    assert_eq!((end.cause, end.cancel_reason.as_str()), (Cause::Cancelled, "a newer push"));
    assert_eq!((end.exit_code, end.error.as_str()), (255, "the step was cancelled: a newer push"));
    until_dead(&pid).await;
    rig.client.ok("/kiln/v1/cancel", &cancel).await;
    assert_eq!(rig.client.refused("/kiln/v1/cancel", &json!({"id": "s2"})).await.0, 404);
}

#[tokio::test]
async fn defect_8_destroy_ends_running_steps_and_what_outlived_its_step() {
    let rig = Rig::start().await;
    let (daemon, running) = (rig.path("daemon"), rig.path("running"));
    let script = format!("setsid sh -c 'echo $$ > {daemon}; exec sleep 1000' >/dev/null 2>&1 &");
    assert_eq!(rig.client.run(&step("s1", &script)).await.exit_code, 0);
    let daemon = content(daemon).await;
    assert!(alive(&daemon), "a step's daemon serves the later steps");
    rig.client.ok("/start_step", &step("s2", &format!("echo $$ > {running}; exec sleep 1000"))).await;
    let running = content(running).await;
    rig.client.ok("/destroy", &json!({})).await;
    assert_eq!(rig.client.poll("s2").await.cause, Cause::Destroyed);
    until_dead(&daemon).await;
    until_dead(&running).await;
}

#[tokio::test]
async fn defect_8_a_grandchild_that_holds_stdout_does_not_hold_the_step() {
    let rig = Rig::start().await;
    let pid = rig.path("pid");
    let start = Instant::now();
    let end = rig.client.run(&step("s1", &format!("sleep 1000 & echo $! > {pid}; echo said"))).await;
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!((end.exit_code, end.cause), (0, Cause::Exited));
    assert_eq!(rig.client.output("s1", 0).await, "said\n");
    rig.client.ok("/destroy", &json!({})).await;
    until_dead(&content(pid).await).await;
}

#[tokio::test]
async fn defect_9_destroy_and_setup_may_come_in_any_number_and_order() {
    let rig = Rig::start().await;
    for _ in 0..2 {
        let stats = rig.client.ok("/destroy", &json!({})).await;
        assert!(stats["os_stats"]["cpu_cores"].as_i64() > Some(0), "{stats}");
    }
    let setup = json!({"envs": {"A": "1"}});
    for _ in 0..3 {
        assert_eq!(rig.client.ok("/setup", &setup).await, json!({}));
    }
    for _ in 0..2 {
        rig.client.ok("/destroy", &json!({"stage_runtime_id": "x"})).await;
    }
}

#[tokio::test]
async fn defect_10_a_missing_docker_socket_does_not_become_a_directory() {
    let rig = Rig::start().await;
    let (socket, dir) = (rig.path("run/docker.sock"), rig.path("data"));
    let volumes =
        json!([{"host": {"id": "_docker", "name": "_docker", "path": socket}}, {"host": {"name": "d", "path": dir}}]);
    rig.client.ok("/setup", &json!({ "volumes": volumes })).await;
    assert!(!std::path::Path::new(&socket).exists());
    assert!(std::path::Path::new(&dir).is_dir());
}

#[tokio::test]
async fn defect_11_a_second_setup_renews_what_the_first_one_set() {
    let rig = Rig::start().await;
    for (n, value) in ["first", "second"].into_iter().enumerate() {
        rig.client.ok("/setup", &json!({"envs": {"V": value}, "secrets": [format!("token-{value}")]})).await;
        let id = format!("s{n}");
        rig.client.run(&step(&id, "echo $V token-$V")).await;
        assert_eq!(rig.client.output(&id, 0).await, format!("{value} **************\n"));
    }
}

#[tokio::test]
async fn defect_13_many_steps_and_readers_leave_no_descriptors_and_no_threads() {
    let rig = Rig::start().await;
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).expect("proc").count();
    let round = async |n: usize| {
        let ids: Vec<String> = (0..10).map(|i| format!("{n}-{i}")).collect();
        let runs = ids.iter().map(async |id| {
            rig.client.run(&step(id, "echo x")).await;
            assert_eq!(rig.client.output(id, 0).await, "x\n");
        });
        futures::future::join_all(runs).await;
    };
    round(0).await;
    let (fds, threads) = (count("fd"), count("task"));
    for n in 1..6 {
        round(n).await;
    }
    until("the descriptors to be closed", async || (count("fd") <= fds + 4).then_some(())).await;
    until("the threads to end", async || (count("task") <= threads + 24).then_some(())).await;
}

#[tokio::test]
async fn memory_defect_ended_steps_are_evicted_with_their_output() {
    let rig = Rig::with(|settings| settings.steps_kept = 3).await;
    for n in 0..8 {
        rig.client.run(&step(&format!("s{n}"), "echo x")).await;
    }
    let spools = || std::fs::read_dir(rig.dir.path().join("state/spool")).expect("a directory").count();
    assert!(rig.agent.list().steps.len() <= 4 && spools() <= 4, "{} {}", rig.agent.list().steps.len(), spools());
    assert_eq!(rig.client.refused("/poll_step", &json!({"id": "s0"})).await, (400, "Step has not started".into()));
    assert_eq!(rig.client.poll("s7").await.exit_code, 0);
}

#[tokio::test]
async fn memory_defect_a_request_body_is_bounded() {
    let rig = Rig::with(|settings| settings.body_limit_bytes = 1000).await;
    let (status, message) = rig.client.refused("/setup", &json!({"envs": {"A": "x".repeat(2000)}})).await;
    assert_eq!(status, 413);
    assert!(message.contains("larger than 1000 bytes"), "{message}");
}

#[tokio::test]
async fn secrets_defect_one_that_is_written_in_two_parts_or_begins_another_is_masked() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({"secrets": ["abc", "abcdefgh"]})).await;
    let mut request = step("s1", "printf 'x abcd'; sleep 0.1; printf 'efgh y abcd '; printf %s other-secret");
    request.secrets = vec!["other-secret".into()];
    rig.client.run(&request).await;
    assert_eq!(rig.client.output("s1", 0).await, "x ************** y **************d **************");
}

#[tokio::test]
async fn secrets_defect_files_for_all_users_are_not_free_for_all() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::with(|settings| {
        let home = settings.engine_dir.with_file_name("home").to_string_lossy().into_owned();
        settings.base_env.insert("HOME".into(), home);
    })
    .await;
    let envs = json!({"DRONE_PERSIST_CREDS": "true", "DRONE_NETRC_MACHINE": "git.example", "DRONE_NETRC_USERNAME": "ann",
                      "DRONE_NETRC_PASSWORD": "pw"});
    rig.client.ok("/setup", &json!({ "envs": envs })).await;
    let mode = |path: &str| std::fs::metadata(rig.path(path)).expect("a file").permissions().mode() & 0o7777;
    assert_eq!((mode("engine"), mode("home/.netrc")), (0o1777, 0o600));
    let netrc = std::fs::read_to_string(rig.path("home/.netrc")).expect("a file");
    assert_eq!(netrc, "machine git.example login ann password pw\n");
}

#[tokio::test]
async fn secrets_defect_a_failed_setup_does_not_tell_its_environment() {
    let rig = Rig::start().await;
    let request = json!({"envs": {"PASSWORD": "hunter2"}, "secrets": ["hunter2"], "files": [{"path": "/proc/nope/x", "data": "hunter2"}]});
    let (status, message) = rig.client.refused("/setup", &request).await;
    assert_eq!(status, 500);
    assert!(message.contains("/proc/nope") && !message.contains("hunter2"), "{message}");
}
