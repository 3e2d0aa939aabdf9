//! Accepted callers, and addresses on which the API may listen.

use kiln_runner::http::{Server, Settings, Tls, Token};
use reqwest::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use crate::rig::{Runner, World, setup, step};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn an_open_address_needs_a_token_or_certificates() {
    let tls = |client_ca_pem| Some(Tls { client_ca_pem, cert_pem: String::new(), key_pem: String::new() });
    let check = |bind: &str, token: Option<&str>, tls: Option<Tls>, words: Option<&str>| {
        let bind = bind.parse().expect("an address");
        let settings = Settings { bind, token: token.map(Token::new), tls, ..Settings::default() };
        let told = Server::check(&settings).err().map(|error| error.to_string());
        match words {
            Some(words) => assert!(told.as_ref().is_some_and(|told| told.contains(words)), "{bind}: {told:?}"),
            None => assert_eq!(told, None, "{bind}"),
        }
    };
    check("127.0.0.1:3000", None, None, None);
    check("[::1]:3000", None, None, None);
    check("0.0.0.0:3000", None, None, Some("KILN_API_TOKEN"));
    check("[::]:3000", None, None, Some("or bind it to 127.0.0.1"));
    check("192.0.2.1:3000", None, None, Some("192.0.2.1:3000 can be reached from other machines"));
    check("0.0.0.0:3000", Some(SECRET), None, None);
    check("0.0.0.0:3000", None, tls(Some(String::new())), None);
    check("0.0.0.0:3000", None, tls(None), Some("an authority for callers' certificates"));
    check("127.0.0.1:3000", Some("short"), None, Some("openssl rand -hex 32"));
}

