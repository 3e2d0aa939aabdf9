//! Whom the agent answers: the certificates of callers, those of our runner's shape and of the original's.

mod rig;

use std::sync::Arc;

use kiln_tls::Authority;
use rig::certificates::{ENDED, NOW, Original, TO_COME};
use rig::{Client, NAME, Pem, Rig, pem, serve, step};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

/// Whether a caller with these certificates is answered by the agent at the address.
async fn is_answered(address: std::net::SocketAddr, name: &str, caller: &Pem) -> bool {
    let client = Client::new(address, name, caller);
    client.http.get(format!("{}/healthz", client.base)).send().await.is_ok()
}

#[tokio::test]
async fn the_originals_certificates_are_accepted_and_run_steps() {
    let both = Original::create().issue("drone", NOW);
    let (_dir, address, _agent) = serve(&both, |_| {}).await;
    let client = Client::new(address, "drone", &both);
    assert_eq!(client.get("/healthz").await.status(), 200);
    assert_eq!(client.run(&step("s1", "exit 3")).await.exit_code, 3);
}

/// Callers with certificates of the original's shape, before an agent of that shape.
#[tokio::test]
async fn of_the_originals_callers_only_those_of_the_authority_that_are_valid_now_are_answered() {
    let (authority, other) = (Original::create(), Original::create());
    let server = authority.issue("drone", NOW);
    let (_dir, address, _agent) = serve(&server, |_| {}).await;
    // Whoever calls trusts this agent; what is in question is whether the agent trusts the caller.
    let caller = |of: &Original, days| Pem { ca: server.ca.clone(), ..of.issue("runner", days) };
    for (what, caller, answered) in [
        ("of the authority", caller(&authority, NOW), true),
        ("of another authority with the same name", caller(&other, NOW), false),
        ("ended", caller(&authority, ENDED), false),
        ("not valid yet", caller(&authority, TO_COME), false),
    ] {
        assert_eq!(is_answered(address, "drone", &caller).await, answered, "{what}");
    }
}

/// Callers with certificates of our runner's shape, before an agent with one of ours.
#[tokio::test]
async fn of_our_callers_only_clients_of_the_authority_are_answered() {
    let rig = Rig::start().await;
    let other = Authority::create().expect("a CA");
    let client = |of: &Authority| pem(&rig.authority, &of.issue_client("runner").expect("a certificate"));
    let server = pem(&rig.authority, &rig.authority.issue_server("other").expect("a certificate"));
    let original = Pem { ca: rig.authority.ca_pem().to_owned(), ..Original::create().issue("runner", NOW) };
    for (what, caller, answered) in [
        ("a client of the authority", client(&rig.authority), true),
        ("a client of another authority", client(&other), false),
        ("the key of another agent, taken from its machine", server, false),
        ("a client of the original's authority", original, false),
    ] {
        assert_eq!(is_answered(rig.address, NAME, &caller).await, answered, "{what}");
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_not_answered() {
    let rig = Rig::start().await;
    let original = Original::create().issue("drone", NOW);
    let (_dir, address, _agent) = serve(&original, |_| {}).await;
    for (name, address, ca) in [(NAME, rig.address, rig.authority.ca_pem()), ("drone", address, &original.ca)] {
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("a certificate");
        let nameless = reqwest::Client::builder().tls_certs_only([ca]).resolve(name, address).build();
        let url = format!("https://{name}:{}/healthz", address.port());
        assert!(nameless.expect("a client").get(url).send().await.is_err(), "{name}");
    }
}

/// How a connection of this caller was shaken hands on, once a request was answered over it.
async fn handshake(rig: &Rig, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = TcpStream::connect(rig.address).await.expect("a connection");
    let mut stream = connector.connect(NAME.try_into().expect("a name"), stream).await.expect("a handshake");
    let request = b"GET /healthz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream.get_ref().1.handshake_kind()
}

/// The agent keeps few sessions, and those are the last ones.
#[tokio::test]
async fn a_caller_resumes_its_latest_session_however_many_there_were() {
    let rig = Rig::start().await;
    let runner = pem(&rig.authority, &rig.authority.issue_client("runner").expect("a certificate"));
    let config = || {
        let config = kiln_tls::client_config(runner.ca.as_bytes(), runner.cert.as_bytes(), runner.key.as_bytes());
        let mut config = config.expect("a configuration");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    };
    let (early, late) = (config(), config());
    for caller in [&early, &late] {
        assert_eq!(handshake(&rig, caller).await, Some(HandshakeKind::Full));
    }
    for _ in 0..20 {
        assert_eq!(handshake(&rig, &late).await, Some(HandshakeKind::Resumed));
    }
    assert_eq!(handshake(&rig, &early).await, Some(HandshakeKind::Full), "its session gave place to later ones");
}
