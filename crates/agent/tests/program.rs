//! The program itself: its command line, its settings, its memory.

#[path = "rig/program.rs"]
mod program;
mod rig;

use std::process::Command;

use futures::StreamExt as _;
use program::{Program, memory_bytes};
use rig::{Client, NAME, alive, content, step, until, until_dead};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");
const MIB: u64 = 1 << 20;

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(arguments).output().expect("the program");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn command_line() {
    let version = format!("kiln-agent {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["-v"]), (Some(0), version.clone()));
    assert_eq!(run(&["--version"]), (Some(0), version));
    assert!(run(&["--help"]).1.starts_with("Usage: kiln-agent server"));
    for wrong in [&[][..], &["client"], &["server", "--wrong"], &["server", "--env-file", "/no/such/file"]] {
        let (code, text) = run(wrong);
        assert_eq!(code, Some(1), "{wrong:?}: {text}");
        assert!(text.starts_with("Error: "), "{text}");
    }
}

#[tokio::test]
async fn settings_come_from_the_file_and_reach_the_steps_and_sigterm_ends_it_with_its_steps() {
    for flag in ["--env-file", "--env-file="] {
        let mut program = Program::start(PROGRAM, flag);
        let end = program.client.run(&step("s1", "echo $FROM_FILE")).await;
        assert_eq!(end.exit_code, 0, "{}", end.error);
        assert_eq!(program.client.output("s1", 0).await, "from the file\n");
        let pid = program.dir.path().join("pid");
        program.client.ok("/start_step", &step("s2", &format!("echo $$ > {}; exec sleep 1000", pid.display()))).await;
        let pid = content(pid).await;
        let terminated = Command::new("kill").arg(program.child.id().to_string()).status().expect("kill");
        assert!(terminated.success());
        let status = until("the program to end", async || program.child.try_wait().expect("its status")).await;
        assert_eq!(status.code(), Some(0));
        until_dead(&pid).await;
    }
}

#[tokio::test]
async fn steps_do_not_see_the_settings_of_the_agent_but_all_that_they_are_given() {
    let program = Program::start_with(PROGRAM, "--env-file", "DEBUG=true\nTRACE=\nSERVER_NAME=drone\nOF_STEPS=1\n");
    let setup = json!({"envs": {"HTTPS_BIND": "of the stage"}});
    program.client.ok("/setup", &setup).await;
    let mut request = step("s1", "env");
    request.environment =
        [("DEBUG", "of the step"), ("KILN_STATE_DIR", "mine")].map(|(k, v)| (k.into(), v.into())).into();
    assert_eq!(program.client.run(&request).await.exit_code, 0);
    let output = program.client.output("s1", 0).await;
    let of = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
    for name in [
        "SERVER_HTTPS_BIND",
        "CLIENT_CERT_FILE",
        "SERVER_CERT_FILE",
        "SERVER_KEY_FILE",
        "SKIP_PREPARE_SERVER",
        "SERVER_NAME",
        "KILN_KILL_GRACE_MS",
        "KILN_CHANGE_KERNEL",
        "KILN_ROOT_DIR",
        "TRACE",
    ] {
        assert_eq!(of(name), None, "{name} reached a step");
    }
    let kept = ["HTTPS_BIND", "DEBUG", "KILN_STATE_DIR", "OF_STEPS", "FROM_FILE", "KILN_STEP_ID"];
    let values = kept.map(|name| of(name).unwrap_or_default());
    assert_eq!(values, ["of the stage", "of the step", "mine", "1", "from the file", "s1"]);
}

#[tokio::test]
async fn the_log_shows_no_secret() {
    let program = Program::start_with(PROGRAM, "--env-file", "DEBUG=true\n");
    program.client.ok("/setup", &json!({"secrets": ["hunter2"]})).await;
    let mut request = step("hunter2", "true");
    request.working_dir = "/no/hunter2".into();
    program.client.run(&request).await;
    program.client.refused("/kiln/v1/files", &json!({"base": "hunter2", "paths": ["*"]})).await;
    let log =
        until("the refusal to be logged", async || Some(program.log()).filter(|log| log.contains("refused"))).await;
    assert!(log.contains("step ended step=**************"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn times_that_no_clock_can_count_to_end_nothing() {
    let times = format!("KILN_LEASE_S={0}\nKILN_MAX_AGE_S={0}\nKILN_KILL_GRACE_MS={0}\n", u64::MAX);
    let program = Program::start_with(PROGRAM, "--env-file", &times);
    assert_eq!(program.client.run(&step("s1", "exit 4")).await.exit_code, 4);
    program.client.ok("/kiln/v1/claim", &json!({"id": "c1", "lease_s": i64::MAX, "max_age_s": i64::MAX})).await;
    assert_eq!(program.client.run(&step("s2", "exit 5")).await.exit_code, 5);
}

#[tokio::test]
async fn on_a_shared_machine_a_lease_that_runs_out_ends_the_agent_with_its_steps_and_nothing_else() {
    let mut program = Program::start_with(PROGRAM, "--env-file", "KILN_LEASE_S=2\n");
    let pid = program.dir.path().join("pid");
    program.client.ok("/start_step", &step("s1", &format!("echo $$ > {}; exec sleep 1000", pid.display()))).await;
    let pid = content(pid).await;
    let status = until("the program to end", async || program.child.try_wait().expect("its status")).await;
    assert_eq!(status.code(), Some(0));
    until_dead(&pid).await;
}

#[tokio::test]
async fn on_a_shared_machine_a_claim_changes_the_files_of_its_own_root() {
    let program = Program::start(PROGRAM, "--env-file");
    let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    let before = hostname();
    std::fs::create_dir_all(program.dir.path().join("root/etc")).expect("a directory");
    let claim = json!({"id": "i-1", "hostname": "kiln-test-claim", "unix_time_ns": 1_000_000_000});
    program.client.ok("/kiln/v1/claim", &claim).await;
    let named = std::fs::read_to_string(program.dir.path().join("root/etc/hostname")).expect("a file");
    assert_eq!(named.trim(), "kiln-test-claim");
    assert_eq!(hostname(), before);
    assert!(std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() > 1_000_000, "the host's clock was set");
}

#[tokio::test]
async fn orphans_are_adopted_reaped_and_ended_by_destroy() {
    let program = Program::start(PROGRAM, "--env-file");
    let pid = program.dir.path().join("pid");
    let script = format!("setsid sh -c 'sh -c \"echo \\$\\$ > {}; exec sleep 1000\" &'", pid.display());
    program.client.run(&step("s1", &script)).await;
    let pid = content(pid).await;
    program.client.ok("/destroy", &json!({})).await;
    until_dead(&pid).await;
    until("the orphan to be reaped", async || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
        .await;
}

#[tokio::test]
async fn destroy_ends_what_left_everything_and_outlived_its_step() {
    let program = Program::start(PROGRAM, "--env-file");
    let pid = program.dir.path().join("pid");
    let leave = "for top in /sys/fs/cgroup /sys/fs/cgroup/unified; do echo 0 > $top/cgroup.procs; done 2>/dev/null";
    let script =
        format!("{leave}; env -i setsid -f sh -c 'echo $$ > {}; exec sleep 1000' >/dev/null 2>&1", pid.display());
    assert_eq!(program.client.run(&step("s1", &script)).await.exit_code, 0);
    let pid = content(pid).await;
    program.client.ok("/destroy", &json!({})).await;
    assert!(!alive(&pid));
}

#[tokio::test]
async fn two_gigabytes_of_output_leave_the_agent_small_and_a_late_reader_gets_its_bytes() {
    const TOTAL: u64 = 2_000_000_000;
    const TAIL: u64 = 32 * MIB;
    let program = Program::start(PROGRAM, "--env-file");
    let end = program.client.run(&step("s1", &format!("yes 0123456789abcde | head -c {TOTAL}"))).await;
    assert_eq!((end.exit_code, end.output_bytes), (0, TOTAL));
    let offset = TOTAL - TAIL;
    let answer = program.client.send("/kiln/v1/output", &json!({"id": "s1", "offset": offset, "follow": true})).await;
    let mut body = answer.bytes_stream();
    let mut at = offset;
    while let Some(chunk) = body.next().await {
        for byte in chunk.expect("bytes") {
            assert_eq!(byte, b"0123456789abcde\n"[(at % 16) as usize], "at {at}");
            at += 1;
        }
    }
    assert_eq!(at, TOTAL);
    let most = memory_bytes(program.child.id(), "VmHWM");
    assert!(most < 32 * MIB, "{most} bytes were resident");
}

#[tokio::test]
async fn an_idle_agent_gives_back_what_a_stage_took() {
    let program = Program::start(PROGRAM, "--env-file");
    // What is its own; the pages of its file belong to nobody in particular.
    let own = || memory_bytes(program.child.id(), "RssAnon");
    program.client.ok("/setup", &json!({})).await;
    program.client.ok("/destroy", &json!({})).await;
    let fresh = own();
    let names: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    let script = "for i in 1 2 3 4 5 6 7 8; do echo a line of output; done; V=1";
    futures::future::join_all(names.iter().map(async |name| program.client.run(&step(name, script)).await)).await;
    let lines = "yes a line of output | head -c 4000000";
    assert_eq!(program.client.run(&step("large", lines)).await.exit_code, 0);
    // Each over a connection of its own.
    let readers: Vec<Client> =
        (0..64).map(|_| Client::with_protocols(program.address, NAME, &program.runner, &["http/1.1"])).collect();
    let read = readers.iter().map(async |reader| assert_eq!(reader.output("large", 0).await.len(), 4_000_000));
    futures::future::join_all(read).await;
    drop(readers);
    program.client.ok("/destroy", &json!({})).await;
    until("the memory to be given back", async || (own() < fresh + 2 * MIB).then_some(())).await;
}
