//! The defects of the agent that ours replaces: what must not happen again, each by its number or heading in the list of them.
//!
//! | defect | what it was | test, or why it does not concern steps on the host |
//! |---|---|---|
//! | 1 | no environment, or no setup: the step hangs | `defect_1_*` |
//! | 2 | a panic loses the step | `supervise/run.rs`: `defect_2_a_panic_still_ends_the_step` |
//! | 3 | of two pollers one is never answered | `defect_3_*` |
//! | 4 | a reader that hangs up ends the agent | `defect_4_*` |
//! | 5 | a slow reader holds the step and the other readers | `defect_5_*`; all of `bulk.rs` |
//! | 6 | a step of the distributed mode cannot be polled | `defect_6_*` |
//! | 7 | SIGTERM attempts without an interval never end in SIGKILL | `defect_7_*` |
//! | 8 | timeout and destroy leave processes; no cancel; a grandchild holds the step | `defect_8_*`; all of `supervision.rs` |
//! | 9 | destroy without setup, twice, or after two setups | `defect_9_*`; `stage.rs`: `defect_9_*`, of metrics |
//! | 10 | a missing socket of the container engine becomes a directory | `defect_10_*` |
//! | 11 | a second setup does not renew what the first one set | `defect_11_*`; `logs.rs`: `defect_11_*`, of the log service |
//! | 12 | output that cannot be written is lost, and fails the step | `defect_12_*`; `logs.rs`: `defect_12_*`, of lines and uploads |
//! | 13 | descriptors, threads and locks that are left behind | `defect_13_*` |
//! | Memory | output, steps, lines, bodies, files without a bound | `memory_defect_*`; `program.rs`: two gigabytes of output; `logs.rs`: `memory_defect_*`, of a log service that is gone; reports and call graphs: not read by the agent |
//! | Secrets | borders of chunks, one within another, drone mode | `secrets_defect_one_*`; `secrets.rs` |
//! | | a race of two steps' secrets | `secrets_defect_of_steps_that_start_at_once_*` |
//! | | values of the output files are not masked, and shown when they cannot be read | `secrets_defect_a_file_of_outputs_*`; `stage.rs`: `secrets_defect_a_secret_output_*` |
//! | | a failed setup tells its environment | `secrets_defect_a_failed_setup_*`; `program.rs`: `the_log_shows_no_secret` |
//! | | the token of the test service in every step | `secrets_defect_tokens_of_services_*` |
//! | | modes of the shared directory and of `.netrc` | `secrets_defect_files_for_all_users_*` |
//! | | the mode of another client key | `stage.rs`: `secrets_defect_a_client_key_*` |
//! | | the unit file with a proxy's password | `egress.rs`: `secrets_defect_*` |
//! | Security | one key for both ends and all machines | `certificates.rs`: the key of another agent is refused |
//! | | a step of another user keeps group 0 | `security_defect_a_step_of_another_user_*` |
//! | | an archive may name any path | `transfer.rs`: `nothing_can_be_placed_outside`; `files` of a request name any path on purpose: they are the runner's |
//! | | the name of the CA's setting is taken twice | the agent has no client mode |
//! | | the socket of the container engine in every container | `containers/sees.rs`: `after_a_claim_*` |
//! | | a signed link is sent the token of the service | `logs.rs`: `security_defect_a_token_is_not_sent_*` |
//! | | keys of the file store lead anywhere | `logs.rs`: `without_a_service_logs_are_files_*`; `log_service/folder.rs` |
//! | | tokens for whoever has a handle, for any audience | `identities.rs`: `security_defect_*`, also those in `src/identities` |
//! | | services that are not verified | `reach.rs`: `security_defect_a_service_that_nobody_vouches_for_*` |
//! | | pushes to the platform without verification | nothing is pushed |
//! | Containers | items 1, 3 to 10, 12, 13 and Memory | `containers/defects.rs`: `defect_N_*`, `memory_defect_*` |
//! | | 11 and 12 of their logs, Secrets and Security of what they are given | `containers/stage.rs`: `defect_11_*`, `defect_12_*`, `secrets_defect_*`, `security_defect_*` |
//! | | a malformed port, an address that is none, a folder that should be read-only, a volume in memory that is left, a network that cannot be joined, a log without a limit | `containers/defects.rs`, `sees.rs`; `container/config/network.rs` |
//! | Test selection | names with spaces, wrong order, wrong cache | tests are not selected by the agent |

