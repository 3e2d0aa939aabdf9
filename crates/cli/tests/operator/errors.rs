//! Messages and exit codes of failures.

use crate::stub::{Stub, kiln};

/// Runs `kiln pool list` and compares its exit code and output.
#[track_caller]
fn check(env: &[(&str, &str)], words: &str, code: i32, expected: &str) {
    let ended = kiln(&format!("pool list {words}"), env);
    let url = env.iter().find(|(name, _)| *name == "KILN_RUNNER").map(|(_, url)| *url);
    let shown = url.map_or(ended.stderr.clone(), |url| ended.stderr.replace(url, "URL"));
    assert_eq!((ended.code, shown.trim_end()), (Some(code), expected));
    assert_eq!(ended.stdout, "");
}

#[test]
fn nobody_there() {
    // This port was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let url = format!("http://127.0.0.1:{port}");
    let message =
        "error: no runner answers at URL; start one with `kiln runner --pool FILE`, or name another with --runner";
    check(&[("KILN_RUNNER", &url)], "", 3, message);
}

#[test]
fn refusals_are_shown_as_they_came() {
    for (status, code) in [(409, 2), (503, 3)] {
        let stub =
            Stub::new(&[("GET /kiln/v1/pools", status, r#"{"error_msg":"not now: the database is busy","code":1}"#)]);
        check(&[("KILN_RUNNER", &stub.url)], "", code, "error: not now: the database is busy");
    }
}

#[test]
fn a_token_is_asked_for() {
    let stub = Stub::with_token(&[("GET /kiln/v1/pools", 200, r#"{"pools":[]}"#)], Some("0123456789abcdef"));
    let runner = ("KILN_RUNNER", stub.url.as_str());
    let give = "give URL its token with --token-file FILE or in the variable KILN_RUNNER_TOKEN";
    check(&[runner], "", 2, &format!("error: this runner wants a token; {give}"));
    let wrong = [runner, ("KILN_RUNNER_TOKEN", "wrong")];
    check(&wrong, "", 2, &format!("error: the token is not this runner's; {give}"));
    let right = kiln("pool list", &[runner, ("KILN_RUNNER_TOKEN", "0123456789abcdef")]);
    assert_eq!((right.code, right.stdout.as_str()), (Some(0), "no pools\n"));

    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").expect("written");
    let words = format!("pool list --token-file {}", file.display());
    // The file takes precedence, because it was named in this call.
    assert_eq!(kiln(&words, &wrong).code, Some(0));
    let missing = "could not read /nowhere/token: No such file or directory (os error 2)";
    check(&[runner], "--token-file /nowhere/token", 2, &format!("error: {missing}"));
}

#[test]
fn strangers() {
    let stub = Stub::new(&[]);
    let older = "what answers at URL (with status 404) is no Kiln runner, or an older one; name another with --runner";
    check(&[("KILN_RUNNER", &stub.url)], "", 3, &format!("error: {older}"));
    let stub = Stub::new(&[("GET /kiln/v1/pools", 200, "{\"pools\":")]);
    let ended = stub.kiln("pool list");
    assert_eq!(ended.code, Some(3));
    let expected =
        format!("error: what answers at {} is no Kiln runner: its answer cannot be read\n  because: EOF", stub.url);
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
}

#[test]
fn wrong_words() {
    let url = "`localhost:3000` is not the URL of a runner; write it like http://127.0.0.1:3000";
    check(&[], "--runner localhost:3000", 2, &format!("error: {url}"));
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "nothing").expect("written");
    let message = format!("error: {} holds no certificate in PEM", file.display());
    check(&[], &format!("--runner-ca {}", file.display()), 2, &message);
    let ended = kiln("instance list --state nonsense", &[]);
    assert!(ended.code == Some(2) && ended.stderr.contains("hibernated"), "{}", ended.stderr);
}

#[test]
fn pool_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let good = file(
        "good.yml",
        "version: '1'\ninstances:\n  - name: local\n    type: qemu\n    pool: 2\n    limit: 8\n    platform: {os: linux, arch: amd64}\n    spec: {image: debian}\n",
    );
    let bad = file("bad.yml", "version: '1'\ninstances:\n  - name: local\n    type: nonsense\n");
    let run = |words: String| {
        let ended = kiln(&words, &[]);
        let shown = format!("{}{}", ended.stdout, ended.stderr).replace(&format!("{}/", dir.path().display()), "");
        (ended.code, shown)
    };
    let (code, shown) = run(format!("pool check {good}"));
    assert_eq!(code, Some(0), "{shown}");
    insta::assert_snapshot!(shown, @r"
    good.yml: ok
    FLAVOR  DRIVER  PLATFORM     WARM  LIMIT  IMAGE
    local   qemu    linux/amd64     2      8  debian
    ");
    let (code, shown) = run(format!("pool check {bad} {good}"));
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("bad.yml: not ok\ngood.yml: ok\n"), "{shown}");
    let (code, shown) = run(format!("pool check {bad} --format json"));
    assert_eq!(code, Some(1), "{shown}");
    let report: serde_json::Value = serde_json::from_str(&shown).expect("one line of JSON");
    assert_eq!(report["diagnostics"][0]["line"], 4, "{shown}");
    assert_eq!(run("pool check /nowhere.yml".to_owned()).0, Some(2));
}
