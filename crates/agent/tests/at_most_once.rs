//! A step runs at most once, also when the agent dies: what a new process of the agent does with the work of an old one.

#[path = "rig/program.rs"]
mod program;
mod rig;

use std::path::Path;

use kiln_wire::agent::{Cause, PollStepResponse, StartStepRequest};
use program::Program;
use rig::{Client, content, step, until, until_dead};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");
/// What an endless step says, as it is kept.
const SAID: &str = "it is **************\n";
const RESTARTED: &str = "the agent in the VM was restarted; what ran then was ended";

fn start() -> Program {
    Program::start(PROGRAM, "--env-file")
}

/// A step that notes each of its runs, says its secret, notes its pid and goes on for ever.
fn endless(program: &Program, id: &str) -> StartStepRequest {
    let at = |name: &str| program.dir.path().join(format!("{name}-{id}")).display().to_string();
    let script = format!("echo run >> {}; echo \"it is $TOKEN\"; echo $$ > {}; exec sleep 1000", at("runs"), at("pid"));
    let mut request = step(id, &script);
    request.environment.insert("TOKEN".into(), "hunter2hunter2".into());
    request.secrets = vec!["hunter2hunter2".into()];
    request.name = "says hunter2hunter2".into();
    request
}

/// The pid of an endless step, when it is there and what the step said is kept.
async fn pid_of(program: &Program, id: &str) -> String {
    until("its output", async || {
        let steps: Value = program.client.get("/kiln/v1/steps").await.json().await.expect("JSON");
        let step = steps["steps"].as_array()?.iter().find(|step| step["id"] == id)?.clone();
        (step["output_bytes"].as_u64() == Some(SAID.len() as u64)).then_some(())
    })
    .await;
    content(program.dir.path().join(format!("pid-{id}"))).await
}

/// The answer to a call that is not to be served: its status, and the reason.
async fn refused(client: &Client, path: &str, body: Value) -> (u16, String) {
    let answer = client.send(path, &body).await;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    assert!(body["error_msg"].as_str().is_some_and(|message| !message.is_empty()), "{path}: {body}");
    (status, body["reason"].as_str().unwrap_or_default().to_owned())
}

async fn is_over(client: &Client) {
    let gone = (410, "agent_restarted".to_owned());
    for (path, body) in [
        ("/setup", json!({"envs": {"A": "1"}})),
        ("/start_step", json!({"id": "new", "run": {"entrypoint": ["sh", "-c"], "commands": ["true"]}})),
        ("/poll_step", json!({"id": "unheard-of"})),
        ("/kiln/v1/output", json!({"id": "unheard-of"})),
        ("/kiln/v1/self-test", json!({})),
        ("/kiln/v1/resize", json!({"id": "s1", "terminal": {"rows": 1, "cols": 1}})),
        ("/kiln/v1/files", json!({"base": "/", "paths": ["etc/hostname"]})),
    ] {
        assert_eq!(refused(client, path, body).await, gone, "{path}");
    }
    for path in ["/kiln/v1/workspace?path=/tmp/x", "/kiln/v1/input?id=s1"] {
        let answer = client.http.put(format!("{}{path}", client.base)).body("x").send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 410, "{path}");
    }
    let health: Value = client.get("/healthz").await.json().await.expect("JSON");
    assert_eq!((health["ok"].as_bool(), health["reason"].as_str()), (Some(true), Some("agent_restarted")));
}

fn assert_restarted(end: &PollStepResponse) {
    assert_eq!((end.exited, end.exit_code, end.cause), (true, 255, Cause::AgentRestarted));
    assert_eq!(end.error, RESTARTED);
}

#[tokio::test]
async fn a_killed_agent_that_starts_again_runs_no_step_twice_and_ends_the_first_run() {
    let mut program = start();
    program.client.ok("/setup", &json!({"secrets": ["hunter2hunter2"]})).await;
    let request = endless(&program, "s1");
    program.client.ok("/start_step", &request).await;
    let pid = pid_of(&program, "s1").await;
    program.kill_and_start_again(PROGRAM);
    until_dead(&pid).await;
    let (status, reason) = refused(&program.client, "/start_step", json!(request)).await;
    assert_eq!((status, reason.as_str()), (410, "agent_restarted"));
    assert_restarted(&program.client.poll("s1").await);
    is_over(&program.client).await;
    let runs = std::fs::read_to_string(program.dir.path().join("runs-s1")).expect("a file");
    assert_eq!(runs, "run\n");
}

