//! The form of the protocol: paths, methods, errors, versions of HTTP.

mod rig;

use std::time::Duration;

use kiln_wire::agent::StepKind;
use rig::{Client, NAME, Rig, pem, step};
use serde_json::{Value, json};

#[tokio::test]
async fn paths_methods_and_headers() {
    let rig = Rig::start().await;
    let at = |path: &str| format!("{}{path}", rig.client.base);
    for path in ["/healthz", "/healthz/"] {
        let answer = rig.client.get(path).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "no-cache, private, max-age=0");
        let text = answer.text().await.expect("a body");
        assert_eq!(text, format!("{{\n  \"version\": \"{}\",\n  \"ok\": true\n}}\n", kiln_agent::VERSION));
    }
    assert_eq!(rig.client.ok("/suspend/", &json!({"labels": {"a": "b"}})).await, json!({}));
    assert_eq!(rig.client.get("/setup").await.status(), 405);
    assert_eq!(rig.client.send("/healthz", &json!({})).await.status(), 405);
    assert_eq!(rig.client.get("/nowhere").await.status(), 404);
    let put = rig.client.http.put(at("/start_step")).body("{}").send().await.expect("an answer");
    assert_eq!(put.status(), 405);
}

#[tokio::test]
async fn refusals_have_the_body_that_clients_read() {
    let rig = Rig::start().await;
    for (path, body, message) in [
        ("/start_step", "{}", "ID needs to be set"),
        ("/start_step", "", "EOF"),
        ("/poll_step", "{\"id\":\"never\"}", "Step has not started"),
        ("/setup", "{", "the request is not valid: EOF while parsing an object at line 1 column 1"),
    ] {
        let answer = rig.client.text(path, body).await;
        assert_eq!(answer.status(), 400, "{path} {body}");
        assert_eq!(answer.json::<Value>().await.expect("JSON"), json!({ "error_msg": message }));
    }
}

#[tokio::test]
async fn start_step_is_done_once_per_id() {
    let rig = Rig::start().await;
    let file = rig.path("count");
    for script in [format!("echo x >> {file}"), format!("echo y >> {file}")] {
        rig.client.run(&step("s1", &script)).await;
    }
    let many = (0..20).map(|_| rig.client.clone()).collect::<Vec<_>>();
    let request = step("s2", &format!("echo z >> {file}"));
    futures::future::join_all(many.iter().map(|client| client.ok("/start_step", &request))).await;
    rig.client.poll("s2").await;
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "x\nz\n");
}

#[tokio::test]
async fn a_detached_step_is_answered_at_once() {
    let rig = Rig::start().await;
    let mut request = step("s1", "sleep 1000");
    request.detach = true;
    rig.client.ok("/start_step", &request).await;
    assert_eq!(rig.client.ok("/poll_step", &json!({"id": "s1"})).await, json!({}));
    rig.client.ok("/destroy", &json!({})).await;
}

#[tokio::test]
async fn what_is_not_supported_fails_the_step_and_says_so() {
    let rig = Rig::start().await;
    let mut tests = step("t", "true");
    tests.kind = StepKind::RunTest;
    assert_eq!(rig.client.run(&tests).await.error, "RunTest steps are not supported by this agent yet");
}

#[tokio::test]
async fn a_step_that_cannot_start_says_why() {
    let rig = Rig::start().await;
    let mut request = step("dir", "true");
    request.working_dir = "/no/such/dir".into();
    let end = rig.client.run(&request).await;
    assert_eq!(end.exit_code, 255);
    assert!(end.error.starts_with("cannot start in the working directory /no/such/dir: No such file"), "{}", end.error);
    let mut request = step("program", "");
    request.run.entrypoint = vec!["no-such-program".into()];
    let end = rig.client.run(&request).await;
    assert_eq!(end.error, "exec: \"no-such-program\": executable file not found in $PATH");
    let mut request = step("user", "true");
    request.user = "no-such-user".into();
    assert!(rig.client.run(&request).await.error.contains("is not in /etc/passwd"));
}

#[tokio::test]
async fn environment_directory_files_and_banner_are_those_of_the_original() {
    let rig = Rig::with(|settings| drop(settings.base_env.insert("FROM_AGENT".into(), "0".into()))).await;
    rig.client.ok("/setup", &json!({"envs": {"A": "stage", "B": "stage", "EMPTY": ""}, "secrets": ["s3cret"]})).await;
    let file = rig.path("sub/script.sh");
    let request = json!({
        "id": "s1", "working_dir": rig.dir.path(), "environment": {"B": "step"},
        "files": [{"path": file, "data": "echo $FROM_AGENT $A $B ${EMPTY-unset} $PWD", "mode": 0o700}],
        "run": {"entrypoint": ["sh", "-c"], "commands": [". ./sub/script.sh # s3cret"]},
    });
    rig.client.ok("/start_step", &request).await;
    assert_eq!(rig.client.poll("s1").await.exit_code, 0);
    let expected = format!(
        "\u{1b}[33;1mExecuting the following command(s):\u{1b}[0m\n\u{1b}[33;1m. ./sub/script.sh # **************\u{1b}[0m\n0 stage step unset {}\n",
        rig.dir.path().display()
    );
    assert_eq!(rig.client.output("s1", 0).await, expected);
}

#[tokio::test]
async fn stream_output_may_be_opened_before_the_step() {
    let rig = Rig::start().await;
    let request = json!({"id": "s1", "offset": 2});
    let early = rig.client.send("/stream_output", &request);
    let start = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.client.ok("/start_step", &step("s1", "sleep 0.1; printf 12; sleep 0.1; printf 345")).await;
    };
    // The first byte that is wanted is not there yet; the original fails then, and so the client comes again.
    let (answer, ()) = tokio::join!(early, start);
    assert_eq!(answer.status(), 500);
    let answer = rig.client.send("/stream_output", &json!({"id": "s1", "offset": 0})).await;
    assert_eq!(answer.text().await.expect("a body"), "12345");
}

#[tokio::test]
async fn both_versions_of_http_are_served() {
    let rig = Rig::start().await;
    let answer = rig.client.get("/healthz").await;
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    let identity = pem(&rig.authority, &rig.authority.issue_client("runner").expect("a certificate"));
    let old = Client::with_protocols(rig.address, NAME, &identity, &["http/1.1"]);
    assert_eq!(old.get("/healthz").await.version(), reqwest::Version::HTTP_11);
    assert_eq!(old.run(&step("s1", "exit 9")).await.exit_code, 9);
}
