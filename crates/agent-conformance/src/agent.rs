//! The agent under test, and the steps through which the checks look into its machine.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::call::{Answer, call};
use crate::checks::container::IMAGE;
use crate::checks::result;
use crate::expect::{Expected, Finding, breach};
use crate::platform::Platform;
use crate::target::{Clients, StartError, Target};

/// An agent that answered, and runs steps.
pub(crate) struct Agent {
    pub(crate) target: Target,
    clients: Clients,
    version: String,
    /// Sets the steps of this run apart from those of others: an agent starts no id twice.
    run: String,
    steps: AtomicU32,
    /// A directory of the agent's machine for the checks.
    dir: String,
}

/// The longest that a step waits for its gate, in steps of 50 ms: on an agent that fails a check nothing goes on for
/// ever.
const GATE_LOOKS: u32 = 1200;

impl Agent {
    /// Greets the agent, prepares it as a runner does, and makes a directory in its machine.
    pub(crate) async fn meet(target: &Target) -> Result<Self, StartError> {
        let clients = target.clients().await?;
        let run = format!("cf{:08x}", std::process::id() ^ nanoseconds());
        let mut agent = Self {
            target: target.clone(),
            clients,
            version: String::new(),
            run,
            steps: AtomicU32::new(0),
            dir: String::new(),
        };
        let greeted = agent.greet().await;
        let (version, dir) = greeted.map_err(|what| StartError::Agent { url: target.url().clone(), what })?;
        (agent.version, agent.dir) = (version, dir);
        Ok(agent)
    }

    async fn greet(&self) -> Expected<(String, String)> {
        // Those who only want the shape of the first answer are answered by a check.
        let health = self.get("/healthz").await?.ok()?;
        self.set_up().await?;
        let dir = self.sh("umask 0; mktemp -d").await?.trim().to_owned();
        if !dir.starts_with('/') {
            return breach(format!("a step that makes a directory prints {dir:?}"));
        }
        Ok((health["version"].as_str().unwrap_or_default().to_owned(), dir))
    }

    /// Ends the stage, and removes what the checks made.
    pub(crate) async fn part(&self) {
        // Whatever it answers, there is nobody left to tell.
        let image = format!("docker image rm {IMAGE} >/dev/null 2>&1 || :");
        let _ = self.sh(&format!("rm -rf {}; command -v docker >/dev/null && {image}", self.dir)).await;
        let _ = self.post("/destroy", &json!({})).await;
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.clients.address
    }

    /// Services that the agent can reach, if it reaches this machine.
    pub(crate) async fn platform(&self) -> Expected<Platform> {
        let no_place = |error| Finding::NotApplicable(format!("no services can be started here: {error}"));
        // Where packets to the agent leave from is where its own can come to.
        let any = if self.address().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let route = std::net::UdpSocket::bind(any).and_then(|socket| {
            socket.connect(self.address())?;
            socket.local_addr()
        });
        Platform::start(route.map_err(no_place)?.ip()).await.map_err(no_place)
    }

    /// Prepares the machine for a stage of which nothing is asked.
    pub(crate) async fn set_up(&self) -> Expected {
        let request = json!({"network": {"id": ""}, "mount_docker_socket": false});
        self.post("/setup", &request).await?.has_status(200).map(drop)
    }

    /// A path in the machine that no other check uses.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{}-{name}", self.dir, self.steps.fetch_add(1, Ordering::Relaxed))
    }

    /// An id that no step had before.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.run, self.steps.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn get(&self, path: &str) -> Expected<Answer> {
        self.request("GET", path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Expected<Answer> {
        self.request("POST", path, &[], Some(body.to_string().into())).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: &str) -> Expected<Answer> {
        self.request("POST", path, &[], Some(body.to_owned().into())).await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<reqwest::Body>,
    ) -> Expected<Answer> {
        call(&self.clients.newest, method, &self.url(path), headers, body).await
    }

    /// As [`Self::request`], over HTTP/1.1.
    pub(crate) async fn request_over_http_1(
        &self,
        method: &str,
        path: &str,
        body: Option<reqwest::Body>,
    ) -> Expected<Answer> {
        call(&self.clients.oldest, method, &self.url(path), &[], body).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.clients.base)
    }

    /// Starts a step.
    pub(crate) async fn start(&self, step: &Value) -> Expected {
        self.post("/start_step", step).await?.is_empty()
    }

    /// Waits for a step's result, and holds it to its form.
    pub(crate) async fn poll(&self, id: &str) -> Expected<Value> {
        let answer = self.post("/poll_step", &json!({ "id": id })).await?.ok()?;
        result::has_its_form(&answer)?;
        Ok(answer)
    }

    /// Starts a step and waits for its result.
    pub(crate) async fn run(&self, step: &Value) -> Expected<Value> {
        self.start(step).await?;
        self.poll(step["id"].as_str().unwrap_or_default()).await
    }

    /// The whole output of a step that was started with `log_drone`.
    pub(crate) async fn output(&self, id: &str) -> Expected<String> {
        let answer = self.post("/stream_output", &json!({"id": id, "offset": 0})).await?;
        Ok(answer.has_status(200)?.text())
    }

    /// The first bytes of a step's output, as they come; then hangs up.
    pub(crate) async fn first_output(&self, id: &str) -> Expected<String> {
        let request = self.clients.newest.post(self.url("/stream_output")).body(json!({"id": id}).to_string());
        let lost = |e: reqwest::Error| Finding::Breach(format!("POST /stream_output is not answered: {e}"));
        let mut body = request.send().await.map_err(lost)?.bytes_stream();
        let first = body.next().await.transpose().map_err(lost)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&first).into_owned())
    }

    /// Runs a script that must succeed, and returns what it prints. The form of the answers is for the checks of it, so
    /// that one mistake in it does not fail all others.
    pub(crate) async fn sh(&self, script: &str) -> Expected<String> {
        let step = self.script(script);
        let id = step["id"].as_str().unwrap_or_default();
        self.post("/start_step", &step).await?.has_status(200)?;
        let result = self.post("/poll_step", &json!({ "id": id })).await?.ok()?;
        let output = self.output(id).await?;
        if result.get("exit_code").is_some_and(|code| code != 0) {
            return breach(format!("`{script}` should succeed, and ends with {result}; its output is {output:?}"));
        }
        Ok(output)
    }

    /// A step that runs a script, whose output can be streamed.
    pub(crate) fn script(&self, script: &str) -> Value {
        json!({
            "id": self.id(),
            "log_drone": true,
            // An agent that needs a variable, or makes its own of none, is another check's affair.
            "environment": {"CONFORMANCE": "1"},
            "run": {"entrypoint": ["sh", "-c"], "commands": [script]},
        })
    }

    /// Such a step with a result in full: one with a log of its own.
    pub(crate) fn logged(&self, script: &str) -> Value {
        with(self.script(script), json!({"log_drone": false, "log_key": format!("{}.log", self.run)}))
    }
}

/// The object with these fields instead of, or beside, its own.
pub(crate) fn with(mut object: Value, fields: Value) -> Value {
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
}

/// A script that goes on until the file is there.
pub(crate) fn wait_for(gate: &str) -> String {
    format!("n=0; while [ ! -e {gate} ] && [ $n -lt {GATE_LOOKS} ]; do sleep 0.05; n=$((n+1)); done")
}

fn nanoseconds() -> u32 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos() ^ now.as_secs() as u32)
}