#[path = "rig/program.rs"]
mod program;
mod rig;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kiln_wire::agent::{Cause, ProcessConfig};
use program::{Program, memory_bytes};
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
async fn defect_12_output_that_cannot_be_kept_does_not_fail_the_step() {
    // The disk is taken to be full.
    let rig = Rig::with(|settings| settings.disk_reserve_bytes = u64::MAX / 2).await;
    let end = rig.client.run(&step("s1", "yes 0123456789 | head -c 300000; echo the end")).await;
    assert_eq!((end.exit_code, end.cause), (0, Cause::Exited), "{}", end.error);
    let output = rig.client.output("s1", 0).await;
    assert!(output.contains("bytes of output were dropped here") && output.ends_with("the end\n"), "{output}");
    assert!(rig.agent.list().steps[0].output_cut);
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
async fn memory_defect_a_line_without_end_is_not_kept_in_memory() {
    const TOTAL: u64 = 100_000_000;
    let program = Program::start(env!("CARGO_BIN_EXE_kiln-agent"), "--env-file");
    let mut loud = step("s1", &format!("head -c {TOTAL} /dev/zero | tr '\\0' x"));
    loud.secrets = vec!["a secret to look for".into()];
    assert_eq!(program.client.run(&loud).await.output_bytes, TOTAL);
    let most = memory_bytes(program.child.id(), "VmHWM");
    assert!(most < 32 << 20, "{most} bytes were resident");
}

#[tokio::test]
async fn memory_defect_what_a_step_hands_over_is_bounded() {
    const MOST: usize = 16 << 20;
    let rig = Rig::start().await;
    let end = rig.client.run(&step("s1", "head -c 50000000 /dev/zero | tr '\\0' x > $PLUGIN_ARTIFACT_FILE")).await;
    assert_eq!(end.exit_code, 0);
    let text = base64_length(MOST);
    assert!(end.artifact.len() <= text, "{} characters, {text} are the most", end.artifact.len());
}

/// Characters of so many bytes in base64.
fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
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
async fn secrets_defect_of_steps_that_start_at_once_each_secret_is_masked() {
    let rig = Rig::start().await;
    rig.client.ok("/setup", &json!({"secrets": ["of-the-stage"]})).await;
    let runs = (0..20).map(|n| {
        let mut request = step(&format!("s{n}"), &format!("echo of-the-stage own-secret-{n}"));
        request.secrets = vec![format!("own-secret-{n}")];
        let client = rig.client.clone();
        async move {
            client.run(&request).await;
            client.output(&request.id, 0).await
        }
    });
    for output in futures::future::join_all(runs).await {
        assert_eq!(output, "************** **************\n");
    }
}

#[tokio::test]
async fn secrets_defect_a_file_of_outputs_that_cannot_be_read_is_not_shown() {
    let rig = Rig::start().await;
    let script = "printf 'no pair: hidden-1\\n=hidden-2\\n\\0\\377\\n' | tee $HARNESS_OUTPUT_SECRET_FILE > $DRONE_OUTPUT; echo done";
    let mut request = step("s1", script);
    request.output_vars = vec!["MISSING".into()];
    let end = rig.client.run(&request).await;
    assert_eq!((end.exit_code, rig.client.output("s1", 0).await.as_str()), (0, "done\n"), "{}", end.error);
    assert!(!end.error.contains("hidden"), "{}", end.error);
}

#[tokio::test]
async fn secrets_defect_tokens_of_services_are_not_given_to_steps() {
    let rig = Rig::start().await;
    let services = json!({
        "ti_config": {"url": "https://ti.example", "token": "ti-token"},
        "log_config": {"url": "", "token": "log-token"},
    });
    rig.client.ok("/setup", &services).await;
    rig.client.run(&step("s1", "env; env | base64 -d 2>/dev/null; :")).await;
    let output = rig.client.output("s1", 0).await;
    assert!(!output.contains("-token") && !output.contains("dGktdG9rZW4") && !output.contains("***"), "{output}");
}

#[tokio::test]
async fn security_defect_a_step_of_another_user_does_not_keep_group_0() {
    let rig = Rig::start().await;
    rig.client.run(&step("own", "id -u")).await;
    if rig.client.output("own", 0).await.trim() != "0" {
        println!("not run: only root can become another user");
        return;
    }
    let mut request = step("s1", "id -u; id -g; id -G");
    request.user = "54321".into();
    rig.client.run(&request).await;
    assert_eq!(rig.client.output("s1", 0).await, "54321\n54321\n54321\n");
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