#[tokio::test]
async fn what_was_printed_before_can_be_read_from_any_offset_and_is_masked() {
    let mut program = start();
    program.client.ok("/start_step", &endless(&program, "s1")).await;
    pid_of(&program, "s1").await;
    program.kill_and_start_again(PROGRAM);
    assert_eq!(program.client.output("s1", 0).await, SAID);
    assert_eq!(program.client.output("s1", 6).await, "**************\n");
    let answer = program.client.send("/kiln/v1/output", &json!({"id": "s1"})).await;
    assert_eq!(answer.headers()["x-kiln-ended"], "true");
    let answer = program.client.send("/stream_output", &json!({"id": "s1", "offset": 0})).await;
    assert_eq!(answer.text().await.expect("a body"), SAID);
    let steps: Value = program.client.get("/kiln/v1/steps").await.json().await.expect("JSON");
    let step = &steps["steps"][0];
    assert_eq!((step["id"].as_str(), step["state"].as_str()), (Some("s1"), Some("ended")));
    assert_eq!(step["cause"], "agent_restarted");
    assert_eq!(step["name"], "says **************");
    assert!(step["started_unix_ms"].as_i64() > Some(0), "{step}");
}

#[tokio::test]
async fn a_step_that_hides_its_mark_is_ended_with_all_that_it_started() {
    let scripts = [
        // A child without the mark, in a session of its own.
        "setsid env -i sh -c 'echo $$ > PID; exec sleep 1000' & wait",
        // The main process itself has no mark any more.
        "exec env -i sh -c 'echo $$ > PID; exec sleep 1000'",
        // Nor has it any more, and its child has left its session.
        "exec env -i sh -c 'setsid sh -c \"echo \\$\\$ > PID; exec sleep 1000\" & wait'",
    ];
    for script in scripts {
        let mut program = start();
        let pid = program.dir.path().join("pid");
        let script = script.replace("PID", &pid.display().to_string());
        program.client.ok("/start_step", &step("s1", &script)).await;
        let pid = content(&pid).await;
        program.kill_and_start_again(PROGRAM);
        until_dead(&pid).await;
    }
}

#[tokio::test]
async fn the_identity_is_kept_and_no_other_is_taken() {
    let mut program = start();
    let claim = json!({"id": "i-1", "hostname": "i-1", "lease_s": 600});
    program.client.ok("/kiln/v1/claim", &claim).await;
    program.kill_and_start_again(PROGRAM);
    let identity = program.client.ok("/kiln/v1/claim", &claim).await;
    assert_eq!((identity["id"].as_str(), identity["in_use"].as_bool()), (Some("i-1"), Some(true)));
    let (status, _) = program.client.refused("/kiln/v1/claim", &json!({"id": "i-2"})).await;
    assert_eq!(status, 409);
    is_over(&program.client).await;
}

#[tokio::test]
async fn destroy_and_cancel_and_suspend_answer_as_before_and_a_third_process_knows_the_same() {
    let mut program = start();
    program.client.ok("/start_step", &endless(&program, "s1")).await;
    pid_of(&program, "s1").await;
    program.kill_and_start_again(PROGRAM);
    for _ in 0..2 {
        program.client.ok("/kiln/v1/cancel", &json!({"id": "s1"})).await;
        program.client.ok("/suspend", &json!({})).await;
        let stats = program.client.ok("/destroy", &json!({})).await;
        assert!(stats["os_stats"]["cpu_cores"].as_i64() > Some(0), "{stats}");
    }
    program.kill_and_start_again(PROGRAM);
    assert_restarted(&program.client.poll("s1").await);
    is_over(&program.client).await;
}

#[tokio::test]
async fn a_self_test_leaves_no_journal_so_the_next_process_is_fresh() {
    let mut program = start();
    program.client.ok("/kiln/v1/self-test", &json!({})).await;
    program.kill_and_start_again(PROGRAM);
    assert!(!program.dir.path().join("state/journal").exists());
    program.client.ok("/kiln/v1/claim", &json!({"id": "i-1"})).await;
    program.client.ok("/setup", &json!({})).await;
    assert_eq!(program.client.run(&step("s1", "exit 3")).await.exit_code, 3);
}

/// Starts a step, kills the agent, lets something happen to its journal, and starts another process.
async fn with_journal(change: impl FnOnce(&Path)) -> (Program, String) {
    let mut program = start();
    program.client.ok("/start_step", &endless(&program, "s1")).await;
    let pid = pid_of(&program, "s1").await;
    program.kill();
    change(&program.dir.path().join("state/journal"));
    program.start_again(PROGRAM);
    (program, pid)
}

#[tokio::test]
async fn a_journal_of_another_boot_refuses_the_stage_as_well() {
    let (program, pid) = with_journal(|journal| {
        let text = std::fs::read_to_string(journal).expect("a journal");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
        assert!(text.contains(boot.trim()), "{text}");
        std::fs::write(journal, text.replace(boot.trim(), "another")).expect("a file");
    })
    .await;
    let end = program.client.poll("s1").await;
    assert_eq!((end.exit_code, end.cause), (255, Cause::AgentRestarted));
    assert!(end.error.contains("booted"), "{}", end.error);
    assert_eq!(program.client.output("s1", 0).await, SAID);
    is_over(&program.client).await;
    // Its numbers mean nothing in this boot, but nothing else carries its mark.
    until_dead(&pid).await;
}

