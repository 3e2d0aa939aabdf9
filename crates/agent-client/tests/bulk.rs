//! Control never waits for bulk: what a slow reader does to the other calls of the same client.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kiln_agent::server::Server;
use kiln_agent::settings::Settings;
use kiln_agent_client::{Agent, AgentError, BULK_MOST, Credentials, OutputChunk};
use kiln_tls::Authority;
use kiln_wire::agent::kiln::{CancelRequest, FilesRequest};
use kiln_wire::agent::{Cause, RunConfig, SetupRequest, StartStepRequest};
use kiln_wire::reach::Reach;

const NAME: &str = "agent-under-test";
/// Nothing in these tests takes longer on a working agent.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent in this process, and a client of it.
async fn agent() -> (tempfile::TempDir, Agent) {
    kiln_tls::install_provider();
    let authority = Authority::create().expect("a CA");
    let server = authority.issue_server(NAME).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let files = [("ca.pem", authority.ca_pem()), ("cert.pem", &server.cert_pem), ("key.pem", &server.key_pem)];
    for (name, text) in files {
        std::fs::write(at(name), text).expect("a file");
    }
    let settings = Settings {
        bind: "127.0.0.1:0".parse().expect("an address"),
        ca_file: at("ca.pem"),
        cert_file: at("cert.pem"),
        key_file: at("key.pem"),
        engine_dir: at("engine"),
        state_dir: at("state"),
        root_dir: at("root"),
        change_kernel: false,
        ..Settings::default()
    };
    let server = Server::bind(settings).await.expect("an agent");
    let address = server.address().expect("an address");
    tokio::spawn(server.serve(std::future::pending()));
    let client = authority.issue_client("runner").expect("a certificate");
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
    let agent = Agent::new(&Reach::Ip(address), NAME, &credentials).expect("a client");
    agent.wait_healthy(PATIENCE).await.expect("an agent that answers");
    agent.setup(&SetupRequest::default()).await.expect("a stage");
    (dir, agent)
}

fn step(id: &str, script: &str) -> StartStepRequest {
    StartStepRequest {
        id: id.into(),
        log_drone: true,
        run: RunConfig { entrypoint: vec!["sh".into(), "-c".into()], commands: vec![script.into()] },
        ..StartStepRequest::default()
    }
}

/// Every call that carries out or ends something is answered.
async fn control_goes_on(agent: &Agent) {
    let calls = async {
        agent.health().await?;
        agent.setup(&SetupRequest::default()).await?;
        agent.start_step(&step("later", "exit 3")).await?;
        assert_eq!(agent.poll_step("later", PATIENCE).await?.exit_code, 3);
        agent.start_step(&step("endless", "sleep 1000")).await?;
        agent.cancel(&CancelRequest { id: "endless".into(), ..CancelRequest::default() }).await?;
        assert_eq!(agent.poll_step("endless", PATIENCE).await?.cause, Cause::Cancelled);
        agent.steps().await.map(drop)
    };
    tokio::time::timeout(PATIENCE, calls).await.expect("the calls wait for readers").expect("a call fails");
}

/// Reads the first bytes of a step's output, and no more.
async fn begin(output: impl Stream<Item = Result<OutputChunk, AgentError>>) -> impl Sized {
    let mut output = Box::pin(output);
    let first = tokio::time::timeout(PATIENCE, output.next()).await.expect("readers hold up readers");
    first.expect("output").expect("bytes");
    output
}

#[tokio::test]
async fn readers_of_output_that_do_not_read_hold_up_no_call() {
    let (_dir, agent) = agent().await;
    agent.start_step(&step("loud", "yes 0123456789 | head -c 60000000")).await.expect("a step");
    agent.poll_step("loud", PATIENCE).await.expect("its end");
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(begin(agent.output("loud", 0, PATIENCE)).await);
    }
    control_goes_on(&agent).await;
}

#[tokio::test]
async fn downloads_that_nobody_reads_hold_up_no_call() {
    let (dir, agent) = agent().await;
    // Noise does not get smaller on its way, so it fills what lies between.
    agent
        .start_step(&step("fill", &format!("head -c 60000000 /dev/urandom > {}/noise", dir.path().display())))
        .await
        .expect("a step");
    agent.poll_step("fill", PATIENCE).await.expect("its end");
    let request =
        FilesRequest { base: dir.path().display().to_string(), paths: vec!["noise".into()], ..FilesRequest::default() };
    let mut unread = Vec::new();
    for _ in 0..4 {
        let begun = async {
            let mut download = agent.files(&request).await.expect("a download");
            download.next().await.expect("bytes").expect("bytes");
            download
        };
        unread.push(tokio::time::timeout(PATIENCE, begun).await.expect("downloads hold up downloads"));
    }
    control_goes_on(&agent).await;
}

#[tokio::test]
async fn an_upload_of_which_nothing_comes_holds_up_no_call() {
    let (dir, agent) = agent().await;
    let target = dir.path().join("workspace").display().to_string();
    let uploads: Vec<_> = (0..4)
        .map(|_| {
            let (agent, target) = (agent.clone(), target.clone());
            tokio::spawn(async move { agent.put_workspace(&target, futures::stream::pending().boxed()).await })
        })
        .collect();
    control_goes_on(&agent).await;
    for upload in uploads {
        assert!(!upload.is_finished(), "it was given up at once");
        upload.abort();
    }
}

/// More readers than there are places wait for one, and get it.
#[tokio::test]
async fn further_transfers_wait_until_one_of_those_before_ends() {
    let (_dir, agent) = agent().await;
    agent.start_step(&step("said", "echo said")).await.expect("a step");
    agent.poll_step("said", PATIENCE).await.expect("its end");
    let mut held = Vec::new();
    for _ in 0..BULK_MOST {
        held.push(begin(agent.output("said", 0, PATIENCE)).await);
    }
    let mut further = pin!(begin(agent.output("said", 0, PATIENCE)));
    assert!(futures::poll!(&mut further).is_pending());
    control_goes_on(&agent).await;
    assert!(futures::poll!(&mut further).is_pending());
    held.pop();
    tokio::time::timeout(PATIENCE, further).await.expect("its turn");
}
