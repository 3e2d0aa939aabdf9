//! How the agent reaches the services of a stage: over TLS, with a certificate of its own, through proxies.

mod rig;
#[path = "rig/services.rs"]
mod services;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use kiln_agent_conformance::platform::{ACCOUNT, Platform, TOKEN};
use kiln_tls::{Authority, Identity};
use rig::Rig;
use serde_json::{Value, json};
use services::{hasty, logged};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The name in the certificate of the log service. No machine knows it.
const NAME: &str = "logs.kiln.invalid";

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Takes TLS off, of clients with a certificate of the authority, or of any.
async fn tls_before(platform: &Platform, authority: &Authority, wants_identity: bool) -> SocketAddr {
    let Identity { cert_pem, key_pem, .. } = authority.issue_server(NAME).expect("a certificate");
    let ca = authority.ca_pem().as_bytes();
    let config = if wants_identity {
        kiln_tls::server_config(ca, cert_pem.as_bytes(), key_pem.as_bytes())
    } else {
        kiln_tls::open_server_config(cert_pem.as_bytes(), key_pem.as_bytes())
    };
    let mut config = config.expect("a configuration");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, to) = (TcpListener::bind("127.0.0.1:0").await.expect("a listener"), platform.address);
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let (Ok(mut from), Ok(mut to)) = (acceptor.accept(from).await, TcpStream::connect(to).await) {
                    drop(copy_bidirectional(&mut from, &mut to).await);
                }
            });
        }
    });
    address
}

/// A proxy that leads every connection to one place, and what it was asked, each first line with the credentials.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn proxy_to(to: SocketAddr) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let told = asked.clone();
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut from = BufReader::new(from);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if from.read_line(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let first = head.lines().next().unwrap_or_default().to_owned();
                let auth = head.lines().find_map(|l| {
                    l.to_ascii_lowercase().strip_prefix("proxy-authorization: ").map(|_| l[21..].to_owned())
                });
                told.lock().expect("a list").push(format!("{first} {}", auth.unwrap_or_default()));
                let mut to = TcpStream::connect(to).await.expect("the service");
                if first.starts_with("CONNECT ") {
                    from.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an answer");
                } else {
                    // One that passes requests on gives the service the path alone.
                    let at = first.find("http://").expect("an address");
                    let path = first[at + 7..].find('/').expect("a path") + at + 7;
                    let head = head.replacen(&first[at..path], "", 1);
                    to.write_all(head.as_bytes()).await.expect("a request");
                }
                let buffered = from.buffer().to_vec();
                to.write_all(&buffered).await.expect("a request");
                let mut from = from.into_inner();
                drop(copy_bidirectional(&mut from, &mut to).await);
            });
        }
    });
    Proxy { address, asked }
}

/// An agent whose stage has this environment, trusts this authority and has this address for its logs.
async fn agent(authority: &Authority, envs: Value, url: &str, mtls: Value) -> Rig {
    let ca = authority.ca_pem().to_owned();
    let rig = Rig::with(|settings| {
        hasty(settings);
        let path = settings.state_dir.with_file_name("authorities.pem");
        std::fs::write(&path, ca).expect("a file");
        settings.base_env.insert("SSL_CERT_FILE".into(), path.to_string_lossy().into_owned());
    })
    .await;
    let log_config = json!({"url": url, "account_id": ACCOUNT, "token": TOKEN, "indirect_upload": true});
    rig.client.ok("/setup", &json!({"envs": envs, "log_config": log_config, "mtls_config": mtls})).await;
    rig
}

#[tokio::test]
async fn a_service_is_reached_over_tls_through_a_proxy_and_shown_the_stages_certificate() {
    let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
    let authority = Authority::create().expect("a CA");
    let proxy = proxy_to(tls_before(&platform, &authority, true).await).await;
    let client = authority.issue_client("stage").expect("a certificate");
    let mtls = json!({"client_cert": base64(&client.cert_pem), "client_cert_key": base64(&client.key_pem)});
    let envs = json!({"HTTPS_PROXY": format!("http://ann:p%40ss@{}", proxy.address)});
    let rig = agent(&authority, envs, &format!("https://{NAME}/log-service"), mtls).await;
    assert_eq!(rig.client.run(&logged("s1", "k1", "echo x")).await.exit_code, 0);
    assert!(platform.log("k1").blob_text().ends_with("x\n"));
    let asked = proxy.asked.lock().expect("a list").clone();
    // `ann:p@ss`
    assert!(asked.iter().all(|line| line == &format!("CONNECT {NAME}:443 HTTP/1.1 Basic YW5uOnBAc3M=")), "{asked:?}");
    assert_eq!(asked.len(), 1, "one connection for all");
    assert_eq!(platform.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_service_without_tls_is_reached_through_a_proxy_as_well() {
    let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
    let proxy = proxy_to(platform.address).await;
    let authority = Authority::create().expect("a CA");
    let envs = json!({"http_proxy": format!("http://{}", proxy.address)});
    let rig = agent(&authority, envs, &format!("http://{NAME}/log-service"), json!({})).await;
    assert_eq!(rig.client.run(&logged("s1", "k1", "echo x")).await.exit_code, 0);
    let asked = proxy.asked.lock().expect("a list").clone();
    assert!(asked[0].starts_with(&format!("POST http://{NAME}/log-service/stream?accountID=")), "{asked:?}");
    assert_eq!(platform.log("k1").opened, 1);
}

#[tokio::test]
async fn security_defect_a_service_that_nobody_vouches_for_is_told_nothing() {
    let platform = Platform::start(Ipv4Addr::LOCALHOST.into()).await.expect("services");
    let (authority, other) = (Authority::create().expect("a CA"), Authority::create().expect("a CA"));
    let proxy = proxy_to(tls_before(&platform, &other, false).await).await;
    let envs = json!({"HTTPS_PROXY": format!("http://{}", proxy.address)});
    let rig = agent(&authority, envs, &format!("https://{NAME}/log-service"), json!({})).await;
    let end = rig.client.run(&logged("s1", "k1", "echo x")).await;
    assert_eq!((end.exit_code, end.error.as_str()), (0, ""));
    assert!(!proxy.asked.lock().expect("a list").is_empty());
    assert!(platform.see(|record| record.logs.is_empty() && record.faults.is_empty()));
}

#[tokio::test]
async fn a_socket_of_steps_answers_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("wi/wi.sock");
    let at = socket.clone();
    let rig = Rig::with(move |settings| settings.mint_socket = at).await;
    rig.client.ok("/setup", &json!({})).await;
    let mut request = serde_json::to_value(logged("s1", "", "sleep 1000")).expect("JSON");
    request["workload_identities"] = json!([{"name": "a", "workload_token": "t"}]);
    rig.client.ok("/start_step", &request).await;
    for path in ["/kiln/v1/steps", "/healthz", "/destroy"] {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.expect("a socket");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    rig.client.ok("/destroy", &json!({})).await;
}
