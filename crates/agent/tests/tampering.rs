//! Steps that tamper with the agent end their stage.

#[path = "rig/program.rs"]
mod program;
mod rig;

use kiln_wire::agent::{Cause, StartStepRequest};
use program::Program;
use rig::{content, step, until, until_dead};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kiln-agent");

/// A step whose script finds the agent's state directory in `$STATE` and its pid in `$AGENT`.
fn tampering(program: &Program, script: &str) -> StartStepRequest {
    let state = program.dir.path().join("state").display().to_string();
    let mut request = step("evil", script);
    request.environment.extend([("STATE".to_owned(), state), ("AGENT".to_owned(), program.child.id().to_string())]);
    request
}

async fn started() -> Program {
    let program = Program::start(PROGRAM, "--env-file");
    program.client.ok("/setup", &json!({})).await;
    program
}

async fn is_over(program: &Program) {
    let answer = program.client.send("/start_step", &step("later", "true")).await;
    assert_eq!(answer.status().as_u16(), 410);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["reason"], "tampered", "{body}");
    let health: Value = program.client.get("/healthz").await.json().await.expect("JSON");
    assert_eq!(health["reason"], "tampered");
}

#[tokio::test]
async fn a_step_that_tampers_fails_with_that_cause_though_it_exits_with_zero() {
    for (script, what) in [
        ("rm $STATE/journal", "its journal was removed"),
        ("echo >> $STATE/journal", "its journal was changed"),
        ("cp $STATE/journal $STATE/j && mv $STATE/j $STATE/journal", "its journal was changed"),
        ("mv $STATE $STATE.away", "its journal was removed"),
        ("rm $STATE/spool/*", "the output that it kept was removed"),
        ("echo words; sleep 0.2; : > $(ls $STATE/spool/*)", "the output that it kept was shortened"),
    ] {
        let program = started().await;
        let end = program.client.run(&tampering(&program, script)).await;
        assert_eq!((end.exit_code, end.cause), (255, Cause::Tampered), "{script}: {}", end.error);
        assert_eq!(end.error, format!("a step tampered with the agent in the VM: {what}"), "{script}");
        is_over(&program).await;
    }
}

#[tokio::test]
async fn what_runs_beside_it_is_ended_with_that_cause() {
    let program = started().await;
    let (pid, daemon) = (program.dir.path().join("pid"), program.dir.path().join("daemon"));
    program.client.ok("/start_step", &step("good", &format!("echo $$ > {}; exec sleep 1000", pid.display()))).await;
    let background = format!("setsid sh -c 'echo $$ > {}; exec sleep 1000' >/dev/null 2>&1 &", daemon.display());
    assert_eq!(program.client.run(&step("done", &background)).await.exit_code, 0);
    let (pid, daemon) = (content(pid).await, content(daemon).await);
    program.client.run(&tampering(&program, "rm $STATE/journal")).await;
    let end = program.client.poll("good").await;
    assert_eq!((end.exit_code, end.cause), (255, Cause::Tampered));
    until_dead(&pid).await;
    until_dead(&daemon).await;
    // What was known before is true.
    assert_eq!(program.client.poll("done").await.exit_code, 0);
}

#[tokio::test]
async fn it_is_noticed_while_the_step_still_runs() {
    let program = started().await;
    program.client.ok("/start_step", &tampering(&program, "rm $STATE/journal; exec sleep 1000")).await;
    assert_eq!(program.client.poll("evil").await.cause, Cause::Tampered);
    is_over(&program).await;
}

#[tokio::test]
async fn an_agent_that_was_stopped_and_goes_on_says_so() {
    let program = started().await;
    let stop = "kill -STOP $AGENT; sleep 0.2; kill -CONT $AGENT; exec sleep 1000";
    program.client.ok("/start_step", &tampering(&program, stop)).await;
    let end = program.client.poll("evil").await;
    assert_eq!(end.cause, Cause::Tampered);
    assert!(end.error.ends_with("it was stopped for a while"), "{}", end.error);
}

#[tokio::test]
async fn an_agent_that_is_asked_to_end_and_woken_as_a_service_is_blames_no_step() {
    let program = started().await;
    let ready = program.dir.path().join("ready");
    // It outlives the request for a while, so that its end is told after the wake.
    let script = format!("trap '' TERM; echo > {}; while :; do sleep 0.02; done", ready.display());
    program.client.ok("/start_step", &step("s1", &script)).await;
    until("the trap", async || std::fs::metadata(&ready).ok()).await;
    let polled = tokio::spawn({
        let client = program.client.clone();
        async move { client.poll("s1").await }
    });
    for signal in ["-TERM", "-CONT"] {
        let told = std::process::Command::new("kill").args([signal, &program.child.id().to_string()]).status();
        assert!(told.expect("kill").success());
    }
    assert_eq!(polled.await.expect("a result").cause, Cause::Destroyed);
}

#[tokio::test]
async fn a_step_that_kills_the_agent_is_ended_by_the_next_one() {
    let mut program = started().await;
    let pid = program.dir.path().join("pid");
    let script = format!("echo $$ > {}; kill -9 $AGENT; exec sleep 1000", pid.display());
    // The answer may be lost with the agent.
    let _answer = program.client.try_send("/start_step", &tampering(&program, &script)).await;
    let pid = content(pid).await;
    until("the agent's end", async || program.child.try_wait().expect("its status")).await;
    program.start_again(PROGRAM);
    until_dead(&pid).await;
    assert_eq!(program.client.poll("evil").await.cause, Cause::AgentRestarted);
}

#[tokio::test]
async fn a_full_stage_of_its_own_is_no_tampering() {
    let program = started().await;
    for n in 0..20 {
        let end = program.client.run(&step(&format!("s{n}"), "echo x; (sleep 0.01; echo y) & wait")).await;
        assert_eq!((end.exit_code, end.cause), (0, Cause::Exited), "{}", end.error);
    }
    program.client.ok("/setup", &json!({"envs": {"A": "1"}})).await;
    assert_eq!(program.client.run(&step("last", "exit 3")).await.exit_code, 3);
}
