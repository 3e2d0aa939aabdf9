//! A runner with recorded answers only.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// Placeholder for a time in a recording: three days and four and a half hours before the test, which is shown as
/// `3d04h` however long the test takes.
const LONG_AGO: &str = "$LONG_AGO";
const LONG_AGO_MS: i64 = (3 * 24 + 4) * 3_600_000 + 1_800_000;
/// Placeholder for a time seven hours, 29 minutes and a half after the test.
const LATER: &str = "$LATER";
const LATER_MS: i64 = 7 * 3_600_000 + 1_770_000;

/// A request and its answer: `GET /path?query`, status, body.
pub type Recorded = (&'static str, u16, &'static str);

struct Recording {
    answers: BTreeMap<&'static str, (u16, String)>,
    token: Option<&'static str>,
    asked: Mutex<Vec<String>>,
}

/// The runner.
pub struct Stub {
    pub url: String,
    recording: Arc<Recording>,
    _runtime: tokio::runtime::Runtime,
}

/// The program's result.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Stub {
    pub fn new(recorded: &[Recorded]) -> Self {
        Self::with_token(recorded, None)
    }

    /// Starts a runner that requires a token.
    pub fn with_token(recorded: &[Recorded], token: Option<&'static str>) -> Self {
        let now = jiff::Timestamp::now().as_millisecond();
        let (long_ago, later) = ((now - LONG_AGO_MS).to_string(), (now + LATER_MS).to_string());
        let fill = |body: &str| body.replace(LONG_AGO, &long_ago).replace(LATER, &later);
        let answers = recorded.iter().map(|(question, status, body)| (*question, (*status, fill(body)))).collect();
        let recording = Arc::new(Recording { answers, token, asked: Mutex::default() });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&recording));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, recording, _runtime: runtime }
    }

    /// Runs `kiln` with these words against this runner.
    pub fn kiln(&self, words: &str) -> Ended {
        kiln(words, &[("KILN_RUNNER", &self.url)])
    }

    /// Runs commands one after another and returns their output as a terminal would show it.
    pub fn transcript(&self, commands: &[&str]) -> String {
        let mut transcript = String::new();
        for words in commands {
            let Ended { code, stdout, stderr } = self.kiln(words);
            let code = code.filter(|code| *code != 0).map(|code| format!("[exit code {code}]\n")).unwrap_or_default();
            transcript.push_str(&format!("$ kiln {words}\n{stdout}{stderr}{code}"));
        }
        transcript.replace(&self.url, "URL")
    }

    /// Returns the requests since the last call, with the bodies.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.recording.asked.lock().expect("not poisoned"))
    }
}

/// Runs `kiln` in an environment of its own.
pub fn kiln(words: &str, env: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(words.split_whitespace()).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().expect("kiln runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

async fn answer(State(recording): State<Arc<Recording>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let question = format!("{} {target}", head.method);
    let body = to_bytes(body, 1 << 20).await.expect("a short body");
    recording.asked.lock().expect("not poisoned").push(noted(&question, &head.headers, &body));
    if let Some(token) = recording.token {
        let shown = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if shown != Some(&format!("Bearer {token}")) {
            let error = if shown.is_none() { "this runner wants a token" } else { "the token is not this runner's" };
            let body = format!("{{\n\t\"error_msg\": \"{error}\",\n\t\"code\": 401\n}}\n");
            return (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
    }
    let Some((status, body)) = recording.answers.get(question.as_str()) else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    let kind = if body.starts_with('{') { "application/json" } else { "text/event-stream" };
    let status = StatusCode::from_u16(*status).expect("a status");
    (status, [(header::CONTENT_TYPE, kind)], body.clone()).into_response()
}

fn noted(question: &str, headers: &HeaderMap, body: &Bytes) -> String {
    let after = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = after.map(|seq| format!(" after {seq}")).unwrap_or_default();
    let body = String::from_utf8_lossy(body);
    format!("{question}{after} {body}").trim_end().to_owned()
}