#[tokio::test]
async fn half_a_line_at_the_end_is_of_something_that_was_not_done() {
    let (program, pid) = with_journal(|journal| {
        let text = std::fs::read_to_string(journal).expect("a journal");
        let half = r#"{"start":{"id":"s2","name":"","mark":"0-1","at_un"#;
        std::fs::write(journal, format!("{text}{half}")).expect("a file");
    })
    .await;
    until_dead(&pid).await;
    assert_restarted(&program.client.poll("s1").await);
    assert_eq!(refused(&program.client, "/poll_step", json!({"id": "s2"})).await.0, 410);
    is_over(&program.client).await;
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_followed_as_far_as_it_can_be_read() {
    let (program, pid) = with_journal(|journal| {
        let text = std::fs::read_to_string(journal).expect("a journal");
        let newer = text.replacen("\"journal\":1", "\"journal\":7", 1) + "{\"paused\":{\"id\":\"s1\"}}\n";
        assert_ne!(newer, text);
        std::fs::write(journal, newer).expect("a file");
    })
    .await;
    until_dead(&pid).await;
    assert_restarted(&program.client.poll("s1").await);
    is_over(&program.client).await;
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_refuses_the_stage() {
    let spoilt: [fn(&Path); 4] = [
        |journal| std::fs::write(journal, "").expect("a file"),
        |journal| std::fs::write(journal, [0xff, 0, b'\n', b'{', b'\n']).expect("a file"),
        |journal| {
            std::fs::remove_file(journal).expect("a journal");
            std::fs::create_dir(journal).expect("a directory");
        },
        |journal| {
            std::fs::remove_file(journal).expect("a journal");
            let made = std::process::Command::new("mkfifo").arg(journal).status().expect("mkfifo");
            assert!(made.success());
        },
    ];
    for spoil in spoilt {
        let (program, pid) = with_journal(spoil).await;
        is_over(&program.client).await;
        program.client.ok("/destroy", &json!({})).await;
        // Nobody knows any more that it is the agent's; on a machine of its own the agent would end it.
        let _ended = std::process::Command::new("kill").arg("-9").arg(&pid).status().expect("kill");
    }
}

#[tokio::test]
async fn an_agent_that_cannot_write_its_journal_begins_nothing() {
    let program = start();
    std::fs::create_dir_all(program.dir.path().join("state/journal.new")).expect("a directory");
    for (path, body) in [
        ("/kiln/v1/claim", json!({"id": "i-1"})),
        ("/setup", json!({})),
        ("/start_step", json!(step("s1", &format!("echo > {}", program.dir.path().join("ran").display())))),
    ] {
        let (status, message) = program.client.refused(path, &body).await;
        assert!(status == 500 && message.contains("cannot write the journal"), "{path}: {status} {message}");
    }
    assert!(!program.dir.path().join("ran").exists());
    std::fs::remove_dir(program.dir.path().join("state/journal.new")).expect("a directory");
    program.client.ok("/kiln/v1/claim", &json!({"id": "i-1"})).await;
    program.client.ok("/setup", &json!({})).await;
    assert_eq!(program.client.run(&step("s1", "exit 3")).await.exit_code, 3);
}

#[tokio::test]
async fn a_disk_without_room_for_a_journal_keeps_anything_from_beginning() {
    let program = start();
    let beside = program.dir.path().join("state/journal.new");
    for (path, body) in
        [("/kiln/v1/claim", json!({"id": "i-1"})), ("/setup", json!({})), ("/start_step", json!(step("s1", "true")))]
    {
        // What is written there finds no room.
        std::os::unix::fs::symlink("/dev/full", &beside).expect("a link");
        let (status, message) = program.client.refused(path, &body).await;
        assert!(status == 500 && message.contains("No space left on device"), "{path}: {status} {message}");
    }
    assert!(!beside.exists() && !beside.with_extension("").exists());
    program.client.ok("/kiln/v1/claim", &json!({"id": "i-1"})).await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_leaves_its_journal_too() {
    let mut program = start();
    program.client.ok("/setup", &json!({})).await;
    assert_eq!(program.client.run(&step("s1", "true")).await.exit_code, 0);
    let told = std::process::Command::new("kill").arg(program.child.id().to_string()).status().expect("kill");
    assert!(told.success());
    program.child.wait().expect("its end");
    program.start_again(PROGRAM);
    assert_restarted(&program.client.poll("s1").await);
    is_over(&program.client).await;
}