#[tokio::test]
async fn with_a_token_every_route_but_health_wants_it() {
    let runner = Runner::with(&World::new(), |settings| settings.token = Some(Token::new(SECRET))).await;
    let status = async |verb: &str, path: &str, shown: Option<&str>| {
        let verb = reqwest::Method::from_bytes(verb.as_bytes()).expect("a verb");
        let mut request = runner.http.request(verb, runner.url(path)).header(HOST, "anything.example");
        if let Some(shown) = shown {
            request = request.header(AUTHORIZATION, shown);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    let right = format!("Bearer {SECRET}");
    for (verb, path) in kiln_runner::http::route_list() {
        let path = path.replace("{id}", "x").replace("{name}", "x");
        let expected = if path == "/healthz" { 200 } else { 401 };
        for shown in [None, Some("Bearer wrong"), Some("Bearer "), Some(SECRET), Some("Basic eDp5")] {
            assert_eq!(status(verb, &path, shown).await, expected, "{verb} {path} {shown:?}");
        }
        if path != "/kiln/v1/events" {
            assert_ne!(status(verb, &path, Some(&right)).await, 401, "{verb} {path}");
        }
    }
    assert_eq!(status("GET", "/healthz?verbose", None).await, 401);
    assert_eq!(status("GET", "/nowhere", None).await, 401);
    assert_eq!(status("GET", "/kiln/v1/pools", Some(&right.replace("Bearer", "bearer"))).await, 200);
    let refused = runner.send("GET", "/kiln/v1/pools", "").await.text().await.expect("a body");
    assert!(
        refused.contains("\"error_msg\": \"this runner requires a token; send it as `Authorization: Bearer TOKEN`\"")
    );
    assert!(!refused.contains(SECRET));
    runner.end().await;
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_answered() {
    let runner = Runner::with(&World::new(), |settings| settings.allowed_hosts = vec!["runner.internal".into()]).await;
    let status = async |path: &str, headers: &[(HeaderName, &str)]| {
        let mut request = runner.http.get(runner.url(path));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    let (pools, own) = ("/kiln/v1/pools", format!("localhost:{}", runner.address.port()));
    let (origin, other_port) = (format!("http://{own}"), format!("localhost:{}", runner.address.port() - 1));
    let site = HeaderName::from_static("sec-fetch-site");
    for (headers, expected) in [
        (vec![], 200),
        (vec![(HOST, own.as_str())], 200),
        (vec![(HOST, "runner.internal")], 200),
        (vec![(HOST, &own), (ORIGIN, &origin), (site.clone(), "same-origin")], 200),
        (vec![(HOST, &other_port)], 403),
        (vec![(HOST, "localhost")], 403),
        (vec![(HOST, "rebound.example")], 403),
        (vec![(HOST, "10.0.2.2:3000")], 403),
        (vec![(ORIGIN, "http://localhost:8080")], 403),
        (vec![(ORIGIN, "https://evil.example")], 403),
        (vec![(ORIGIN, "null")], 403),
        (vec![(site.clone(), "cross-site")], 403),
        (vec![(site.clone(), "same-site")], 403),
    ] {
        assert_eq!(status(pools, &headers).await, expected, "{headers:?}");
    }
    assert_eq!(status("/healthz", &[(HOST, "10.1.2.3:3000")]).await, 200);
    runner.end().await;
}

/// The headers of programs that know nothing of Kiln: the incumbent's delegate and its command line, and curl.
#[tokio::test]
async fn callers_of_the_incumbent_need_no_token() {
    let runner = Runner::with_machines(1).await;
    let port = runner.address.port();
    let programs = [
        format!(
            "Host: 127.0.0.1:{port}\r\nUser-Agent: okhttp/4.12.0\r\nConnection: Keep-Alive\r\nAccept-Encoding: gzip\r\n\
                 Content-Type: application/json; charset=UTF-8"
        ),
        format!("Host: localhost:{port}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip"),
        format!(
            "Host: 127.0.0.1:{port}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
                 Content-Type: application/x-www-form-urlencoded"
        ),
    ];
    let requests = [
        ("POST", "/pool_owner?pool=ubuntu&stageId=s1", String::new()),
        ("POST", "/setup", setup("s1").to_string()),
        ("POST", "/step", step("s1", "a", "true").to_string()),
        ("GET", "/healthz", String::new()),
        ("GET", "/metrics", String::new()),
    ];
    for headers in &programs {
        for (verb, path, body) in &requests {
            let request =
                format!("{verb} {path} HTTP/1.1\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            assert_eq!(status_of(&runner, &request).await, "HTTP/1.1 200 OK", "{request}");
        }
    }
    let nameless = "GET /metrics HTTP/1.0\r\n\r\n";
    assert_eq!(status_of(&runner, nameless).await, "HTTP/1.0 403 Forbidden");
    let destroyed = runner.json("POST", "/destroy", &serde_json::json!({"id": "s1"})).await;
    assert_eq!(destroyed.0, 200);
    runner.end().await;
}

/// Returns the first line of the answer to a request, byte for byte.
async fn status_of(runner: &Runner, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(runner.address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut line = String::new();
    let read = tokio::io::BufReader::new(stream).read_line(&mut line).await;
    read.expect("an answer");
    line.trim_end().to_owned()
}

#[tokio::test]
async fn with_certificates_only_those_of_our_authority_are_answered() {
    let world = World::new();
    let server = world.authority.issue_server("runner.internal").expect("a certificate");
    let tls = Tls {
        client_ca_pem: Some(world.authority.ca_pem().to_owned()),
        cert_pem: server.cert_pem.clone(),
        key_pem: server.key_pem.to_string(),
    };
    let runner = Runner::with(&world, |settings| settings.tls = Some(tls)).await;
    let other = kiln_tls::Authority::create().expect("a CA");
    let ask = async |authority: &kiln_tls::Authority| {
        let client = authority.issue_client("caller").expect("a certificate");
        let (ca, cert, key) = (world.authority.ca_pem(), &client.cert_pem, client.key_pem.as_str());
        let tls = kiln_tls::client_config(ca.as_bytes(), cert.as_bytes(), key.as_bytes()).expect("a configuration");
        let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
        let http = builder.resolve("runner.internal", runner.address).build().expect("a client");
        let url = format!("https://runner.internal:{}/kiln/v1/pools", runner.address.port());
        http.get(url).send().await.map(|answer| answer.status().as_u16())
    };
    assert_eq!(ask(&world.authority).await.expect("an answer"), 200);
    assert!(ask(&other).await.is_err());
    // Plain HTTP is refused here.
    assert!(runner.http.get(runner.url("/healthz")).send().await.is_err());
    runner.end().await;
}

#[tokio::test]
async fn a_token_can_be_sent_over_tls() {
    let world = World::new();
    let server = world.authority.issue_server("runner.internal").expect("a certificate");
    let (cert_pem, key_pem) = (server.cert_pem.clone(), server.key_pem.to_string());
    let tls = Tls { client_ca_pem: None, cert_pem, key_pem };
    let runner = Runner::with(&world, |settings| {
        (settings.tls, settings.token) = (Some(tls), Some(Token::new(SECRET)));
    })
    .await;
    let authority = reqwest::Certificate::from_pem(world.authority.ca_pem().as_bytes()).expect("a certificate");
    let builder = reqwest::Client::builder().tls_certs_only([authority]).no_proxy();
    let http = builder.resolve("runner.internal", runner.address).build().expect("a client");
    let url = format!("https://runner.internal:{}/kiln/v1/pools", runner.address.port());
    for (shown, expected) in [("wrong", 401), (SECRET, 200)] {
        let answer = http.get(&url).bearer_auth(shown).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{shown}");
    }
    assert!(runner.http.get(runner.url("/healthz")).send().await.is_err(), "plain HTTP is not spoken here");
    runner.end().await;
}
