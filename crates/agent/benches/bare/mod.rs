//! What the machine needs without an agent.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_tls::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::rig::{NAME, pem};

/// Bytes of a write and of a read.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Starts so many `sh -c true` and waits for all.
pub(crate) fn spawn(count: usize) {
    let start = |_| Command::new("sh").args(["-c", "true"]).stdin(Stdio::null()).spawn().expect("a process");
    let children: Vec<Child> = (0..count).map(start).collect();
    for mut child in children {
        assert!(child.wait().expect("a status").success());
    }
}

/// Copies so many bytes from one task to another over mTLS on loopback: those that a script prints, or without one a chunk of memory
/// again and again. Returns how long that took.
pub(crate) async fn copy(bytes: u64, script: Option<&str>) -> Duration {
    let (send, mut receive) = ends().await;
    let start = Instant::now();
    let sent = tokio::spawn(sender(send, bytes, script.map(ToOwned::to_owned)));
    let (mut chunk, mut read) = (vec![0; CHUNK_BYTES], 0);
    while read < bytes {
        let n = receive.read(&mut chunk).await.expect("bytes");
        assert!(n > 0, "the copy broke off");
        read += n as u64;
    }
    sent.await.expect("a copy");
    start.elapsed()
}

async fn sender(mut to: server::TlsStream<TcpStream>, bytes: u64, script: Option<String>) {
    let mut chunk = vec![b'x'; CHUNK_BYTES];
    let Some(script) = script else {
        let mut left = bytes;
        while left > 0 {
            let n = left.min(CHUNK_BYTES as u64);
            to.write_all(&chunk[..n as usize]).await.expect("a write");
            left -= n;
        }
        return to.shutdown().await.expect("an end");
    };
    let mut command = tokio::process::Command::new("sh");
    let mut child = command.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("a process");
    let mut from = child.stdout.take().expect("its output");
    loop {
        match from.read(&mut chunk).await.expect("output") {
            0 => break,
            n => to.write_all(&chunk[..n]).await.expect("a write"),
        }
    }
    to.shutdown().await.expect("an end");
    assert!(child.wait().await.expect("a status").success());
}

/// Both ends of a connection, shaken hands on.
async fn ends() -> (server::TlsStream<TcpStream>, client::TlsStream<TcpStream>) {
    kiln_tls::install_provider();
    let authority = Authority::create().expect("a CA");
    let server = pem(&authority, &authority.issue_server(NAME).expect("a certificate"));
    let client = pem(&authority, &authority.issue_client("runner").expect("a certificate"));
    let config = kiln_tls::server_config(server.ca.as_bytes(), server.cert.as_bytes(), server.key.as_bytes());
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
    let config = kiln_tls::client_config(client.ca.as_bytes(), client.cert.as_bytes(), client.key.as_bytes());
    let connector = TlsConnector::from(Arc::new(config.expect("a configuration")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let accepted = async { acceptor.accept(listener.accept().await.expect("a connection").0).await };
    let connected = connector.connect(NAME.try_into().expect("a name"), stream);
    let (accepted, connected) = tokio::join!(accepted, connected);
    (accepted.expect("a handshake"), connected.expect("a handshake"))
}
