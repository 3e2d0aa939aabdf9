//! The program: what it prints, and what it exits with.

mod rig;

use std::process::Command;

use rig::{Agent, Mistake, Told};
use serde_json::Value;

/// The exit code, what is printed, and what is said of errors.
async fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let run = move || Command::new(env!("CARGO_BIN_EXE_kiln-agent-conformance")).args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await.expect("no panic").expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn exit_codes_tell_an_agent_that_keeps_the_protocol_from_one_that_does_not() {
    let agent = Agent::start().await;
    let (code, text, _) = program(&[&agent.url(), "--only", "1 healthz"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok       1 healthz        health_tells_the_version_and_that_all_is_well"), "{text}");
    assert!(text.trim_end().ends_with("3 passed, 0 failed, 0 skipped, 0 not yet"), "{text}");
    let wrong = rig::before(&agent, Mistake::asking("", |_| None)).await;
    assert_eq!(program(&[&wrong, "--only", "1.3"]).await.0, Some(0));
    let wrong =
        rig::before(&agent, Mistake::asking("", |asked| asked.is("/suspend").then(|| Told::refusal(404)))).await;
    let (code, text, _) = program(&[&wrong, "--only", "1.3"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAILED   1.3              suspend_is_answered_with_nothing"), "{text}");
    assert!(text.contains("POST /suspend is answered with status 404 and should be with 200"), "{text}");
}

#[tokio::test]
async fn what_is_not_done_yet_is_no_success() {
    let agent = Agent::start().await;
    let (code, text, _) = program(&[&agent.url(), "--only", "a_run_test_step_selects"]).await;
    assert_eq!(code, Some(1), "nothing was checked: {text}");
    assert!(text.contains("not yet") && text.contains("0 passed, 0 failed, 0 skipped, 1 not yet"), "{text}");
}

#[tokio::test]
async fn results_are_written_as_json_on_demand() {
    let agent = Agent::start().await;
    let (code, text, _) = program(&[
        &agent.url(),
        "--format",
        "json",
        "--only",
        "suspend_is",
        "--only",
        "suspend_leaves",
        "--only",
        "a_run_test_step_selects",
    ])
    .await;
    assert_eq!(code, Some(0), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&report["passed"], &report["failed"], &report["not_yet"]), (&2.into(), &0.into(), &1.into()));
    let first = &report["checks"][0];
    assert_eq!((&first["name"], &first["section"]), (&"suspend_is_answered_with_nothing".into(), &"1.3".into()));
    assert_eq!(first["outcome"], "passed");
    assert!(first["duration_ms"].is_u64() && report["agent"].is_string() && report["version"].is_string(), "{report}");
}

#[tokio::test]
async fn checks_that_cannot_begin_exit_with_2() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let nobody = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    for (arguments, said) in [
        (&[][..], "name the agent"),
        (&["nonsense"], "is no agent's URL"),
        (&["https://127.0.0.1:1"], "needs --ca FILE"),
        (&["https://127.0.0.1:1", "--ca", "/no/such/file"], "cannot read /no/such/file"),
        (&[nobody.as_str()], "cannot be held to anything"),
        (&[nobody.as_str(), "--only", "no_such_check"], "no check is called like that"),
        (&[nobody.as_str(), "--format", "xml"], "possible values: text, json"),
    ] {
        let (code, _, error) = program(arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let (code, text, _) = program(&["--help"]).await;
    assert!(code == Some(0) && text.contains("Exit codes") && text.contains("--server-name"), "{text}");
    let (code, text, _) = program(&["--list"]).await;
    assert!(code == Some(0) && text.lines().count() > 80, "{text}");
}
