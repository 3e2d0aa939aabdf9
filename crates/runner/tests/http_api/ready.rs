//! When an instance is ready: the proof that its agent has to give, and the cases without one.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use kiln_agent_client::Credentials;
use kiln_engine::Agents as _;
use kiln_pool::instance::Batch;
use kiln_pool::{Instance, SiteId};
use kiln_runner::agents::{Leases, PooledAgents, ReadyWhen};
use kiln_tls::Authority;
use serde_json::Value;

use crate::rig::{Runner, World, setup, step, until};

/// A shell that cannot run steps.
const BROKEN: &str = "#!/bin/sh\necho no library; exit 127\n";

/// Replaces the shell of a machine by a program.
fn put_shell(bin: &Path, text: &str) {
    std::fs::create_dir_all(bin).expect("a directory");
    let (sh, new) = (bin.join("sh"), bin.join("new"));
    std::fs::write(&new, text).expect("a file");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    std::fs::rename(new, sh).expect("a file");
}

fn search(settings: &mut kiln_agent::settings::Settings, bin: &Path) {
    settings.base_env.insert("PATH".into(), format!("{}:/usr/bin:/bin", bin.display()));
}

#[tokio::test]
async fn a_machine_that_cannot_run_a_step_serves_no_stage_until_it_can() {
    let world = World::new();
    let bin = world.dir.path().join("bin");
    put_shell(&bin, BROKEN);
    world.offer_with(|settings| search(settings, &bin)).await;
    let runner = Runner::with(&world, |_| {}).await;
    let asked = runner.spawn("/setup", setup("s1"));
    let (id, why) = until("a try that failed", async || {
        let rows = runner.ok("GET", "/kiln/v1/instances", &Value::Null).await;
        let id = rows["instances"][0]["id"].as_str()?.to_owned();
        let shown = runner.ok("GET", &format!("/kiln/v1/instances/{id}"), &Value::Null).await;
        assert_eq!(shown["instance"]["ready_unix_ms"], Value::Null, "{shown}");
        let changes = shown["timeline"].as_array().expect("a list").clone();
        let failed = changes.iter().find_map(|c| c["reason"].as_str().filter(|why| why.contains("not ready")));
        Some((id, failed?.to_owned()))
    })
    .await;
    assert!(why.starts_with("its agent is not ready yet: ") && why.contains("self-test failed"), "{why}");
    assert!(why.contains("exit status 127") && why.contains("no library"), "{why}");
    assert!(!asked.is_finished() && !world.is_in_use(0));
    put_shell(&bin, "#!/bin/sh\nexec /bin/sh \"$@\"\n");
    let (status, answer) = asked.await.expect("an answer");
    assert_eq!((status, answer["instance_id"].as_str()), (200, Some(id.as_str())), "{answer}");
    assert_eq!(world.steps_on(0), Vec::<String>::new());
    let end = runner.ok("POST", "/step", &step("s1", "first", "true")).await;
    assert_eq!(end["exited"], true, "{end}");
    runner.end().await;
    world.clean().await;
}

/// Returns the row of an instance whose agent exists.
fn booting(address: SocketAddr, server_name: Option<&str>) -> Instance {
    let batch = Batch {
        token: "i-1".into(),
        pool: "p".into(),
        flavor: "p".into(),
        site: SiteId::new("fake"),
        place: String::new(),
        image: "debian".into(),
        digest: String::new(),
        size: 1,
        runner: "r".into(),
    };
    let row = batch.intended(1).remove(0);
    Instance {
        address: Some(address.into()),
        server_name: server_name.map(Into::into),
        needs_claim: server_name.is_some(),
        ..row
    }
}

fn agents(authority: &Arc<Authority>, ready_when: ReadyWhen) -> PooledAgents {
    let client = authority.issue_client("runner").expect("a certificate");
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
    PooledAgents::new(Arc::clone(authority), credentials, Leases { lease_s: 0, max_age_s: 0 }, ready_when)
}

/// Starts an agent with only the incumbent's routes. It has its own name from the start.
async fn stock(authority: &Authority, name: &str) -> SocketAddr {
    let own = authority.issue_server(name).expect("a certificate");
    let config =
        kiln_tls::server_config(authority.ca_pem().as_bytes(), own.cert_pem.as_bytes(), own.key_pem.as_bytes());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.expect("a configuration")));
    let healthy = || async { ([("content-type", "application/json")], r#"{"version":"0.5.1","ok":true}"#) };
    let routes = TowerToHyperService::new(axum::Router::new().route("/healthz", get(healthy)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let routes = routes.clone();
            tokio::spawn(async move {
                // It does not matter how the connection ends.
                let _ended = server.serve_connection(TokioIo::new(stream), routes).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn an_agent_that_knows_no_self_test_is_ready_when_it_answers() {
    kiln_tls::install_provider();
    let authority = Arc::new(Authority::create().expect("a CA"));
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let address = stock(&authority, booting(nowhere, None).id.as_str()).await;
    agents(&authority, ReadyWhen::Proven).boot(&booting(address, None)).await.expect("it is ready");
}

#[tokio::test]
async fn where_the_stage_waits_already_its_first_step_is_the_proof() {
    let world = World::new();
    let bin = world.dir.path().join("bin");
    put_shell(&bin, BROKEN);
    world.offer_with(|settings| search(settings, &bin)).await;
    let instance = booting(world.address(0), Some("golden"));
    let why = agents(&world.authority, ReadyWhen::Proven).boot(&instance).await.expect_err("it cannot run steps");
    assert!(why.contains("self-test failed"), "{why}");
    agents(&world.authority, ReadyWhen::Answers).boot(&instance).await.expect("it answers");
}

#[tokio::test]
async fn an_agent_that_serves_a_stage_already_does_not_become_ready() {
    let world = World::new();
    world.offer().await;
    let instance = booting(world.address(0), Some("golden"));
    let agents = agents(&world.authority, ReadyWhen::Proven);
    // It works a second time too: an attempt may have been cut off before its outcome was written.
    for _ in 0..2 {
        agents.boot(&instance).await.expect("it is ready");
    }
    let named = Instance { server_name: Some(instance.id.to_string()), ..instance.clone() };
    agents.agent(&named).expect("an agent").setup(&Default::default()).await.expect("a set-up");
    let why = agents.boot(&instance).await.expect_err("it serves a stage");
    assert!(why.contains("(409)"), "{why}");
}
