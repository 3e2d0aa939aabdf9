//! How images get onto the machine, by an engine that says what a test wants.

mod rig;

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_wire::agent::{Auth, Cause, PollStepResponse, PullPolicy, StartStepRequest};
use serde_json::{Value, json};

use rig::{Rig, step};

/// What came to an engine's route for pulls.
#[derive(Debug, Clone)]
struct Asked {
    query: String,
    auth: Option<Value>,
}

/// An engine that has no image and answers each pull with the next of some answers.
#[derive(Debug, Clone, Default)]
struct Fake {
    answers: Arc<Mutex<Vec<(u16, &'static str)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    has_image: bool,
}

async fn pull(State(fake): State<Fake>, uri: Uri, headers: HeaderMap) -> (StatusCode, &'static str) {
    let auth = headers.get("x-registry-auth").map(|auth| STANDARD.decode(auth).expect("base64"));
    let auth = auth.map(|auth| serde_json::from_slice(&auth).expect("JSON"));
    fake.asked.lock().expect("a lock").push(Asked { query: uri.query().unwrap_or_default().to_owned(), auth });
    let mut answers = fake.answers.lock().expect("a lock");
    let (status, body) = if answers.is_empty() { (500, "{}") } else { answers.remove(0) };
    (StatusCode::from_u16(status).expect("a status"), body)
}

impl Fake {
    async fn serve(&self, socket: &Path) {
        let has_image = self.has_image;
        let created = move || async move {
            let status = if has_image { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
            (status, r#"{"message":"no such thing"}"#)
        };
        let image =
            move || async move { if has_image { (StatusCode::OK, "{}") } else { (StatusCode::NOT_FOUND, "{}") } };
        let app = Router::new()
            .route("/_ping", get(|| async { "OK" }))
            .route("/images/create", post(pull))
            .route("/images/{*rest}", get(image))
            .route("/containers/create", post(created))
            .fallback(|| async { (StatusCode::NOT_FOUND, r#"{"message":"page not found"}"#) })
            .with_state(self.clone());
        let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
        tokio::spawn(async move { axum::serve(listener, app).await });
    }

    /// Runs a step on it, and returns its end and what it printed.
    async fn run(&self, request: &StartStepRequest) -> (PollStepResponse, String, Vec<Asked>) {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("docker.sock");
        self.serve(&socket).await;
        let rig = Rig::with(|settings| settings.engine_host = format!("unix://{}", socket.display())).await;
        let end = rig.client.run(request).await;
        assert_eq!((end.exit_code, end.cause), (255, Cause::Failed), "{end:?}");
        let asked = self.asked.lock().expect("a lock").clone();
        (end, rig.client.output(&request.id, 0).await, asked)
    }
}

fn request(image: &str, pull: PullPolicy) -> StartStepRequest {
    StartStepRequest { image: image.into(), pull, ..step("s1", "true") }
}

fn fake(answers: &[(u16, &'static str)]) -> Fake {
    Fake { answers: Arc::new(Mutex::new(answers.to_vec())), ..Fake::default() }
}

#[tokio::test]
async fn only_what_may_go_better_is_tried_again() {
    for (answers, tries, said) in [
        (&[(404, r#"{"message":"manifest unknown"}"#)][..], 1, "manifest unknown; check its name and tag"),
        (&[(401, r#"{"message":"unauthorized"}"#)][..], 1, "unauthorized; check its name and tag, and the credentials"),
        (&[(400, r#"{"message":"invalid reference"}"#)][..], 1, "invalid reference"),
        (
            &[
                (500, r#"{"message":"connection refused"}"#),
                (
                    200,
                    r#"{"status":"Pulling from x"}
{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}"#,
                ),
                (500, r#"{"message":"still down"}"#),
            ][..],
            3,
            "still down",
        ),
    ] {
        let (end, printed, asked) = fake(answers).run(&request("r.example/a:1", PullPolicy::Default)).await;
        assert_eq!(asked.len(), tries, "{printed}");
        assert!(
            end.error.starts_with("cannot pull the image r.example/a:1: ") && end.error.contains(said),
            "{}",
            end.error
        );
        assert_eq!(printed.matches("is tried again").count(), tries - 1, "{printed}");
    }
}

#[tokio::test]
async fn the_policy_decides_what_is_pulled() {
    let pulled = [(200, r#"{"status":"Pulling from library/a","id":"1"}"#)];
    for (image, policy, queries) in [
        ("a", PullPolicy::Default, 2),
        ("a:1", PullPolicy::Default, 1),
        ("a:1", PullPolicy::Always, 2),
        ("a", PullPolicy::IfNotPresent, 1),
        ("a", PullPolicy::Never, 0),
    ] {
        // The image stays missing, so that it is pulled once more after it was missed.
        let (end, printed, asked) = fake(&[pulled, pulled].concat()).run(&request(image, policy)).await;
        assert_eq!(asked.len(), queries, "{image} {policy:?}: {printed}");
        assert!(asked.iter().all(|asked| asked.query.contains("fromImage=a%3A")), "{asked:?}");
        let expected =
            if policy == PullPolicy::Never { "pull policy is Never" } else { "refuses to create the container" };
        assert!(end.error.contains(expected), "{}", end.error);
    }
}

#[tokio::test]
async fn an_image_of_the_machine_stands_in_when_its_registry_does_not_answer() {
    let down = [(500, r#"{"message":"no route"}"#); 3];
    for (policy, used) in [(PullPolicy::Default, true), (PullPolicy::Always, false)] {
        let fake = Fake { has_image: true, ..fake(&down) };
        let (end, printed, _) = fake.run(&request("a", policy)).await;
        assert_eq!(printed.contains("the one on this machine is used"), used, "{printed}");
        assert_eq!(end.error.contains("refuses to create the container"), used, "{}", end.error);
    }
}

#[tokio::test]
async fn credentials_are_sent_to_their_registry_and_to_no_other() {
    let auth = |address: &str| Auth { address: address.into(), username: "ann".into(), password: "pass-word".into() };
    for (image, address, sent) in [
        ("r.example/a:1", "https://r.example/v2/", true),
        ("a:1", "https://index.docker.io/v1/", true),
        ("a:1", "", true),
        ("evil.example/a:1", "r.example", false),
    ] {
        let mut request = request(image, PullPolicy::Default);
        request.auth = Some(auth(address));
        let (_, printed, asked) = fake(&[(404, "{}")]).run(&request).await;
        let got = asked[0].auth.as_ref().map(|auth| (auth["username"].clone(), auth["password"].clone()));
        assert_eq!(got, sent.then(|| (json!("ann"), json!("pass-word"))), "{image} {address}");
        assert_eq!(printed.contains("are not sent"), !sent, "{printed}");
    }
}

#[tokio::test]
async fn progress_is_told_without_bars_and_has_a_limit() {
    let mut news = String::from("{\"status\":\"Pulling from a\",\"id\":\"1\"}\n");
    for n in 0..5000 {
        news += &format!(
            "{{\"status\":\"Downloading\",\"progressDetail\":{{\"current\":{n},\"total\":5000}},\"id\":\"aa\"}}\n"
        );
        news += &format!("{{\"status\":\"Pull complete\",\"progressDetail\":{{}},\"id\":\"l{n}\"}}\n");
    }
    let answers = [(200, &*news.leak())];
    let (_, printed, _) = fake(&answers).run(&request("a:1", PullPolicy::Default)).await;
    assert!(printed.starts_with("1: Pulling from a\nl0: Pull complete\n"), "{}", &printed[..100]);
    assert!(!printed.contains("Downloading") && printed.contains("... and so on\n"));
    assert!(printed.lines().count() < 210, "{}", printed.lines().count());
}
